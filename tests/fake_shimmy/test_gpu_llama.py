"""Builds of 1.8.1 with GPU backends, on pretended machines. Expected: builds of the real 1.8.1
with each feature, on a machine without a GPU; with one, its source.
"""

from __future__ import annotations

import json
import struct

import pytest

from tests.support.fake_process import drained

CUDA, HIDDEN = {"FAKE_SHIMMY_GPU": "nvidia"}, {"FAKE_SHIMMY_GPU": "nvidia-hidden"}
NOWHERE = ["serve", "--bind", "192.0.2.1:1"]
INFO = " INFO shimmy::engine::llama: "
WARN = " WARN shimmy::engine::llama: "


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def model(layers: int) -> bytes:
    """A model with so many layers, as far as the fake looks."""
    return (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 2)
        + (text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"))
        + (text(b"llama.block_count") + struct.pack("<II", 4, layers))
    )


@pytest.fixture
def built(make_shimmy):
    """1.8.1 as one of its builds, with a model of two layers."""

    def build(name: str):
        fake = make_shimmy(name, release="1.8.1")
        (fake.cwd / "models").mkdir(exist_ok=True)
        (fake.cwd / "models" / "some.gguf").write_bytes(model(2))
        return fake

    return build


def logged(out: str) -> list[str]:
    return [line.partition("Z ")[2] for line in out.splitlines() if "Z " in line]


@pytest.mark.parametrize(
    ("build", "machine", "flags", "chosen", "banner"),
    [
        ("cuda", "nvidia", [], "CUDA", "CUDA (auto-detected)"),
        ("cuda", "nvidia-hidden", [], "CUDA", "CUDA (auto-detected)"),
        ("cuda", "nvidia", ["--gpu-backend", "cpu"], "CPU", "CPU only"),
        ("cuda", "nvidia", ["--gpu-backend", "CUDA"], "CUDA", "CUDA (custom)"),
        ("cuda", "nvidia", ["--gpu-backend", "vulkan"], "CUDA", "Vulkan (GPU acceleration)"),
        ("vulkan", "none", [], "Vulkan", "Vulkan (auto-detected)"),
        ("opencl", "none", [], "OpenCL", "OpenCL (auto-detected)"),
        ("opencl", "amd", ["--gpu-backend", "auto"], "OpenCL", "OpenCL (auto-detected)"),
        ("gpu", "nvidia", [], "CUDA", "CUDA (auto-detected)"),
        ("gpu", "nvidia", ["--gpu-backend", "OpenCL"], "OpenCL", "OpenCL (custom)"),
        ("mlx", "none", [], "CPU", "CPU (no GPU acceleration)"),
        ("default", "nvidia", ["--gpu-backend", "cuda"], "CPU", "CUDA (GPU acceleration)"),
        ("default", "nvidia", ["--gpu-backend", "rocm"], "CPU", "rocm (custom)"),
    ],
)
def test_gpu_info_tells_the_choice_and_the_banner_the_wish(
    built, build, machine, flags, chosen, banner
):
    fake = built(build)
    status, out, err = fake.run(*flags, "gpu-info", FAKE_SHIMMY_GPU=machine)
    assert (status, err) == (0, "")
    assert out.splitlines()[2] == f"🔧 llama.cpp Backend: {chosen}"
    assert fake.run(*flags, *NOWHERE, FAKE_SHIMMY_GPU=machine)[1].splitlines()[1] == (
        f"🔧 Backend: {banner}"
    )


@pytest.mark.parametrize(
    ("build", "enabled"),
    [("cuda", "CUDA"), ("vulkan", "Vulkan"), ("opencl", "OpenCL"), ("gpu", "CUDA Vulkan OpenCL")],
)
def test_gpu_info_lists_what_was_compiled_in(built, build, enabled):
    lines = built(build).run("gpu-info", **CUDA)[1].splitlines()[3:7]
    assert lines == [
        "📋 Available GPU Features:",
        *(
            f"  ✅ {name} support enabled"
            if name in enabled.split()
            else f"  ❌ {name} support disabled"
            for name in ("CUDA", "Vulkan", "OpenCL")
        ),
    ]


def test_gpu_info_of_an_mlx_build_tells_a_mac_from_other_machines(built):
    fake = built("mlx")
    elsewhere = fake.run("gpu-info", FAKE_SHIMMY_GPU="none")[1]
    assert "🍎 MLX Backend: ❌ Not supported (requires Apple Silicon macOS)\n" in elsewhere
    on_mac = fake.run("gpu-info", FAKE_SHIMMY_GPU="apple")[1]
    assert "🍎 MLX Backend: ⚠️  Hardware supported (Apple Silicon detected)\n" in on_mac
    assert "--features llama-cuda" not in on_mac


def test_without_a_pretended_machine_cuda_is_detected_by_the_tool_on_the_path(built):
    fake = built("cuda")
    tool = fake.cwd / "nvidia-smi"
    for status, chosen in ((0, "CUDA"), (9, "CPU")):
        tool.write_text(f"#!/bin/sh\nexit {status}\n")
        tool.chmod(0o755)
        out = fake.run("gpu-info", PATH=f"{fake.cwd}:/usr/bin:/bin")[1]
        assert f"🔧 llama.cpp Backend: {chosen}\n" in out
    tool.unlink()
    assert "llama.cpp Backend: CPU\n" in fake.run("gpu-info", PATH="/usr/bin:/bin")[1]


@pytest.mark.parametrize(
    ("build", "flags", "expected"),
    [
        (
            "cuda",
            [],
            [
                f"{INFO}CUDA GPU detected, using CUDA backend",
                f"{INFO}Set GGML_CUDA=1 for CUDA backend",
                f"{INFO}GPU backend configured: Cuda",
                f"{INFO}Initializing llama.cpp backend (first model load)",
                f"{INFO}Loading model with 999 GPU layers (Cuda backend)",
            ],
        ),
        (
            "vulkan",
            ["--gpu-backend", "cuda"],
            [
                f"{WARN}CUDA backend requested but not enabled at compile time. "
                "Rebuild with --features llama-cuda",
                f"{INFO}Vulkan GPU detected, using Vulkan backend",
                f"{INFO}Set GGML_VULKAN=1 for Vulkan backend",
                f"{INFO}GPU backend configured: Vulkan",
                f"{INFO}Initializing llama.cpp backend (first model load)",
                f"{INFO}Loading model with 999 GPU layers (Vulkan backend)",
            ],
        ),
        (
            "cuda",
            ["--gpu-backend", "cpu"],
            [
                f"{INFO}GPU backend configured: Cpu",
                f"{INFO}Initializing llama.cpp backend (first model load)",
                f"{INFO}Loading model with 0 GPU layers (Cpu backend)",
            ],
        ),
    ],
)
def test_what_the_choice_and_a_load_log(built, build, flags, expected):
    out = built(build).run(*flags, "probe", "some", RUST_LOG="info", **CUDA)[1]
    assert logged(out)[: len(expected)] == expected


def test_the_defaults_of_opencl_are_set_once(built):
    once = [
        f"{INFO}OpenCL GPU detected, using OpenCL backend",
        f"{INFO}Set GGML_OPENCL_PLATFORM=0 (default)",
        f"{INFO}Configured OpenCL environment variables",
        f"{INFO}GPU backend configured: OpenCL",
    ]
    out = built("opencl").run("gpu-info", RUST_LOG="info", GGML_OPENCL_DEVICE="1")[1]
    assert logged(out) == once + once[:1] + once[2:]


def test_a_cuda_device_takes_all_layers(built):
    status, out, err = built("cuda").run("probe", "some", **CUDA)
    assert (status, out) == (0, "ok: loaded some\n")
    assert err.splitlines() == [
        "ggml_cuda_init: GGML_CUDA_FORCE_MMQ:    no",
        "ggml_cuda_init: GGML_CUDA_FORCE_CUBLAS: no",
        "ggml_cuda_init: found 1 CUDA devices:",
        "  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes",
        "llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 4090) "
        "(0000:01:00.0) - 23668 MiB free",
        *(f"load_tensors: layer   {n} assigned to device CUDA0, is_swa = 0" for n in range(3)),
        "load_tensors: offloading 2 repeating layers to GPU",
        "load_tensors: offloading output layer to GPU",
        "load_tensors: offloaded 3/3 layers to GPU",
        "load_tensors:   CPU_Mapped model buffer size =     0.00 MiB",
        "load_tensors:        CUDA0 model buffer size =     0.00 MiB",
        *(f"llama_kv_cache: layer   {n}: dev = CUDA0" for n in range(2)),
    ]


def test_a_cuda_device_that_is_not_wanted_takes_no_layer(built):
    err = built("cuda").run("--gpu-backend", "cpu", "probe", "some", **CUDA)[2]
    assert "using device CUDA0" in err
    assert "load_tensors: offloaded 0/3 layers to GPU\n" in err
    assert "assigned to device CUDA0" not in err
    assert "offloading output layer" not in err


def test_a_hidden_cuda_device_is_silently_replaced_by_the_cpu(built):
    fake = built("cuda")
    with fake.serve("--gpu-backend", "cuda", **HIDDEN) as running:
        chat = {"model": "some", "messages": [{"role": "user", "content": "hi"}], "stream": False}
        answers = [running.chat(json.dumps(chat).encode()) for _ in range(2)]
        metrics = json.loads(running.request("GET", "/metrics").body)
        running.process.kill()
        out, err = (stream.decode() for stream in running.process.communicate())
    assert [answer.status for answer in answers] == [200, 200]
    assert "🔧 Backend: CUDA (GPU acceleration)\n" in out
    assert (metrics["gpu_detected"], metrics["gpu_vendor"]) == (True, "nvidia")
    first, second, _ = err.split("load_tensors: layer   0 assigned to device CPU, is_swa = 0\n")
    assert first == (
        "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected\n"
    )
    assert "ggml_cuda_init" not in second
    assert "CUDA0" not in err
    assert "offload" not in err


@pytest.mark.parametrize("build", ["vulkan", "opencl"])
def test_vulkan_and_opencl_never_reach_llama_cpp(built, build):
    err = built(build).run("probe", "some", **CUDA)[2]
    assert "assigned to device CPU" in err
    assert "offload" not in err


@pytest.mark.parametrize(
    ("machine", "command"),
    [("none", ["--version"]), ("amd", ["serve"]), ("intel", ["list", "--nonsense"])],
)
def test_a_cuda_build_does_not_start_without_the_driver(built, machine, command):
    fake = built("cuda")
    status, out, err = fake.run(*command, FAKE_SHIMMY_GPU=machine)
    assert (status, out) == (127, "")
    assert err.endswith(
        ": error while loading shared libraries: libcuda.so.1: cannot open shared object file: "
        "No such file or directory\n"
    )
    assert built("vulkan").run("--version", FAKE_SHIMMY_GPU=machine)[0] == 0


def test_metal_is_there_on_a_mac_and_unused_by_a_default_build(built):
    err = built("default").run("probe", "some", FAKE_SHIMMY_GPU="apple")[2]
    assert "using device Metal (Apple M2) (unknown id) - 10922 MiB free\n" in err
    assert "load_tensors: offloaded 0/3 layers to GPU\n" in err


def test_no_layers_are_told_of_a_file_that_is_refused(built):
    fake = built("cuda")
    (fake.cwd / "models" / "bad.gguf").write_bytes(b"nonsense")
    status, _, err = fake.run("probe", "bad", **CUDA)
    assert status == 2
    assert "using device CUDA0" in err
    assert "assigned to device" not in err


def test_an_absurd_number_of_layers_is_cut(built):
    fake = built("default")
    (fake.cwd / "models" / "some.gguf").write_bytes(model(2**32 - 1))
    assert fake.run("probe", "some")[2].count("dev = CPU\n") == 512


def test_requests_are_drained_of_what_llama_cpp_writes(built):
    """Each request loads anew, and says so anew, as the real one does."""
    with built("default").serve(FAKE_SHIMMY_GPU="none") as running, drained(running):
        body = json.dumps({"model": "some", "prompt": "x", "stream": False}).encode()
        path, kind = "/api/generate", "application/json"
        for _ in range(3):
            assert running.request("POST", path, body, content_type=kind).status == 200
        running.process.kill()
        err = running.process.stderr.read().decode()
    assert err.count("load_tensors: layer   0 assigned to device CPU") == 3
