"""The smallest model that an executable can serve on this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from fake_shimmy.models.files import SAFETENSORS
from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.executable.identify import bundled_fake, identify
from pytest_shimmy.launch.tiny_model import tiny_model
from tests.support.consumer_suite import ASK, Run


def stand_in(directory: Path, version: str, gpu_info: str, probe: str) -> Path:
    """An executable of that version and build, whose ``probe`` is this shell command."""
    path = directory / "shimmy"
    path.write_text(
        f"#!/bin/sh\ncase $1 in\n--version) echo shimmy {version};;\n"
        f"gpu-info) echo {shlex.quote(gpu_info)};;\nprobe) {probe};;\nesac\n"
    )
    path.chmod(0o755)
    return path


AIRFRAME = "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)"
LOADS = 'test -s "$3/pytest-shimmy-tiny.gguf" && echo ok: loaded'
NO_ADAPTER = "echo 'probe failed: Airframe GPU load failed: No GPU adapter found' >&2; exit 2"

posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


@posix
@pytest.mark.parametrize(
    ("version", "gpu_info", "probe", "suffix", "arguments"),
    [
        ("2.6.5", "⚡ Airframe Engine: Disabled (x)", "exit 9", ".safetensors", ()),
        ("2.6.5", AIRFRAME, LOADS, ".gguf", ()),
        ("2.5.0", AIRFRAME, LOADS, ".gguf", ()),
        ("2.5.0", AIRFRAME, NO_ADAPTER, ".safetensors", ("--legacy",)),
        ("1.8.1", "🔧 llama.cpp Backend: CPU", "exit 9", ".gguf", ()),
    ],
)
def test_it_is_what_the_build_can_load_here(
    tmp_path: Path,
    version: str,
    gpu_info: str,
    probe: str,
    suffix: str,
    arguments: tuple[str, ...],
) -> None:
    model = tiny_model(identify(stand_in(tmp_path, version, gpu_info, probe)))
    assert (model.suffix, model.arguments) == (suffix, arguments)
    assert model.content == (SAFETENSORS if suffix == ".safetensors" else contents())


@posix
def test_where_it_can_load_none_the_error_names_what_to_install(tmp_path: Path) -> None:
    executable = identify(stand_in(tmp_path, "2.6.5", AIRFRAME, NO_ADAPTER))
    with pytest.raises(ShimmyError) as caught:
        tiny_model(executable)
    assert caught.value.code is ShimmyErrorCode.UNSUPPORTED_ACCEL
    for word in ("No GPU adapter found", "libegl1 libgl1-mesa-dri", "mesa-vulkan-drivers"):
        assert word in caught.value.message


@pytest.mark.parametrize(("build", "suffix"), [("default", ".gguf"), ("cpu-only", ".safetensors")])
def test_that_of_the_fake_is_what_the_real_build_could_load(build: str, suffix: str) -> None:
    assert tiny_model(bundled_fake(env={"FAKE_SHIMMY_BUILD": build})).suffix == suffix


@pytest.mark.slow
@pytest.mark.parametrize("build", ["default", "cpu-only"])
def test_the_fake_answers_with_it(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch, build: str
) -> None:
    monkeypatch.setenv("FAKE_SHIMMY_BUILD", build)
    pytester.makepyfile(ASK + "\ndef test_name(shimmy_model):\n    assert shimmy_model == 'tiny'\n")
    run("--shimmy-tiny-model").assert_outcomes(passed=2)


ANSWERS = """
def test_answers(shimmy_openai_client, shimmy_model, shimmy_server):
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Hi."}], max_tokens=5)
    assert answer.choices[0].message.content
    assert shimmy_model == "tiny"
    assert shimmy_server.gpu.in_use == "cpu"
"""


@pytest.mark.shimmy_real
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "n2"])
def test_a_real_executable_needs_no_other_model(
    pytester: pytest.Pytester, run: Run, real_shimmy: Path, workers: list[str]
) -> None:
    """And its warm-up shows how long that took."""
    pytester.makepyfile(test_a=ANSWERS, test_b=ANSWERS)
    result = run(f"--shimmy-path={real_shimmy}", "--shimmy-tiny-model", *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["shimmy: model 'tiny' loaded in *.* s"])


@pytest.mark.shimmy_real
def test_a_real_default_build_without_a_renderer_says_what_to_install(real_shimmy: Path) -> None:
    nowhere = dict.fromkeys(
        (
            *("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LIBGL_DRIVERS_PATH"),
            "__EGL_VENDOR_LIBRARY_FILENAMES",
        ),
        "/nonexistent",
    )
    executable = identify(real_shimmy, nowhere)
    if executable.build().engine != "airframe":
        pytest.skip("this build needs no GPU")
    if executable.numbers < (2, 6):
        assert tiny_model(executable).arguments == ("--legacy",)
        return
    with pytest.raises(ShimmyError, match="libegl1 libgl1-mesa-dri"):
        tiny_model(executable)
