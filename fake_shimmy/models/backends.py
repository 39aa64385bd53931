"""What 1.x says of GPU backends: which one it chooses, and what banner and ``gpu-info`` tell.

Strategy: three answers to one question, as in the real one. The choice goes by the flag, the
features that were compiled in and, for CUDA, by ``nvidia-smi``; the banner goes by flag and
features alone; neither knows what llama.cpp finds later. Seen on builds of 1.8.1 with each
feature (of the CUDA feature shimmy's own half), on Linux without a GPU; what a Mac would say was
read in the source.
"""

from __future__ import annotations

from fake_shimmy import machines, rust
from fake_shimmy.rust.tracing import INFO, WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.machines import Machine
    from fake_shimmy.releases import Build
    from fake_shimmy.rust.tracing import Tracer

CPU = "cpu"
_SHOWN = {"cuda": "CUDA", "vulkan": "Vulkan", "opencl": "OpenCL", CPU: "CPU"}
_IN_THE_LOG = {"cuda": "Cuda", "vulkan": "Vulkan", "opencl": "OpenCL", CPU: "Cpu"}
_TARGET = "shimmy::engine::llama"
_OPENCL_DEFAULTS = ("GGML_OPENCL_PLATFORM", "GGML_OPENCL_DEVICE")
_FEATURE_HINTS = (
    "   cargo install shimmy --features llama-cuda    # NVIDIA CUDA",
    "   cargo install shimmy --features llama-vulkan  # Cross-platform Vulkan",
    "   cargo install shimmy --features llama-opencl  # AMD/Intel OpenCL",
    "   cargo install shimmy --features gpu           # All GPU backends",
)
_APPLE_HINTS = (
    "   cargo install shimmy --features apple        # Apple Silicon optimized",
    "   cargo install shimmy --features gpu          # All GPU backends",
    "   pip install mlx-lm                           # For MLX Python support",
)


def in_the_log(backend: str) -> str:
    """The backend's name in log lines."""
    return _IN_THE_LOG[backend]


def choose(asked: str | None, build: Build, environ: dict[str, str], tracer: Tracer) -> str:
    """The backend for what ``--gpu-backend`` says; logs how it came to it.

    Sets what the real one sets in its environment, since it tells of that only once.
    """

    def log(level: int, text: str) -> None:
        tracer.event(level, _TARGET, text)

    wanted = "auto" if asked is None else asked.lower()
    if wanted == CPU or wanted in build.backends:
        backend = wanted
    else:
        if wanted in _SHOWN:
            text = f"{_SHOWN[wanted]} backend requested but not enabled at compile time. "
            log(WARN, f"{text}Rebuild with --features llama-{wanted}")
        elif wanted != "auto":
            log(WARN, f"Unknown GPU backend '{asked}', using auto-detect")
        backend = _detected(build, machines.pretended(environ))
        shown = _SHOWN[backend]
        log(
            INFO,
            "No GPU acceleration available, using CPU backend"
            if backend == CPU
            else f"{shown} GPU detected, using {shown} backend",
        )
    _configure(backend, environ, log)
    log(INFO, f"GPU backend configured: {_IN_THE_LOG[backend]}")
    return backend


def _detected(build: Build, machine: Machine | None) -> str:
    """What ``auto`` comes to. Vulkan and OpenCL count as there when they are compiled in."""
    for backend in build.backends:
        if backend != "cuda":
            return backend
        if _has_nvidia_smi() if machine is None else machine.has_nvidia_smi:
            return backend
    return CPU


def _has_nvidia_smi() -> bool:
    import subprocess

    try:
        done = subprocess.run(["nvidia-smi"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _configure(backend: str, environ: dict[str, str], log: Callable[[int, str], None]) -> None:
    if backend in ("cuda", "vulkan"):
        variable = f"GGML_{backend.upper()}"
        environ[variable] = "1"
        log(INFO, f"Set {variable}=1 for {_SHOWN[backend]} backend")
    elif backend == "opencl":
        for variable in _OPENCL_DEFAULTS:
            if rust.variable(environ, variable) is None:
                environ[variable] = "0"
                log(INFO, f"Set {variable}=0 (default)")
        log(INFO, "Configured OpenCL environment variables")


def in_banner(asked: str | None, build: Build) -> str:
    """The banner's word for the backend: the one that was asked for, there or not."""
    if asked is None or asked == "auto":
        first = next(iter(build.backends), CPU)
        return "CPU (no GPU acceleration)" if first == CPU else f"{_SHOWN[first]} (auto-detected)"
    if asked == CPU:
        return "CPU only"
    return f"{_SHOWN[asked]} (GPU acceleration)" if asked in _SHOWN else f"{asked} (custom)"


def information(backend: str, build: Build, environ: dict[str, str]) -> Iterator[str]:
    """What ``gpu-info`` prints below its headline, where ``backend`` was chosen."""
    machine = machines.pretended(environ)
    is_mac = machine is not None and machine.is_mac
    yield f"🔧 llama.cpp Backend: {_SHOWN[backend]}"
    yield "📋 Available GPU Features:"
    for name in ("cuda", "vulkan", "opencl"):
        is_there = name in build.backends
        sign, state = ("✅", "enabled") if is_there else ("❌", "disabled")
        yield f"  {sign} {_SHOWN[name]} support {state}"
    if not build.has_mlx:
        yield "🍎 MLX Backend: Disabled (compile with --features mlx)"
    elif is_mac:
        # Its packages for Python are not pretended.
        yield "🍎 MLX Backend: ⚠️  Hardware supported (Apple Silicon detected)"
        yield "   📦 MLX Python packages not found"
        yield "   💡 Install with: pip install mlx-lm"
    else:
        yield "🍎 MLX Backend: ❌ Not supported (requires Apple Silicon macOS)"
    yield ""
    yield "💡 To enable GPU acceleration:"
    yield from _APPLE_HINTS if is_mac else _FEATURE_HINTS
