"""What `AccelDetector` makes of it all: the recommendation, its reason, and sharing both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import ShimmyProcessDefaults
from pytest_shimmy.accel import asking
from pytest_shimmy.accel.asking import Answer, Source
from pytest_shimmy.accel.detector import AccelDetector, detect_once
from pytest_shimmy.accel.probes import PROBES
from pytest_shimmy.accel.result import AccelDetectorResult, Evidence, Finding
from tests.programs.fake_tools import APPLE_SILICON, SMI_ROWS, WINDOWS, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


GPU = {
    "nvidia-smi": SMI_ROWS[0],
    "vulkaninfo": "GPU0:\n\tdeviceType = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n\tdeviceName = Card\n",
    "clinfo": "Device Name     Card\nDevice Type     GPU\n",
    "rocminfo": "Agent 1\n  Name:    gfx1030\n  Device Type:    GPU\n",
    "system_profiler": "Chipset Model: Apple M3\nMetal Support: Metal 3\n",
}


@pytest.mark.parametrize(
    ("tools", "recommended", "use"),
    [
        (("nvidia-smi", "vulkaninfo", "clinfo"), "cuda", "1.x uses it if built with CUDA"),
        (("vulkaninfo", "clinfo", "rocminfo"), "vulkan", "2.x uses it through WebGPU"),
        (("clinfo", "rocminfo"), "opencl", "1.x uses it if built with OpenCL"),
    ],
)
def test_the_first_that_is_found_is_recommended(
    tools: tuple[str, ...], recommended: str, use: str, machine: Machine
) -> None:
    for tool in tools:
        machine.says(tool, GPU[tool])
    result = machine.detect()
    assert result.recommended == recommended
    assert result.reason.startswith(f"{result.backends[recommended]}. shimmy {use}")


def test_a_mac_is_recommended_metal(machine: Machine) -> None:
    machine.says("system_profiler", GPU["system_profiler"])
    machine.says("vulkaninfo", GPU["vulkaninfo"])
    result = machine.detect(APPLE_SILICON)
    assert result.recommended == "metal"
    assert result.reason == (
        "metal found, Apple M3 (system_profiler SPDisplaysDataType: Chipset Model: Apple M3). "
        "shimmy 2.x uses it through WebGPU."
    )
    assert result.backends["mlx"].state == "found"


def test_without_a_gpu_the_processor_is_recommended_and_the_reason_says_who_was_asked(
    machine: Machine,
) -> None:
    machine.says("clinfo", "Number of platforms      0\n")
    result = machine.detect()
    assert result.recommended == "cpu"
    assert result.reason == (
        "No GPU that shimmy can use was found: cuda not found (nvidia-smi "
        "--query-gpu=index,uuid,name,driver_version,memory.total --format=csv,noheader: "
        "not on PATH); vulkan not found (vulkaninfo --summary: not on PATH); "
        "opencl not found (clinfo: Number of platforms 0); rocm not found (rocminfo: not on PATH)."
    )


def test_a_doubt_is_no_certainty(machine: Machine) -> None:
    machine.does("vulkaninfo", "exit 1")
    result = machine.detect(WINDOWS)
    assert result.recommended == "cpu"
    assert "No GPU that shimmy can use was found" in result.reason
    result = machine.detect()
    assert "No GPU that shimmy can use is certain" in result.reason
    assert "vulkan could not tell (vulkaninfo --summary (exit code 1): said nothing)" in (
        result.reason
    )


def test_rocm_alone_is_of_no_use_to_shimmy(machine: Machine) -> None:
    machine.says("rocminfo", GPU["rocminfo"])
    result = machine.detect()
    assert result.recommended == "cpu"
    assert "rocm found, gfx1030" in result.reason


def test_equal_gpus_are_counted(machine: Machine) -> None:
    rows = [f"{number}, GPU-{number}, NVIDIA H200, 570.1, 1 MiB" for number in range(8)]
    machine.says("nvidia-smi", "\n".join(rows))
    result = machine.detect()
    assert result.reason.startswith("cuda found, 8 x NVIDIA H200 (")
    assert len(result.backends["cuda"].devices) == 8


def test_nothing_is_asked_before_detect(machine: Machine) -> None:
    mark = machine.root / "asked"
    machine.does("vulkaninfo", f"echo asked >> {mark}")
    waiting = machine.detector()
    assert not mark.exists()
    waiting.detect()
    assert mark.read_text() == "asked\n"


def test_a_tool_that_knows_of_two_backends_is_asked_once(machine: Machine) -> None:
    mark = machine.root / "asked"
    machine.does("system_profiler", f"echo asked >> {mark}")
    machine.detect(APPLE_SILICON)
    assert mark.read_text() == "asked\n"


def test_tools_of_other_systems_are_not_asked(machine: Machine) -> None:
    mark = machine.root / "asked"
    machine.does("rocminfo", f"echo asked >> {mark}")
    machine.detect(APPLE_SILICON)
    assert not mark.exists()


@pytest.mark.slow
def test_a_tool_that_cannot_be_ended_holds_nobody(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that waits inside a hung driver, which is deaf to every signal."""
    never = threading.Event()
    ask = asking.ask

    def hang(source: Source, where: asking.Machine) -> Answer:
        if str(source).startswith("vulkaninfo"):
            never.wait()
        return ask(source, where)

    monkeypatch.setattr(asking, "ask", hang)
    monkeypatch.setattr(ShimmyProcessDefaults, "accel_end_timeout", 0.0)
    try:
        result = machine.detect(timeout=1.0)
    finally:
        never.set()
    assert result.backends["vulkan"].evidence[0].line == "could not be ended"
    assert result.backends["opencl"].evidence[0].line == "not on PATH"


def test_what_goes_wrong_with_one_question_stays_there(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, _: asking.Machine) -> tuple[None, str]:
        if name == "vulkaninfo":
            raise MemoryError("all gone")
        return None, ""

    monkeypatch.setattr(asking, "find", fail)
    result = machine.detect()
    assert result.backends["vulkan"].evidence[0].line == "could not be asked: all gone"
    assert result.backends["opencl"].evidence[0].line == "not on PATH"


def test_a_machine_can_be_asked_with_all_defaults() -> None:
    result = AccelDetector().detect()
    assert set(result.backends) == {probe.backend for probe in PROBES}
    assert result.recommended in ("cpu", *result.backends)


# NVIDIA's driver library, as the program that loads it sees it.

LIBRARY = """
int cuInit(unsigned flags) { return %(error)s; }
int cuGetErrorName(int error, const char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuDeviceGetCount(int *count) { *count = %(count)s; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
  const char *text = "NVIDIA H200";
  while ((*name++ = *text++)) {}
  return 0;
}
"""


def install_library(machine: Machine, error: str = "0", count: str = "2") -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, on Linux")
    source = machine.root / "cuda.c"
    source.write_text(LIBRARY % {"error": error, "count": count})
    library = machine.root / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    machine.environ["LD_LIBRARY_PATH"] = str(machine.root)


def test_the_driver_library_names_the_gpus_where_there_is_no_tool(machine: Machine) -> None:
    install_library(machine)
    finding = machine.detect(probes=PROBES).backends["cuda"]
    assert finding.state == "found"
    assert finding.devices == ("NVIDIA H200",) * 2
    assert str(finding.evidence[0]) == "libcuda.so.1 (cuInit): device 0: NVIDIA H200"


@pytest.mark.parametrize(
    ("error", "count", "line"),
    [
        ("100", "0", "cuInit: error 100 CUDA_ERROR_NO_DEVICE (CUDA_VISIBLE_DEVICES is '0')"),
        ("0", "0", "no CUDA device (CUDA_VISIBLE_DEVICES is '0')"),
    ],
)
def test_what_cuda_refuses_is_not_found_whatever_nvidia_smi_lists(
    error: str, count: str, line: str, machine: Machine
) -> None:
    install_library(machine, error, count)
    machine.says("nvidia-smi", SMI_ROWS[0])
    machine.environ["CUDA_VISIBLE_DEVICES"] = "0"
    finding = machine.detect(probes=PROBES).backends["cuda"]
    assert finding.state == "not found"
    assert finding.evidence[0].line == line


def test_a_driver_library_that_crashes_takes_nothing_with_it(machine: Machine) -> None:
    install_library(machine, error="*(volatile int *)0")
    machine.says("nvidia-smi", SMI_ROWS[0])
    finding = machine.detect(probes=PROBES).backends["cuda"]
    assert finding.state == "found"
    assert finding.evidence[1].line == "killed by SIGSEGV"


@pytest.mark.skipif(sys.platform != "linux", reason="the loader's search path is Linux's")
def test_a_gpu_without_the_driver_library_is_recommended_with_a_warning(machine: Machine) -> None:
    """A container with rights for nvidia-smi alone."""
    (machine.root / "libcuda.so.1").write_bytes(b"")
    machine.environ["LD_LIBRARY_PATH"] = str(machine.root)
    machine.says("nvidia-smi", SMI_ROWS[0])
    result = machine.detect(probes=PROBES)
    assert result.recommended == "cuda"
    assert "But: libcuda.so.1 (cuInit) (exit code 3): cannot be loaded: " in result.reason


# As text, and once for all.

NAMES = st.text(max_size=10)
EVIDENCE = st.builds(Evidence, NAMES, st.none() | st.integers(), NAMES, st.floats(0, 1e6))
FINDINGS = st.builds(
    Finding,
    st.sampled_from(["cuda", "mlx"]),
    st.sampled_from(["found", "not found", "could not tell"]),
    st.lists(NAMES).map(tuple),
    st.none() | NAMES,
    st.lists(EVIDENCE).map(tuple),
)


@pytest.mark.slow
@given(st.builds(AccelDetectorResult, NAMES, NAMES, st.dictionaries(NAMES, FINDINGS)))
def test_a_result_travels_as_json(result: AccelDetectorResult) -> None:
    assert AccelDetectorResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "{}", "[" * 100_000),
        *('{"backends": 1}', '{"recommended": "", "reason": "", "backends": {"cuda": {}}}'),
        json.dumps({"recommended": "", "reason": "", "backends": {"x": {"evidence": [1]}}}),
    ],
)
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        AccelDetectorResult.from_json(text)


def counting(machine: Machine) -> Path:
    """Have each detection leave a mark."""
    mark = machine.root / "asked"
    machine.does("vulkaninfo", f"echo asked >> {mark}; exit 1")
    return mark


def test_of_many_who_ask_one_detects(machine: Machine, tmp_path: Path) -> None:
    mark, go = machine.root / "asked", machine.fifo("go")
    machine.does("vulkaninfo", f"echo asked >> {mark}; read answer < {go}; exit 1")
    path = tmp_path / "run" / "accel.json"
    program = (
        "import sys, pathlib, filelock\n"
        "from pytest_shimmy.accel.asking import Platform\n"
        "from pytest_shimmy.accel.detector import AccelDetector, detect_once\n"
        "tools, root, path = map(pathlib.Path, sys.argv[1:])\n"
        "detector = AccelDetector({'PATH': str(tools)}, Platform('linux', ''), root=root)\n"
        "print('asking', flush=True)\n"
        "print(detect_once(path, detector).to_json())\n"
    )
    places = map(str, (machine.tools, machine.root, path))
    command = [sys.executable, "-c", program, *places]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "asking\n"
    go.write_text("go\n")  # waits until the first one's tool reads
    results = {worker.communicate()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0] * 4
    assert len(results) == 1
    assert mark.read_text() == "asked\n"


def test_a_damaged_file_is_made_anew(machine: Machine, tmp_path: Path) -> None:
    mark = counting(machine)
    path = tmp_path / "accel.json"
    path.write_text('{"recommended": "cuda"')
    result = detect_once(path, machine.detector())
    assert result.recommended == "cpu"
    assert AccelDetectorResult.from_json(path.read_text()) == result
    assert detect_once(path, machine.detector()) == result
    assert mark.read_text() == "asked\n"
    assert {each.name for each in tmp_path.glob("accel.json*")} <= {
        *("accel.json", "accel.json.lock"),
    }


def test_where_nothing_can_be_shared_each_detects(machine: Machine, tmp_path: Path) -> None:
    mark = counting(machine)
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "accel.json"
    for _ in range(2):
        assert detect_once(path, machine.detector()).recommended == "cpu"
    assert mark.read_text() == "asked\n" * 2
