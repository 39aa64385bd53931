"""What is asked about each backend, as a table. A new tool is a new row.

The rows of a backend are in order of trust: the first that says found or not found decides. What
several rows share (one tool that knows of two backends) is asked once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import cuda_driver, readers
from .asking import Answer, Files, Known, Source, Tool
from .result import Backend

EVERYWHERE = ()
LINUX = ("linux",)
MACOS = ("darwin",)
NVIDIA = ("linux", "win32")


class Probe(NamedTuple):
    """One question, and how its answer is read."""

    backend: Backend
    source: Source
    read: Callable[[Answer], readers.Reading]
    systems: tuple[str, ...] = EVERYWHERE

    def belongs_on(self, system: str) -> bool:
        return not self.systems or system in self.systems


DRIVER_LIBRARY = Tool(
    sys.executable,
    ("-I", "-S", str(Path(cuda_driver.__file__))),
    f"{cuda_driver.LIBRARY} (cuInit)",
)
SYSTEM = Known("system")
NVIDIA_SMI = Tool("nvidia-smi", readers.NVIDIA_SMI_ARGUMENTS)
NVIDIA_FILES = Files(("/proc/driver/nvidia/version", "/dev/nvidia[0-9]*"))
ROCM_SMI = Tool("rocm-smi", ("--showproductname", "--showdriverversion"))
VULKAN_FILES = Files(
    (
        "/usr/share/vulkan/icd.d/*.json",
        "/usr/local/share/vulkan/icd.d/*.json",
        "/etc/vulkan/icd.d/*.json",
    )
)
OPENCL_FILES = Files(("/etc/OpenCL/vendors/*.icd",))
DISPLAYS = Tool("system_profiler", ("SPDisplaysDataType",))

PROBES = (
    Probe("cuda", Known("CUDA_VISIBLE_DEVICES"), readers.hidden_from_cuda),
    Probe("cuda", DRIVER_LIBRARY, readers.driver_library, NVIDIA),
    Probe("cuda", NVIDIA_SMI, readers.nvidia_smi, NVIDIA),
    Probe("cuda", NVIDIA_FILES, readers.nvidia_files, LINUX),
    Probe("vulkan", Tool("vulkaninfo", ("--summary",)), readers.vulkaninfo),
    Probe("vulkan", VULKAN_FILES, readers.driver_files, LINUX),
    Probe("opencl", Tool("clinfo"), readers.clinfo),
    Probe("opencl", OPENCL_FILES, readers.driver_files, LINUX),
    Probe("metal", SYSTEM, readers.not_a_mac),
    Probe("metal", DISPLAYS, readers.system_profiler, MACOS),
    Probe("mlx", SYSTEM, readers.not_apple_silicon),
    Probe("mlx", DISPLAYS, readers.apple_displays, MACOS),
    Probe("rocm", Tool("rocminfo"), readers.rocminfo, LINUX),
    Probe("rocm", ROCM_SMI, readers.rocm_smi, LINUX),
    Probe("rocm", Files(("/dev/kfd",)), readers.kfd, LINUX),
)
