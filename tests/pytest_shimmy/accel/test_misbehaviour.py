"""Tools that do not work: what is known then, and that nothing else suffers."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.accel.asking import Answer, Platform, clean
from pytest_shimmy.accel.asking import Machine as Asked
from pytest_shimmy.accel.probes import PROBES, Probe
from tests.programs.fake_tools import SMI_ROWS, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def in_doubt(machine: Machine, backend: str = "vulkan") -> str:
    """The evidence for a doubt."""
    finding = machine.detect().backends[backend]
    assert finding.state == "could not tell"
    assert not finding.devices
    return finding.evidence[0].line


def left_behind(machine: Machine) -> list[psutil.Process]:
    """Processes that run a tool of this machine, and go on doing so."""
    running = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(machine.tools) in word for word in process.info["cmdline"] or ())
    ]
    return psutil.wait_procs(running, timeout=10)[1]  # one that is killed may still be ending


@pytest.mark.slow
def test_a_tool_that_hangs_is_stopped_and_leaves_the_others_alone(machine: Machine) -> None:
    nobody_writes = machine.fifo("nothing")
    machine.does("vulkaninfo", f"trap '' TERM; read answer < {nobody_writes}")
    machine.has("/proc/driver/nvidia/version", "NVRM version: 535.1")
    backends = machine.detect(timeout=1.0).backends
    assert backends["vulkan"].state == "could not tell"
    assert backends["vulkan"].evidence[0].line == "had not ended after 1 s and was stopped"
    assert backends["cuda"].driver == "535.1"
    assert not left_behind(machine)


def test_a_child_that_holds_a_tools_output_is_not_waited_for(machine: Machine) -> None:
    nobody_writes = machine.fifo("nothing")
    machine.does("vulkaninfo", f"/bin/sh -c 'read answer < {nobody_writes}' & echo done; exit 1")
    assert in_doubt(machine) == "said: done"
    assert not left_behind(machine)


def test_a_tool_that_prints_without_end_is_stopped(machine: Machine) -> None:
    machine.does("vulkaninfo", "echo begin; exec /bin/cat /dev/zero")
    assert in_doubt(machine) == "wrote more than 256 KiB and was stopped, said: begin"
    assert not left_behind(machine)


def test_tools_are_asked_at_the_same_time(machine: Machine) -> None:
    """Each of two waits for the other: one after the other, neither would end."""
    there, back = machine.fifo("there"), machine.fifo("back")
    rows = "\n".join(f"echo '{row}'" for row in SMI_ROWS)
    machine.does("nvidia-smi", f"echo > {there}; read answer < {back}; {rows}")
    machine.does("vulkaninfo", f"read answer < {there}; echo > {back}; echo done; exit 1")
    result = machine.detect()
    assert result.backends["cuda"].state == "found"
    assert result.backends["vulkan"].evidence[0].line == "said: done"


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("kill -SEGV $$", "killed by SIGSEGV"),
        (f"echo '{SMI_ROWS[0]}'; kill -KILL $$", f"killed by SIGKILL, said: {SMI_ROWS[0]}"),
        (f"echo '{SMI_ROWS[0]}'; exit 15", f"said: {SMI_ROWS[0]}"),
        ("exit 0", "said nothing"),
        ("exit 3", "said nothing"),
        ("printf '\\377\\376\\000\\033[31mred\\n'", "said: ��red"),
        ('echo "NVIDIA-SMI couldn\'t find libnvidia-ml.so"; exit 12', "said: NVIDIA-SMI couldn't"),
        ("echo 'Failed to initialize NVML: Insufficient Permissions'; exit 4", "Failed to "),
        ("echo 'open /dev/nvidiactl: Permission denied' >&2; exit 1", "open /dev/nvidiactl: "),
        ("echo 'Sie müssen root sein' >&2; exit 1", "said: Sie müssen root sein"),
        ("echo '0, GPU-1a2b, , 550.54.14, 1 MiB'", "said: 0, GPU-1a2b"),
    ],
)
def test_an_answer_that_says_nothing_definite_is_in_doubt(
    script: str, line: str, machine: Machine
) -> None:
    machine.does("nvidia-smi", script)
    assert in_doubt(machine, "cuda").startswith(line)


def test_a_renderer_alone_proves_nothing_to_who_may_not_look(machine: Machine) -> None:
    out = "Devices:\n====\nGPU0:\n deviceType = PHYSICAL_DEVICE_TYPE_CPU\n deviceName = llvmpipe\n"
    machine.says("vulkaninfo", out, err="/dev/dri/renderD128: Permission denied\n")
    assert in_doubt(machine) == "/dev/dri/renderD128: Permission denied"


def test_a_device_without_a_name_is_in_doubt(machine: Machine) -> None:
    machine.says("vulkaninfo", "GPU0:\n\tdeviceType = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n")
    assert in_doubt(machine) == "said: GPU0:"


def test_rocm_needs_a_group(machine: Machine) -> None:
    machine.says(
        "rocminfo",
        "ROCk module is loaded\nUnable to open /dev/kfd read-write: Permission denied\n",
        status=1,
    )
    machine.has("/dev/kfd")
    assert "Permission denied" in in_doubt(machine, "rocm")


def test_a_file_that_is_no_program_is_in_doubt(machine: Machine) -> None:
    (machine.tools / "vulkaninfo").write_bytes(b"\x7fELF, but not really")
    (machine.tools / "vulkaninfo").chmod(0o755)
    assert in_doubt(machine).startswith("cannot be run: Exec format error")


@pytest.mark.skipif(os.name == "nt", reason="files have no such bit")
def test_a_file_that_may_not_be_executed_is_in_doubt(machine: Machine) -> None:
    machine.does("vulkaninfo", "exit 0").chmod(0o644)
    assert in_doubt(machine) == f"{machine.tools / 'vulkaninfo'} is not executable"


def test_a_folder_with_the_name_of_a_tool_is_no_tool(machine: Machine) -> None:
    (machine.tools / "vulkaninfo").mkdir()
    finding = machine.detect().backends["vulkan"]
    assert (finding.state, finding.evidence[0].line) == ("not found", "not on PATH")


def test_a_variable_that_no_program_can_be_given_is_in_doubt(machine: Machine) -> None:
    machine.says("vulkaninfo")
    machine.environ["ODD"] = "null \0 byte"
    assert in_doubt(machine).startswith("cannot be run: ")


def test_a_sound_answer_after_a_broken_one_decides(machine: Machine) -> None:
    machine.does("rocminfo", "kill -SEGV $$")
    machine.says("rocm-smi", "GPU[0]\t\t: Card series: \t\tAMD Instinct MI300X\n")
    finding = machine.detect().backends["rocm"]
    assert finding.devices == ("AMD Instinct MI300X",)
    assert [each.line for each in finding.evidence][1:] == ["killed by SIGSEGV"]


# Texts with the words that readers look for, in any order and among anything.
WORDS = st.sampled_from(
    [
        *(
            "GPU0:\n",
            "deviceType",
            " = ",
            "PHYSICAL_DEVICE_TYPE_",
            "_GPU",
            "deviceName",
            "Devices:",
        ),
        *(
            "Device Type:",
            "Device Name  ",
            "Board name:\t",
            "Agent 1\n",
            "Marketing Name: ",
            "====\n",
        ),
        *(
            "GPU[0]\t: Card series:",
            "Chipset Model: ",
            "Metal Support:",
            "not",
            ", ",
            "0, a, b, 1.2, c",
        ),
        *(
            "NVRM version",
            "/dev/nvidia0\n",
            "device 0: ",
            "\n",
            "\r",
            " ",
            "\t",
            "\0",
            "permission denied",
        ),
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=20)), max_size=40).map("".join)


@pytest.mark.slow
@given(
    probe=st.sampled_from(PROBES),
    out=TEXTS,
    err=TEXTS,
    status=st.one_of(st.none(), st.integers(-9, 255)),
    trouble=st.sampled_from(["", "had not ended after 1 s and was stopped"]),
    visible=st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["0", "GPU-", "MIG-1"])),
    system=st.sampled_from(["linux", "darwin", "win32", "sunos5"]),
)
def test_any_answer_can_be_read(
    probe: Probe,
    out: str,
    err: str,
    status: int | None,
    trouble: str,
    visible: str | None,
    system: str,
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    asked = Asked(environ, Platform(system, "x86_64"), Path("/"), 1.0)
    printed = [clean(text.encode("utf-8", "surrogatepass")) for text in (out, err)]
    reading = probe.read(Answer(asked, printed[0], printed[1], status, trouble))
    assert (reading.state == "found") == bool(reading.devices)
    assert all(device.strip() for device in reading.devices)
    if reading.state == "found":
        assert status == 0
        assert not trouble
    assert "\n" not in reading.line


@given(data=st.binary(max_size=2000))
def test_any_output_becomes_lines(data: bytes) -> None:
    for line in clean(data).split("\n"):
        assert line == line.strip()
        assert len(line) <= 500
        assert "\0" not in line
        assert "\x1b" not in line
