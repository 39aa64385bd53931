"""What tools that work say, and what is found because of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_shimmy.accel.asking import Platform
from tests.programs.fake_tools import (
    APPLE_SILICON,
    INTEL_MAC,
    LINUX,
    SMI_ROWS,
    WINDOWS,
    Machine,
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def vulkan(*devices: tuple[str, str, str]) -> str:
    """The summary, with (type, name, driver) of each device."""
    listed = "".join(
        f"GPU{number}:\n\tapiVersion         = 1.3.230\n"
        f"\tdeviceType         = PHYSICAL_DEVICE_TYPE_{kind}\n\tdeviceName         = {name}\n"
        f"\tdriverName         = {driver}\n\tdriverInfo         = 1.2.3\n"
        for number, (kind, name, driver) in enumerate(devices)
    )
    return f"Vulkan Instance Version: 1.3.239\n\nDevices:\n========\n{listed}"


def opencl(*devices: tuple[str, str]) -> str:
    """The common clinfo, with (type, name) of each device."""
    return (
        f"Number of platforms{len(devices):>32}\n  Platform Name      Some Platform\n"
        + "".join(
            f"  Device Name                                     {name}\n"
            f"  Device Vendor ID                                0x8086\n"
            f"  Driver Version                                  3.1\n"
            f"  Device Type                                     {kind}\n"
            for kind, name in devices
        )
        + (
            "NULL platform behavior\n"
            "    Device Name                                   Somebody Else's\n"
            "  clCreateContextFromType(NULL, CL_DEVICE_TYPE_GPU)  No devices found in platform\n"
        )
    )


AMD_OPENCL = (
    "Number of platforms:\t\t\t\t 1\n"
    "  Platform Name:\t\t\t\t AMD Accelerated Parallel Processing\n"
    "Number of devices:\t\t\t\t 1\n"
    "  Device Type:\t\t\t\t\t CL_DEVICE_TYPE_GPU\n"
    "  Board name:\t\t\t\t\t AMD Radeon RX 6800 XT\n"
    "  Name:\t\t\t\t\t\t gfx1030\n"
    "  Driver version:\t\t\t\t 3635.0 (HSA1.1,LC)\n"
)
HSA = (
    "ROCk module version 6.8.5 is loaded\n"
    "*******\nAgent 1\n*******\n  Name:          AMD Ryzen 9\n  Marketing Name:  AMD Ryzen 9\n"
    "  Device Type:             CPU\n"
    "*******\nAgent 2\n*******\n  Name:          gfx1030\n"
    "  Marketing Name:          AMD Radeon RX 6800 XT\n  Device Type:             GPU\n"
    "  ISA Info:\n    ISA 1\n      Name:          amdgcn-amd-amdhsa--gfx1030\n*** Done ***\n"
)
ROCM_SMI = (
    "===== Version of System Component =====\nDriver version: 6.8.5\n"
    "===== Product Info =====\nGPU[0]\t\t: Card Series: \t\tAMD Radeon RX 6800 XT\n"
    "GPU[0]\t\t: Card Model: \t\t0x73bf\n"
)


def displays(name: str, metal: str) -> str:
    return (
        f"Graphics/Displays:\n\n    {name}:\n\n      Chipset Model: {name}\n"
        f"      Type: GPU\n      Bus: Built-In\n{metal}      Displays:\n"
        "        Color LCD:\n          Main Display: Yes\n"
    )


class Case(NamedTuple):
    """A tool's answer, and what it means."""

    backend: str
    tool: str
    out: str
    devices: tuple[str, ...]
    """None named: not found."""
    driver: str | None
    line: str
    """A part of the line that decided."""
    platform: Platform = LINUX
    err: str = ""
    status: int = 0


DENIED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure\n"
NO_DRIVER = "ERROR at vulkaninfo.h:674:vkCreateInstance failed with ERROR_INCOMPATIBLE_DRIVER\n"
LAVAPIPE = ("CPU", "llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe")
RADEON = ("DISCRETE_GPU", "AMD Radeon RX 6800 XT (RADV NAVI21)", "radv")
SMI_NAMES = ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060")

CASES = {
    "nvidia-smi lists GPUs": Case(
        "cuda", "nvidia-smi", "\n".join(SMI_ROWS), SMI_NAMES, "550.54.14", SMI_ROWS[0]
    ),
    "nvidia-smi on Windows": Case(
        "cuda", "nvidia-smi.exe", f"{SMI_ROWS[0]}\r\n", SMI_NAMES[:1], "550.54.14", SMI_ROWS[0],
        WINDOWS,
    ),
    "a container without the driver": Case(
        "cuda", "nvidia-smi", DENIED, (), None, "couldn't communicate", status=9
    ),
    "a driver without a device": Case(
        "cuda", "nvidia-smi", "No devices were found\n", (), None, "No devices", status=6
    ),
    "a driver that was updated without a restart": Case(
        "cuda", "nvidia-smi", "Failed to initialize NVML: Driver/library version mismatch\n",
        (), None, "version mismatch", status=18,
    ),
    "Vulkan on two GPUs and a renderer": Case(
        "vulkan", "vulkaninfo",
        vulkan(LAVAPIPE, RADEON, ("INTEGRATED_GPU", "Intel UHD 770", "Intel")),
        (RADEON[1], "Intel UHD 770"), "radv 1.2.3", "deviceName = AMD Radeon",
    ),
    "Vulkan on a renderer only": Case(
        "vulkan", "vulkaninfo", vulkan(LAVAPIPE), (), None,
        "lists llvmpipe (LLVM 15.0.6, 256 bits) (CPU): not a GPU",
        err="'DISPLAY' environment variable not set... skipping surface info\n",
    ),
    "Vulkan without a driver": Case(
        "vulkan", "vulkaninfo", "", (), None, "INCOMPATIBLE_DRIVER", err=NO_DRIVER, status=1
    ),
    "Vulkan without a device": Case("vulkan", "vulkaninfo", vulkan(), (), None, "lists no device"),
    "OpenCL on a GPU": Case(
        "opencl", "clinfo", opencl(("CPU", "pthread-skylake"), ("GPU", "Intel Arc A770")),
        ("Intel Arc A770",), "3.1", "Device Name Intel Arc A770",
    ),
    "OpenCL on a GPU, AMD's tool": Case(
        "opencl", "clinfo", AMD_OPENCL, ("AMD Radeon RX 6800 XT",), "3635.0 (HSA1.1,LC)",
        "Board name:",
    ),
    "OpenCL on the processor only": Case(
        "opencl", "clinfo", opencl(("CPU", "pthread-skylake")), (), None,
        "lists pthread-skylake (CPU): not a GPU",
    ),
    "OpenCL without a platform": Case(
        "opencl", "clinfo", opencl(), (), None, "Number of platforms 0"
    ),
    "OpenCL without a platform, AMD's tool": Case(
        "opencl", "clinfo", "", (), None, "(-1001)", err="ERROR: clGetPlatformIDs(-1001)\n",
        status=1,
    ),
    "ROCm by rocminfo": Case(
        "rocm", "rocminfo", HSA, ("AMD Radeon RX 6800 XT",), "6.8.5", "Marketing Name:"
    ),
    "ROCm by rocm-smi": Case(
        "rocm", "rocm-smi", ROCM_SMI, ("AMD Radeon RX 6800 XT",), "6.8.5", "Card Series:"
    ),
    "rocminfo without the driver": Case(
        "rocm", "rocminfo", "\x1b[31mROCk module is NOT loaded, possibly no GPU devices\x1b[0m\n",
        (), None, "ROCk module is NOT loaded, possibly no GPU devices", status=1,
    ),
    "rocm-smi without the driver, which it takes for success": Case(
        "rocm", "rocm-smi", "", (), None, "Driver not initialized",
        err="ERROR:root:Driver not initialized (amdgpu not found in modules)\n",
    ),
    "Metal on Apple silicon": Case(
        "metal", "system_profiler", displays("Apple M3", "      Metal Support: Metal 3\n"),
        ("Apple M3",), "Metal 3", "Chipset Model: Apple M3", APPLE_SILICON,
    ),
    "MLX on Apple silicon": Case(
        "mlx", "system_profiler", displays("Apple M3", "      Metal Support: Metal 3\n"),
        ("Apple M3",), "Metal 3", "Chipset Model: Apple M3", APPLE_SILICON,
    ),
    "Metal on an Intel Mac": Case(
        "metal", "system_profiler",
        displays("AMD Radeon Pro 5500M", "      Metal Family: Supported, GPUFamily macOS 2\n"),
        ("AMD Radeon Pro 5500M",), "Supported, GPUFamily macOS 2", "5500M", INTEL_MAC,
    ),
    "MLX on an Intel Mac": Case(
        "mlx", "system_profiler",
        displays("AMD Radeon Pro 5500M", "      Metal Family: Supported, GPUFamily macOS 2\n"),
        (), None, "needs Apple silicon", INTEL_MAC,
    ),
    "a Mac too old for Metal": Case(
        "metal", "system_profiler", displays("NVIDIA GeForce 9400M", ""), (), None,
        "lists NVIDIA GeForce 9400M (no Metal): not a GPU", INTEL_MAC,
    ),
    "no Mac": Case(
        "metal", "system_profiler", displays("Apple M3", "      Metal Support: Metal 3\n"),
        (), None, "linux on x86_64; needs macOS",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_backend_is_what_its_tool_says(case: Case, machine: Machine) -> None:
    machine.says(case.tool, case.out, err=case.err, status=case.status)
    finding = machine.detect(case.platform).backends[case.backend]
    assert finding.state == ("found" if case.devices else "not found")
    assert finding.devices == case.devices
    assert finding.driver == case.driver
    assert case.line in finding.evidence[0].line


def test_evidence_names_the_command_its_exit_code_and_the_line(machine: Machine) -> None:
    machine.says("rocminfo", "ROCk module is NOT loaded\n", status=1)
    decided, rest = machine.detect().backends["rocm"].evidence
    assert (decided.source, decided.status, decided.line) == (
        *("rocminfo", 1, "ROCk module is NOT loaded"),
    )
    assert 0 < decided.seconds < 30
    assert rest.source.startswith("rocm-smi")
    assert rest.line == "not on PATH"


class Visible(NamedTuple):
    """A value of CUDA_VISIBLE_DEVICES, and what is left of two GPUs."""

    value: str
    devices: tuple[str, ...]


@pytest.mark.parametrize(
    "case",
    [
        Visible("", ()),
        Visible("-1", ()),
        Visible("-1,0", ()),
        Visible("1", SMI_NAMES[1:]),
        Visible("1,0", SMI_NAMES[::-1]),
        Visible(" 0 ", SMI_NAMES[:1]),
        Visible("0,7,1", SMI_NAMES[:1]),
        Visible("7", ()),
        Visible("NoDevFiles", ()),
        Visible("GPU-3c", SMI_NAMES[1:]),
        Visible("GPU-3c4d,0", SMI_NAMES[::-1]),
        Visible("GPU-", ()),
    ],
)
def test_what_is_hidden_from_cuda_is_not_found(case: Visible, machine: Machine) -> None:
    machine.says("nvidia-smi", "\n".join(SMI_ROWS))
    machine.environ["CUDA_VISIBLE_DEVICES"] = case.value
    finding = machine.detect().backends["cuda"]
    assert finding.state == ("found" if case.devices else "not found")
    assert finding.devices == case.devices
    assert finding.driver == "550.54.14"
    if not case.devices:
        assert "CUDA_VISIBLE_DEVICES" in str(finding.evidence[0])


def test_a_part_of_a_gpu_is_more_than_nvidia_smi_can_tell(machine: Machine) -> None:
    machine.says("nvidia-smi", "\n".join(SMI_ROWS))
    machine.environ["CUDA_VISIBLE_DEVICES"] = "MIG-5e6f"
    finding = machine.detect().backends["cuda"]
    assert finding.state == "could not tell"
    assert "MIG-5e6f" in finding.evidence[0].line


VERSION = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Release Build\nGCC version: 12"
)


def test_a_container_that_was_not_given_the_gpu_sees_the_driver_only(machine: Machine) -> None:
    machine.has("/proc/driver/nvidia/version", VERSION)
    finding = machine.detect().backends["cuda"]
    assert finding.state == "not found"
    assert finding.driver == "535.129.03"
    assert finding.evidence[0].line.endswith("Release Build; no device is there")


def test_a_device_that_nobody_names_is_in_doubt(machine: Machine) -> None:
    machine.has("/proc/driver/nvidia/version", VERSION)
    machine.has("/dev/nvidia0")
    machine.has("/dev/kfd")
    backends = machine.detect().backends
    assert {backends[name].state for name in ("cuda", "rocm")} == {"could not tell"}
    assert backends["cuda"].driver == "535.129.03"


def test_a_driver_whose_tool_is_not_installed_is_in_doubt(machine: Machine) -> None:
    machine.has("/etc/vulkan/icd.d/nvidia_icd.json", "{}")
    machine.has("/etc/OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1")
    backends = machine.detect().backends
    assert {backends[name].state for name in ("vulkan", "opencl")} == {"could not tell"}
    assert backends["vulkan"].evidence[0].line == (
        "/etc/vulkan/icd.d/nvidia_icd.json names a driver, but nothing names a device"
    )
    machine.says("vulkaninfo", vulkan(LAVAPIPE))
    assert machine.detect().backends["vulkan"].state == "not found"


def test_a_tool_that_knows_decides_over_files_that_do_not(machine: Machine) -> None:
    machine.has("/proc/driver/nvidia/version", VERSION)
    machine.has("/dev/nvidia0")
    machine.says("nvidia-smi", SMI_ROWS[0])
    finding = machine.detect().backends["cuda"]
    assert finding.state == "found"
    assert finding.driver == "550.54.14"


@pytest.mark.parametrize(
    ("place", "tool", "platform"),
    [
        ("usr/lib/wsl/lib", "nvidia-smi", LINUX),
        ("opt/rocm/bin", "rocminfo", LINUX),
        ("usr/sbin", "system_profiler", APPLE_SILICON),
        ("Windows/System32", "nvidia-smi.exe", WINDOWS),
        ("Programs/NVIDIA Corporation/NVSMI", "nvidia-smi.exe", WINDOWS),
    ],
)
@pytest.mark.parametrize("path", [None, "", "/nowhere:/dev/null"])
def test_tools_are_found_where_installers_put_them(
    place: str, tool: str, platform: Platform, path: str | None, machine: Machine
) -> None:
    del machine.environ["PATH"]
    if path is not None:
        machine.environ["PATH"] = path
    machine.environ["SystemRoot"] = str(machine.root / "Windows")
    machine.environ["ProgramFiles"] = str(machine.root / "Programs")
    machine.does(tool, "echo here; exit 1", machine.root / place)
    evidence = [each for one in machine.detect(platform).backends.values() for each in one.evidence]
    assert "said: here" in [each.line for each in evidence]


@pytest.mark.parametrize("path", [":", ".", "tools", "../tools"])
def test_nothing_is_run_from_near_the_current_directory(
    path: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.says("nvidia-smi", SMI_ROWS[0])
    machine.environ["PATH"] = path
    monkeypatch.setenv("PATH", str(machine.tools))
    monkeypatch.chdir(machine.tools.parent if path == "tools" else machine.tools)
    assert machine.detect().backends["cuda"].state == "not found"


def test_tools_are_asked_in_english(machine: Machine) -> None:
    machine.environ |= {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}
    machine.does("clinfo", 'echo "$LC_ALL"')
    assert machine.detect().backends["opencl"].evidence[0].line == "said: C"
