"""Which backend a server uses, from the lines that releases and builds print."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.accel.readback import ServerGpu, read_back
from pytest_shimmy.executable.dialect import UNKNOWN_BUILD, Build, read_build

AIRFRAME = read_build("⚡ Airframe Engine: ✅ Enabled (WebGPU via wgpu)\n")
CPU_ONLY = read_build("⚡ Airframe Engine: Disabled (this build uses the huggingface engine)\n")
LLAMA = read_build("🔧 llama.cpp Backend: CPU\n  ❌ CUDA support disabled\n")
LLAMA_CUDA = read_build("🔧 llama.cpp Backend: CUDA\n  ✅ CUDA support enabled\n")
LLAMA_ALL = read_build(
    "🔧 llama.cpp Backend: CUDA\n  ✅ CUDA support enabled\n"
    "  ✅ Vulkan support enabled\n  ✅ OpenCL support enabled\n"
)

BANNER = (
    "🎯 Shimmy v2.5.0\n🔧 Backend: Airframe (GPU)\n📦 Models: 0 available\n"
    "🚀 Starting server on 127.0.0.1:22435\n📦 Models: 1 available\n✅ Ready to serve requests\n"
)
LEGACY = BANNER.replace("🔧 Backend: Airframe (GPU)\n", "")
BANNER_CUDA = "🎯 Shimmy v1.8.1\n🔧 Backend: CUDA (GPU acceleration)\n🚀 Starting server on x\n"
BUFFER = "load_tensors:   CPU_Mapped model buffer size =     0.08 MiB\n"
OFFLOADED = "load_tensors: offloaded 23/23 layers to GPU\n"
REFUSED = (
    "ERROR shimmy::api: Failed to load model 'm': Airframe GPU load failed: "
    "GPU storage buffer binding limit (1024 MB) is too small\n"
)


def adapter(name: str, kind: str, backend: str) -> str:
    return f"[GpuRuntime] Selected adapter: {name} ({kind}, backend={backend})\n"


def device(backend: str, name: str, identity: str = " (0000:01:00.0)") -> str:
    return (
        f"llama_model_load_from_file_impl: using device {backend}0 ({name}){identity} "
        "- 23668 MiB free\n"
    )


def layer(name: str, number: int) -> str:
    return f"load_tensors: layer {number:3d} assigned to device {name}, is_swa = 0\n"


class Case(NamedTuple):
    """What an executable, its log after an answer and its metrics say; what is used then."""

    version: str
    build: Build | None
    log: str | None
    in_use: str | None
    device: str | None
    evidence: str
    """A part of it."""
    metrics: dict[str, Any] = {}  # noqa: RUF012


RADEON = "AMD Radeon RX 7900 XTX (RADV NAVI31)"
LLVMPIPE = "llvmpipe (LLVM 15.0.6, 256 bits)"
RTX = "NVIDIA GeForce RTX 4090"
CASES = {
    "2.5.0 on Vulkan": Case(
        "2.5.0", AIRFRAME, BANNER + adapter(RADEON, "DiscreteGpu", "Vulkan"), "vulkan", RADEON,
        adapter(RADEON, "DiscreteGpu", "Vulkan").strip(),
    ),
    "2.5.0 on Metal": Case(
        "2.5.0", AIRFRAME, BANNER + adapter("Apple M2", "IntegratedGpu", "Metal"), "metal",
        "Apple M2", "backend=Metal",
    ),
    "2.6.5 on OpenGL": Case(
        "2.6.5", AIRFRAME, BANNER + adapter("Mesa Intel", "IntegratedGpu", "Gl"), "gl",
        "Mesa Intel", "backend=Gl", {"features": {"airframe": True}},
    ),
    "2.5.0 on Direct3D": Case(
        "2.5.0", AIRFRAME, BANNER + adapter("NVIDIA X", "DiscreteGpu", "Dx12"), "dx12",
        "NVIDIA X", "backend=Dx12",
    ),
    "2.6.5 on a software renderer, as it says": Case(
        "2.6.5", AIRFRAME, BANNER + adapter(LLVMPIPE, "Cpu", "Gl"), "cpu", LLVMPIPE, "llvmpipe",
    ),
    "2.5.0 on a software renderer that poses as a GPU": Case(
        "2.5.0", AIRFRAME, BANNER + adapter("lavapipe", "DiscreteGpu", "Vulkan"), "cpu",
        "lavapipe", "lavapipe",
    ),
    "the adapter of a try that succeeded after one that failed": Case(
        "2.5.0", AIRFRAME,
        BANNER + adapter("Intel Arc", "IntegratedGpu", "Gl") + REFUSED
        + adapter(RTX, "DiscreteGpu", "Vulkan"), "vulkan", RTX, RTX,
    ),
    "a restarted server, on another GPU than before": Case(
        "2.5.0", AIRFRAME,
        BANNER + adapter("lavapipe", "Cpu", "Vulkan")
        + BANNER + adapter(RTX, "DiscreteGpu", "Vulkan"), "vulkan", RTX, RTX,
    ),
    "2.5.0 without a GPU engine": Case(
        "2.5.0", CPU_ONLY, LEGACY, "cpu", None, "gpu-info: ⚡ Airframe Engine: Disabled",
    ),
    "2.5.0 with --legacy": Case("2.5.0", AIRFRAME, LEGACY, "cpu", None, "--legacy"),
    "2.6.5 with --legacy": Case(
        "2.6.5", AIRFRAME, LEGACY + adapter(RTX, "DiscreteGpu", "Vulkan"), "vulkan", RTX, RTX,
    ),
    "2.6.5 without a GPU engine, attached": Case(
        "2.6.5", None, None, "cpu", None, "features.airframe is false",
        {"features": {"airframe": False}},
    ),
    "1.8.1 without llama.cpp, attached": Case(
        "1.8.1", None, None, "cpu", None, "features.llama is false",
        {"features": {"llama": False}},
    ),
    "1.8.1 default build, whatever its banner says": Case(
        "1.8.1", LLAMA, BANNER_CUDA + BUFFER, "cpu", None, BUFFER.strip(),
    ),
    "1.8.1 on CUDA": Case(
        "1.8.1", LLAMA_CUDA, BANNER_CUDA + device("CUDA", RTX) + OFFLOADED, "cuda", RTX,
        OFFLOADED.strip(),
    ),
    "1.8.1 on CUDA, an older line and a name with parentheses": Case(
        "1.8.1", LLAMA_CUDA, BANNER_CUDA + device("CUDA", RADEON, "") + OFFLOADED, "cuda",
        RADEON, RADEON,
    ),
    "1.8.1 on CUDA, by its buffers": Case(
        "1.8.1", LLAMA_CUDA,
        OFFLOADED + "load_tensors:        CUDA0 model buffer size =   571.37 MiB\n" + BUFFER
        + "load_tensors:    CUDA_Host model buffer size =     5.00 MiB\n", "cuda", None, "CUDA0",
    ),
    "1.8.1 on a Mac, by its buffers": Case(
        "1.8.1", LLAMA_ALL,
        OFFLOADED + BUFFER + "load_tensors: Metal_Mapped model buffer size =   571.37 MiB\n",
        "metal", None, "Metal_Mapped",
    ),
    "1.8.1 on CUDA though asked for something else": Case(
        "1.8.1", LLAMA_ALL, BANNER_CUDA + device("CUDA", RTX) + OFFLOADED, "cuda", RTX, RTX,
    ),
    "1.8.1 that sees a GPU and leaves it alone": Case(
        "1.8.1", LLAMA_CUDA,
        device("CUDA", RTX) + "load_tensors: offloaded 0/23 layers to GPU\n" + BUFFER, "cpu",
        None, "offloaded 0/23",
    ),
    "1.8.1 that was given no device": Case(
        "1.8.1", LLAMA_CUDA,
        BANNER_CUDA + "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device\n",
        "cpu", None, "failed to initialize CUDA",
    ),
    "1.8.1 compiled for a Vulkan that its llama.cpp lacks": Case(
        "1.8.1", LLAMA_ALL, BANNER_CUDA + BUFFER, "cpu", None, BUFFER.strip(),
    ),
    "1.8.1 whose layers are all on the processor": Case(
        "1.8.1", LLAMA_ALL, BANNER_CUDA + layer("CPU", 0) + layer("CPU", 1), "cpu", None,
        "layer   1 assigned to device CPU",
    ),
    "1.8.1 whose layers are on a GPU but for one": Case(
        "1.8.1", LLAMA_CUDA, device("CUDA", RTX) + layer("CPU", 0) + layer("CUDA0", 1) + OFFLOADED,
        "cuda", RTX, "layer   1 assigned to device CUDA0",
    ),
    "1.8.1 whose GPU is a software renderer": Case(
        "1.8.1", LLAMA_ALL, device("Vulkan", LLVMPIPE) + layer("Vulkan0", 0) + OFFLOADED, "cpu",
        LLVMPIPE, LLVMPIPE,
    ),
    "1.8.1 that is silent about GPUs": Case(
        "1.8.1", LLAMA_CUDA, BANNER_CUDA, "cpu", None, "no load said",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_backend_in_use_is_what_the_engine_said(case: Case) -> None:
    gpu = read_back(
        "cuda",
        case.version,
        build=case.build or UNKNOWN_BUILD,
        log=case.log,
        metrics=case.metrics,
        answered=case.log is not None,
    )
    assert (gpu.in_use, gpu.device, gpu.verified) == (case.in_use, case.device, True)
    assert case.evidence in gpu.evidence
    assert not gpu.pending
    assert gpu.is_as_requested is (case.in_use == "cuda")


@pytest.mark.parametrize(
    ("version", "build", "log"),
    [
        ("2.5.0", AIRFRAME, BANNER),
        ("2.6.5", AIRFRAME, LEGACY),
        ("2.5.0", AIRFRAME, ""),
        ("1.8.1", LLAMA_CUDA, BANNER_CUDA),
        # Another's request may be loading just now: what was begun is not in use.
        ("2.5.0", AIRFRAME, BANNER + adapter(RTX, "DiscreteGpu", "Vulkan")),
        ("1.8.1", LLAMA_CUDA, BANNER_CUDA + device("CUDA", RTX) + OFFLOADED),
        ("9.0.0", None, BANNER),
    ],
)
def test_before_an_answer_a_build_with_a_gpu_tells_nothing(
    version: str, build: Build | None, log: str
) -> None:
    gpu = read_back("cuda", version, build=build or UNKNOWN_BUILD, log=log)
    assert (gpu.in_use, gpu.verified, gpu.pending) == (None, False, True)
    assert "first answer" in gpu.evidence


@pytest.mark.parametrize(("build", "version"), [(CPU_ONLY, "2.5.0"), (LLAMA, "1.8.1")])
def test_a_build_without_a_gpu_needs_no_answer_to_be_known(build: Build, version: str) -> None:
    gpu = read_back("auto", version, build=build, log="")
    assert (gpu.in_use, gpu.verified, gpu.pending) == ("cpu", True, False)
    assert build.line in gpu.evidence


def test_a_load_that_fails_is_no_use_and_says_why() -> None:
    log = BANNER + adapter("Intel Arc", "DiscreteGpu", "Vulkan") + REFUSED
    gpu = read_back("vulkan", "2.5.0", build=AIRFRAME, log=log)
    assert (gpu.in_use, gpu.verified, gpu.pending) == (None, False, True)
    assert "Intel Arc" in gpu.evidence
    assert gpu.evidence.endswith("binding limit (1024 MB) is too small")
    none = BANNER + "Failed to load model 'm': Airframe GPU load failed: No GPU adapter found\n"
    assert "No GPU adapter" in read_back("auto", "2.5.0", build=AIRFRAME, log=none).evidence


@pytest.mark.parametrize(
    ("build", "log", "version", "metrics"),
    [
        (AIRFRAME, LEGACY + adapter(RTX, "DiscreteGpu", "Vulkan"), "2.5.0", {}),
        (CPU_ONLY, BANNER + adapter(RTX, "DiscreteGpu", "Vulkan"), "2.5.0", {}),
        (LLAMA, device("CUDA", RTX) + OFFLOADED, "1.8.1", {}),
        (LLAMA_ALL, device("CUDA", RTX) + device("Vulkan", RTX) + OFFLOADED, "1.8.1", {}),
        (
            LLAMA_CUDA,
            device("CUDA", RTX) + OFFLOADED + "load_tensors: offloaded 0/23 layers to GPU\n",
            *("1.8.1", {}),
        ),
        (LLAMA_CUDA, device("CUDA", RTX) + layer("CPU", 0) + OFFLOADED, "1.8.1", {}),
        (
            LLAMA_ALL,
            device("CUDA", RTX) + OFFLOADED + "load_tensors: Metal_Mapped model buffer size = 1\n",
            *("1.8.1", {}),
        ),
        (
            *(AIRFRAME, BANNER + adapter(RTX, "DiscreteGpu", "Vulkan"), "2.6.5"),
            {"features": {"airframe": False}},
        ),
    ],
)
def test_a_contradiction_is_not_verified_and_both_lines_are_shown(
    build: Build, log: str, version: str, metrics: dict[str, Any]
) -> None:
    gpu = read_back("auto", version, build=build, log=log, metrics=metrics, answered=True)
    assert (gpu.in_use, gpu.verified) == (None, False)
    assert gpu.evidence.startswith("it contradicts itself:\n")
    assert len(gpu.evidence.splitlines()) >= 3


@pytest.mark.parametrize("detected", [True, False])
def test_metrics_tell_what_tools_there_are_and_prove_nothing(detected: bool) -> None:
    metrics = {"gpu_detected": detected, "gpu_vendor": None, "features": {"huggingface": True}}
    gpu = read_back("auto", "2.5.0", metrics=metrics)
    assert (gpu.in_use, gpu.verified, gpu.pending) == (None, False, False)
    assert f"gpu_detected: {str(detected).lower()}" in gpu.evidence


def test_an_answer_that_nothing_explains_is_not_verified() -> None:
    gpu = read_back("auto", "2.5.0", build=AIRFRAME, log=BANNER, answered=True)
    assert (gpu.in_use, gpu.verified, gpu.pending) == (None, False, False)


def test_what_was_said_before_a_restart_is_no_evidence() -> None:
    log = BANNER + adapter(RTX, "DiscreteGpu", "Vulkan") + BANNER
    assert not read_back("auto", "2.5.0", build=AIRFRAME, log=log, answered=True).verified


def test_a_feature_is_no_evidence_where_another_engine_is_beside_it() -> None:
    gpu = read_back("auto", "2.2.0", metrics={"features": {"llama": False}})
    assert not gpu.verified


def test_what_a_prompt_says_is_no_evidence() -> None:
    prompt = f"DEBUG prompt: {adapter(RTX, 'DiscreteGpu', 'Vulkan')}"
    assert not read_back("auto", "2.5.0", build=AIRFRAME, log=BANNER + prompt, answered=True)[2]


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(BANNER, LEGACY, BUFFER, OFFLOADED, REFUSED, BANNER_CUDA),
                *(adapter(RTX, "DiscreteGpu", "Vulkan"), adapter(LLVMPIPE, "Cpu", "Gl")),
                *(device("CUDA", RTX), "load_tensors: offloaded 0/1 layers to GPU\n"),
            ]
        ),
        st.text(max_size=20),
    )
).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["features", "airframe", "llama"]), inner),
)


@pytest.mark.slow
@given(
    version=st.sampled_from(["1.8.1", "2.5.0", "2.6.5"]) | st.text(max_size=8),
    build=st.sampled_from([None, AIRFRAME, CPU_ONLY, LLAMA, LLAMA_CUDA]),
    log=st.none() | LINES,
    metrics=st.dictionaries(st.sampled_from(["features", "gpu_detected"]), VALUES),
    answered=st.booleans(),
)
def test_anything_can_be_read_and_a_gpu_needs_an_answer(
    version: str, build: Build | None, log: str | None, metrics: dict[str, Any], answered: bool
) -> None:
    build = build or UNKNOWN_BUILD
    gpu = read_back("cuda", version, build=build, log=log, metrics=metrics, answered=answered)
    assert isinstance(gpu, ServerGpu)
    assert gpu.verified is (gpu.in_use is not None)
    assert gpu.evidence
    assert not (gpu.pending and (gpu.verified or answered))
    if gpu.in_use not in (None, "cpu"):
        assert answered
        assert log
