"""What each release is told, word for word: a flag that it does not know ends it at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.executable.dialect import (
    BUILD_WITHOUT_GPU,
    DIALECTS,
    ELSEWHERE,
    GPU_MODES,
    Build,
    address_in_use,
    askable,
    dialect_of,
    gpu_arguments,
    no_models,
    read_build,
    serve_arguments,
)
from pytest_shimmy.executable.identify import bundled_fake, identify

BIND = "127.0.0.1:22435"


def test_the_least_that_is_said() -> None:
    assert serve_arguments("2.5.0", bind=BIND) == ["serve", "--bind", BIND]


def test_everything_that_can_be_said_in_order() -> None:
    assert serve_arguments(
        "1.9.0",
        bind=BIND,
        model_path=Path("/m/tiny.gguf"),
        model_dirs=["/a", "/b c"],
        gpu_mode="vulkan",
        extra=["--cpu-moe"],
    ) == [
        *("serve", "--bind", BIND),
        *("--model-path", "/m/tiny.gguf"),
        *("--model-dirs", "/a;/b c"),
        *("--gpu-backend", "vulkan"),
        "--cpu-moe",
    ]


def test_what_the_user_adds_comes_last_and_unchanged() -> None:
    extra = ["--ctx", "512", "", "--", "-x"]
    assert serve_arguments("2.5.0", bind=BIND, extra=extra)[-5:] == extra


@pytest.mark.parametrize("mode", ["cpu", "cuda", "vulkan", "opencl"])
@pytest.mark.parametrize("version", ["1.5.0", "1.9.0"])
def test_1_x_is_told_the_backend_by_its_own_flag(version: str, mode: str) -> None:
    arguments = serve_arguments(version, bind=BIND, gpu_mode=mode)
    assert arguments[-2:] == ["--gpu-backend", mode]


@pytest.mark.parametrize("version", ["0.9.0", "1.0.0", "1.4.2", "1.5.0", "1.9.0", "2.5.0"])
@pytest.mark.parametrize("mode", GPU_MODES)
@pytest.mark.parametrize("info", ["", BUILD_WITHOUT_GPU])
def test_no_release_is_ever_told_dash_dash_gpu(version: str, mode: str, info: str) -> None:
    arguments: list[str] = []
    with contextlib.suppress(ShimmyError):
        arguments = serve_arguments(version, bind=BIND, gpu_mode=mode, build=read_build(info))
    assert "--gpu" not in arguments
    assert "--gpu-backend" not in arguments or version in ("1.5.0", "1.9.0")


@pytest.mark.parametrize("version", ["0.9.0", "1.4.2", "1.9.0", "2.5.0", "3.0.0"])
def test_auto_can_be_asked_of_every_release_and_needs_no_word(version: str) -> None:
    assert serve_arguments(version, bind=BIND, gpu_mode="auto") == ["serve", "--bind", BIND]


@pytest.mark.parametrize("mode", ["cuda", "vulkan", "opencl", "metal", "mlx", "cpu"])
def test_2_x_refuses_what_it_would_silently_ignore(mode: str) -> None:
    with pytest.raises(ShimmyError) as caught:
        serve_arguments("2.5.0", bind=BIND, gpu_mode=mode)
    error = caught.value
    assert error.code is ShimmyErrorCode.UNSUPPORTED_ACCEL
    assert repr(mode) in error.message
    assert "shimmy 2.5.0" in error.message
    assert error.details["possible"] == ["auto"]


def test_a_build_without_gpu_can_be_asked_for_the_processor() -> None:
    build = read_build(f"⚡ {BUILD_WITHOUT_GPU} (this build uses the huggingface engine)")
    assert serve_arguments("2.5.0", bind=BIND, gpu_mode="cpu", build=build) == [
        "serve",
        "--bind",
        BIND,
    ]
    with pytest.raises(ShimmyError) as caught:
        serve_arguments("2.5.0", bind=BIND, gpu_mode="cuda", build=build)
    assert caught.value.details["possible"] == ["auto", "cpu"]
    assert "auto, cpu" in caught.value.message


AIRFRAME = "⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)"
LLAMA = """🔧 llama.cpp Backend: CUDA
📋 Available GPU Features:
  ✅ CUDA support enabled
  ❌ Vulkan support disabled
  ✅ OpenCL support enabled
"""


@pytest.mark.parametrize(
    ("info", "build"),
    [
        (f"🖥️  GPU Backend Information\n\n{AIRFRAME}\n", Build("airframe", (), AIRFRAME)),
        # Releases before 2.4 speak of both.
        (f"{AIRFRAME}\n\n🔧 Legacy llama.cpp backend: Disabled\n", Build("airframe", (), AIRFRAME)),
        (f"⚡ {BUILD_WITHOUT_GPU} (x)", Build("adapter", (), f"⚡ {BUILD_WITHOUT_GPU} (x)")),
        (LLAMA, Build("llama", ("cuda", "opencl"), "🔧 llama.cpp Backend: CUDA")),
        (
            "❌ llama.cpp backend not available (compile with --features llama)\n",
            Build(
                *("adapter", ()),
                "❌ llama.cpp backend not available (compile with --features llama)",
            ),
        ),
        # A 1.9.0 without it says so in the line in which others name what they chose.
        (
            "🔧 llama.cpp Backend: Disabled\n",
            Build("adapter", (), "🔧 llama.cpp Backend: Disabled"),
        ),
        ("", Build("unknown", (), "")),
        ("✅ CUDA support enabled", Build("unknown", (), "")),
    ],
)
def test_a_build_is_what_its_gpu_info_says(info: str, build: Build) -> None:
    assert read_build(info) == build


@pytest.mark.parametrize(
    ("version", "info", "system", "possible"),
    [
        ("2.5.0", AIRFRAME, "linux", "auto vulkan"),
        ("2.6.5", AIRFRAME, "win32", "auto vulkan"),
        ("2.5.0", AIRFRAME, "darwin", "auto metal"),
        ("2.5.0", AIRFRAME, "freebsd14", "auto"),
        ("2.5.0", BUILD_WITHOUT_GPU, "linux", "auto cpu"),
        ("2.5.0", "", "linux", "auto"),
        ("1.8.1", "🔧 llama.cpp Backend: CPU", "linux", "auto cpu"),
        ("1.8.1", LLAMA, "linux", "auto cpu cuda opencl"),
        ("1.8.1", "❌ llama.cpp backend not available", "linux", "auto cpu"),
        ("1.8.1", "", "linux", "auto cpu cuda vulkan opencl"),
        ("1.4.0", LLAMA, "linux", "auto"),
    ],
)
def test_a_build_can_be_asked_for_what_it_can_do_and_for_nothing_else(
    version: str, info: str, system: str, possible: str
) -> None:
    build = read_build(info)
    assert " ".join(askable(version, build, system)) == possible
    for mode in GPU_MODES:
        if mode in possible.split():
            arguments = gpu_arguments(version, build, mode, system)
            takes_flag = version == "1.8.1" and mode != "auto"
            assert arguments == (["--gpu-backend", mode] if takes_flag else [])
        else:
            with pytest.raises(ShimmyError) as caught:
                gpu_arguments(version, build, mode, system)
            assert caught.value.code is ShimmyErrorCode.UNSUPPORTED_ACCEL
            assert caught.value.details["possible"] == possible.split()
            assert ELSEWHERE[mode] in caught.value.message
            assert build.line in caught.value.message


@given(info=st.text(), version=st.sampled_from(["0.1.0", "1.8.1", "2.5.0"]))
def test_whatever_gpu_info_says_auto_can_be_asked_for(info: str, version: str) -> None:
    assert gpu_arguments(version, read_build(info), "auto") == []


@pytest.mark.parametrize(("build", "engine"), [("default", "airframe"), ("cpu-only", "adapter")])
def test_a_build_says_itself_whether_it_has_a_gpu_engine(build: str, engine: str) -> None:
    said = bundled_fake(env={"FAKE_SHIMMY_BUILD": build}).build()
    assert said.engine == engine
    assert "Airframe Engine" in said.line


@pytest.mark.shimmy_real
def test_the_real_executable_says_whether_it_has_a_gpu_engine(real_shimmy: Path) -> None:
    said = identify(real_shimmy).build()
    assert "Airframe Engine" in said.line
    assert said.engine in ("airframe", "adapter")


@given(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), st.text("a-.b"))
def test_every_version_has_a_row(numbers: tuple[int, int, int], suffix: str) -> None:
    row = dialect_of(".".join(map(str, numbers)) + suffix)
    assert row.since <= numbers
    assert not any(row.since < other.since <= numbers for other in DIALECTS)


def test_rows_are_in_order_and_begin_with_the_first_release() -> None:
    assert [row.since for row in DIALECTS] == sorted({row.since for row in DIALECTS})
    assert dialect_of("0.0.0") is DIALECTS[0]


@pytest.mark.parametrize("number", [98, 48, 10048])
def test_a_taken_port_is_told_by_the_system_s_number(number: int) -> None:
    assert address_in_use(f"Error: Address already in use (os error {number})\n")
    assert address_in_use(
        "noise\nError: Adresse bereits verwendet (os error 98)\n\nStack backtrace:\n   0: x\n"
    )
    assert not address_in_use(f"it was not Error: (os error {number})\n")


@pytest.mark.parametrize(
    "stderr",
    ["", "Error: Permission denied (os error 13)\n", "Error: no model x\n", "os error 98"],
)
def test_other_failures_are_not_a_taken_port(stderr: str) -> None:
    assert not address_in_use(stderr)


def test_nothing_to_serve_is_told_by_its_words() -> None:
    assert no_models("❌ No models available. Please:\n   • Set SHIMMY_BASE_GGUF\n")
    assert not no_models("Error: no model x\n")
