"""The machines that can be pretended: what has to do with GPUs, as a table.

Strategy: a machine is a row of what each reader of it would find: the adapter that Airframe takes
(wgpu's name for it), the device that llama.cpp takes, the vendor's tool that ``/metrics`` and the
choice of CUDA run. ``FAKE_SHIMMY_GPU`` names the row; without it nothing is pretended. The module
imports nothing.

The lines about llvmpipe and about a machine without a GPU were seen, and those of Intel's adapter
as a user of 2.5.0 saw them. Of the others only the shape is known, from the source of Airframe 0.3
and of llama.cpp as 1.8.1 has it; their cards are examples.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "FAKE_SHIMMY_GPU"
"""Names a row."""


class Device:
    """A GPU as llama.cpp sees it."""

    __slots__ = ("free", "greeting", "identity", "name")

    def __init__(self, name: str, identity: str, free: int, greeting: tuple[str, ...]) -> None:
        self.name = name
        self.identity = identity
        """What it is called, and where it is plugged in."""
        self.free = free
        """Its free memory in MiB."""
        self.greeting = greeting
        """What is written when it is found."""


class Machine:
    """One pretended machine."""

    __slots__ = ("adapter", "binding_limit", "cuda", "has_cuda_driver", "metal", "name", "vendor")

    def __init__(
        self,
        name: str,
        adapter: str = "",
        binding_limit: int = 0,
        vendor: str | None = None,
        has_cuda_driver: bool = False,
        cuda: Device | None = None,
        metal: Device | None = None,
    ) -> None:
        self.name = name
        self.adapter = adapter
        """The adapter that Airframe takes; empty where there is none."""
        self.binding_limit = binding_limit
        """MiB in one storage buffer, where that is too little for Airframe; else 0."""
        self.vendor = vendor
        """Whose tool is on the PATH and finds a card. Intel and Apple have none but on Windows."""
        self.has_cuda_driver = has_cuda_driver
        """Whether ``libcuda.so.1`` is there, without which a CUDA build does not start."""
        self.cuda = cuda
        """What CUDA finds."""
        self.metal = metal
        """What Metal finds, which is compiled into every llama.cpp on macOS."""

    @property
    def has_nvidia_smi(self) -> bool:
        """Whether ``nvidia-smi`` is there and content; it finds hidden cards as well."""
        return self.vendor == "nvidia"

    @property
    def is_mac(self) -> bool:
        """Whether it is a Mac with Apple's own processor."""
        return self.metal is not None


_RTX_4090 = "NVIDIA GeForce RTX 4090"
_ROWS = (
    Machine("none"),
    Machine("llvmpipe", "llvmpipe (LLVM 15.0.6, 256 bits) (Cpu, backend=Gl)", binding_limit=128),
    Machine(
        "nvidia",
        f"{_RTX_4090} (DiscreteGpu, backend=Vulkan)",
        vendor="nvidia",
        has_cuda_driver=True,
        cuda=Device(
            "CUDA0",
            f"({_RTX_4090}) (0000:01:00.0)",
            23668,
            (
                "ggml_cuda_init: GGML_CUDA_FORCE_MMQ:    no",
                "ggml_cuda_init: GGML_CUDA_FORCE_CUBLAS: no",
                "ggml_cuda_init: found 1 CUDA devices:",
                f"  Device 0: {_RTX_4090}, compute capability 8.9, VMM: yes",
            ),
        ),
    ),
    # As with CUDA_VISIBLE_DEVICES="", or a container that was given the driver and no card: CUDA
    # finds nothing, while nvidia-smi and Vulkan see the card.
    Machine(
        "nvidia-hidden",
        f"{_RTX_4090} (DiscreteGpu, backend=Vulkan)",
        vendor="nvidia",
        has_cuda_driver=True,
    ),
    Machine("amd", "AMD Radeon RX 7900 XTX (RADV NAVI31) (DiscreteGpu, backend=Vulkan)", 0, "amd"),
    Machine(
        "intel",
        "Intel(R) Arc(TM) 140T GPU (16GB) (IntegratedGpu, backend=Vulkan)",
        binding_limit=1024,
    ),
    Machine(
        "apple",
        "Apple M2 (IntegratedGpu, backend=Metal)",
        metal=Device(
            "Metal",
            "(Apple M2) (unknown id)",
            10922,
            ("ggml_metal_device_init: GPU name:   Apple M2",),
        ),
    ),
)

_LAVAPIPE = "llvmpipe (LLVM 15.0.6, 256 bits) (Cpu, backend=Vulkan)"
SOFTWARE = Machine("", _LAVAPIPE, binding_limit=128)
"""A machine without a GPU and with Mesa's software renderer: where nothing is pretended."""
ROOMY = Machine("", _LAVAPIPE)
"""The same with a driver that has no limit, for an engine that asks for much."""

MACHINES = {machine.name: machine for machine in _ROWS}
"""The machines by the name that a tester gives them."""

_NO_CUDA_DEVICE = "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected"


def pretended(environ: Mapping[str, str]) -> Machine | None:
    """The machine that ``environ`` names, if it names one."""
    return MACHINES.get(environ.get(VARIABLE, ""))


def found_by_llama_cpp(
    machine: Machine | None, backends: tuple[str, ...]
) -> tuple[tuple[str, ...], Device | None]:
    """What a llama.cpp writes when it looks for GPUs, and the one it takes.

    Of ``backends``, which are the features that shimmy was built with, CUDA alone reaches
    llama.cpp: a Vulkan or an OpenCL build has one for the CPU (seen on 1.8.1).
    """
    if machine is None:
        return (), None
    device = machine.metal or (machine.cuda if "cuda" in backends else None)
    if device is not None:
        return device.greeting, device
    return ((_NO_CUDA_DEVICE,) if "cuda" in backends else ()), None


def missing_library(machine: Machine | None, backends: tuple[str, ...]) -> str:
    """What the system has against starting a build with these ``backends``; empty if it starts.

    A CUDA build is linked with the driver's library, and does not look for it later.
    """
    if machine is None or machine.has_cuda_driver or "cuda" not in backends:
        return ""
    return "libcuda.so.1: cannot open shared object file: No such file or directory"
