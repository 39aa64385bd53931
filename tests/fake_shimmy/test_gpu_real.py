"""GPU backends against the real executable's, side by side: only times may differ.

For 1.8.1 with any of its GPU features, too. The machine is one without a GPU.
"""

from __future__ import annotations

import re

import pytest

from fake_shimmy.models import tiny_gguf
from tests.fake_shimmy.test_real_cli import NO_GPU, comparable
from tests.support.fake_process import Shimmy

pytestmark = pytest.mark.shimmy_real

BUILDS = {
    (): "default",
    ("CUDA",): "cuda",
    ("Vulkan",): "vulkan",
    ("OpenCL",): "opencl",
    ("CUDA", "Vulkan", "OpenCL"): "gpu",
}
BACKENDS = [None, "auto", "cpu", "cuda", "CUDA", "Vulkan", "opencl", "metal", "x y", ""]
COMMANDS = ["list -s", "gpu-info", "probe tiny", "serve --bind 192.0.2.1:1"]
NAMES_A_DEVICE = re.compile(
    r"ggml_\w+_init: |  Device |llama_model_load_from_file_impl: "
    r"|load_tensors: (layer|offload| +\w+ model buffer)|llama_kv_cache: layer"
)
NOISE = re.compile(
    r"(llama_|load|print_info|init_tokenizer|create_|graph_|set_abort|~llama)\w*: |\.+$"
)


@pytest.fixture
def twins(pair: tuple[Shimmy, Shimmy]) -> tuple[Shimmy, Shimmy]:
    """The pair, as the build with the features that the real one has; and a model for both."""
    real, fake = pair
    enabled = re.findall(r"✅ (\w+) support enabled", real.run("gpu-info")[1])
    if real.release == "1.8.1":
        fake.build = BUILDS[tuple(enabled)]
    (real.cwd / "models").mkdir()
    (real.cwd / "models" / "tiny.gguf").write_bytes(tiny_gguf.contents())
    return real, fake


def told(subject: Shimmy, line: list[str], environ: dict[str, str]) -> tuple[int, str, str]:
    """Exit status, stdout, and of stderr what is not llama.cpp talking of the model."""
    status, out, err = subject.run(*line, **environ)
    kept = [row for row in err.splitlines() if NAMES_A_DEVICE.match(row) or not NOISE.match(row)]
    return status, comparable(out, ""), comparable("\n".join(kept), "")


# wgpu logs, too: only shimmy's own lines are compared.
@pytest.mark.parametrize("log", ["", "shimmy=debug"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_asking_for_a_backend_comes_to(twins, backend, log):
    asked = [] if backend is None else ["--gpu-backend", backend]
    # Without a driver a CUDA build would not start: nothing is pretended but what PATH has.
    nothing = {} if twins[0].release == "1.8.1" else NO_GPU
    environ = {"RUST_LOG": log, "PATH": "/usr/bin:/bin", **nothing}
    for command in COMMANDS:
        real, fake = (told(subject, [*asked, *command.split()], environ) for subject in twins)
        assert fake == real, command
