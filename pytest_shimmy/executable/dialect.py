"""How each shimmy release is spoken to, as a table: flags, variables, outputs.

The product's own documentation is wrong in places (``--gpu``, ``SHIMMY_MODEL_DIRS``, ``--port``
do not exist), so every fact here names the releases it was seen on. A new release that behaves
alike needs no change; one that differs needs a row in `DIALECTS`.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import os
import re
import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from ..errors import ShimmyError, ShimmyErrorCode
from ..setting_types import GpuMode

GPU_MODES: tuple[GpuMode, ...] = get_args(GpuMode)
"""What a user can ask for; which release can be told is in `Dialect.gpu_flag_values`."""

MODEL_PATHS_VARIABLE = "SHIMMY_MODEL_PATHS"
"""The search path (seen on 2.5.0 and 1.8.1); ``--model-dirs`` sets the same thing."""
MODEL_PATHS_SEPARATOR = ";"
"""On every system, not only on Windows (seen on 2.5.0 and 1.8.1)."""

API_KEY = "shimmy"
"""Any will do: shimmy has no authentication (seen on 2.5.0). OpenAI's clients insist on one."""

HARNESS_KEY = f"{API_KEY}-harness"
"""Our own questions to the fake have it; they are neither scripted nor counted."""

BUILD_WITHOUT_GPU = "Airframe Engine: Disabled"
"""In the output of ``gpu-info`` of a CPU-only build (seen on 2.5.0)."""

_ADDRESS_IN_USE = r"(?m)^Error: .*\(os error (98|48|10048)\)$"
"""Linux, macOS, Windows. Seen on 2.5.0 and 1.8.1, Linux; with RUST_BACKTRACE more lines follow."""
_NO_MODELS = "No models available"
"""On stderr, with exit code 1 (seen on 2.5.0; 1.8.1 always has a model to name)."""


Engine = Literal["airframe", "llama", "adapter"]
"""What computes: WebGPU, llama.cpp, or neither (shimmy's own adapter: the processor, for
SafeTensors only)."""


class Build(NamedTuple):
    """What an executable was compiled with, as its ``gpu-info`` says."""

    engine: Engine | Literal["unknown"]
    """``unknown``: ``gpu-info`` said nothing that we know."""
    backends: tuple[str, ...]
    """Of llama.cpp: the GPU backends that shimmy was compiled for. 1.8.1 hands on CUDA alone; its
    other two reach nothing but this list (read in its source)."""
    line: str
    """The line that said so."""


UNKNOWN_BUILD = Build("unknown", (), "")

# Not compiled here: every keeper loads this, and few need it.
_ENGINES: tuple[tuple[str, Engine], ...] = (
    # Both seen on 2.5.0 and 2.6.5.
    (r"(?m)^.*Airframe Engine: .*Enabled.*$", "airframe"),
    (rf"(?m)^.*{BUILD_WITHOUT_GPU}.*$", "adapter"),
    # Seen on 1.9.0 and 1.8.1, where the word after it is what was chosen and not what was compiled
    # in; the last one was read in the source of 1.8.1.
    (r"(?m)^.*llama\.cpp Backend: Disabled.*$", "adapter"),
    (r"(?m)^.*llama\.cpp Backend: .*$", "llama"),
    (r"(?m)^.*llama\.cpp backend not available.*$", "adapter"),
)
_COMPILED_IN = r"(?m)^\s*✅ (CUDA|Vulkan|OpenCL) support enabled\s*$"
"""On 1.8.1; ``❌ … support disabled`` for the others."""


def read_build(gpu_info: str) -> Build:
    """The build that prints this for ``gpu-info``; for any text."""
    for pattern, engine in _ENGINES:
        if said := re.search(pattern, gpu_info):
            backends = re.findall(_COMPILED_IN, gpu_info) if engine == "llama" else []
            return Build(engine, tuple(name.lower() for name in backends), said[0].strip())
    return UNKNOWN_BUILD


class Dialect(NamedTuple):
    """What the releases from `since` on understand."""

    since: tuple[int, ...]
    gpu_flag_values: tuple[str, ...]
    """Values of ``--gpu-backend`` that have an effect. Empty: the flag is accepted and ignored."""
    gpu_explanation: str
    """What to tell a user who asks for another backend."""


DIALECTS = (
    Dialect(
        (0,),
        (),
        "releases before 1.5 have no flag for the GPU backend",
    ),
    Dialect(
        # Seen on 1.8.1: what was not compiled in is refused in the log only, and the CPU is used.
        (1, 5),
        ("auto", "cpu", "cuda", "vulkan", "opencl"),
        "1.x takes auto, cpu, cuda, vulkan or opencl, and silently uses the processor instead of "
        "what it was not compiled with",
    ),
    Dialect(
        (2,),
        (),
        "2.x accepts --gpu-backend and ignores it: a default build picks the WebGPU adapter "
        "itself, a CPU-only build has none",
    ),
)

ADAPTER_OF = {"linux": "vulkan", "win32": "vulkan", "darwin": "metal"}
"""What 2.x goes through where its WebGPU library finds a GPU, by `sys.platform`. It cannot be told:
the first discrete GPU wins, and Vulkan is looked at first (read in the source of 2.5.0; an adapter
that it picked was seen)."""

ELSEWHERE = {
    # A default build from 2.6 on panics on SafeTensors, with --legacy too (seen on 2.6.5).
    "cpu": "any 1.x, or a 2.x built without its feature airframe (--no-default-features); a "
    "default build before 2.6 serves SafeTensors files with it (--shimmy-args=--legacy)",
    "cuda": "a 1.x built with --features llama-cuda",
    "vulkan": "a default build of 2.x, on Linux or Windows",
    "opencl": "nothing known: the feature llama-opencl of 1.8.1 does not reach its llama.cpp",
    "metal": "a default build of 2.x, on macOS",
    "mlx": "nothing known: no release has a way to ask for it",
}
"""Where a backend can be had."""


def dialect_of(version: str) -> Dialect:
    """The row for a version such as ``"2.5.0"``."""
    return [row for row in DIALECTS if row.since <= numbers(version)][-1]


def serve_arguments(
    version: str,
    *,
    bind: str,
    model_path: str | os.PathLike[str] | None = None,
    model_dirs: Sequence[str] = (),
    gpu_mode: str = "auto",
    build: Build = UNKNOWN_BUILD,
    extra: Sequence[str] = (),
    system: str = sys.platform,
) -> list[str]:
    """The arguments of ``shimmy serve``, for the executable of that `version`.

    `bind` is an IP address and a port; names are refused by shimmy, and with port 0 the real
    port is never printed (both seen on 2.5.0 and 1.8.1). `build` is needed only where
    `gpu_mode` is not ``auto``; `system` is as in `sys.platform`.

    Raises `ShimmyError` (``UNSUPPORTED_ACCEL``) when that release and build cannot do `gpu_mode`.
    """
    arguments = ["serve", "--bind", bind]
    if model_path is not None:
        arguments += ["--model-path", os.fspath(model_path)]
    if model_dirs:
        arguments += ["--model-dirs", MODEL_PATHS_SEPARATOR.join(model_dirs)]
    return arguments + gpu_arguments(version, build, gpu_mode, system) + list(extra)


def gpu_arguments(
    version: str, build: Build, gpu_mode: str, system: str = sys.platform
) -> list[str]:
    """How to ask for a backend: arguments, or none where it is what is used anyway.

    What can be asked for may still not come: only `accel.readback` knows. Raises `ShimmyError`
    (``UNSUPPORTED_ACCEL``) for what cannot come.
    """
    possible = askable(version, build, system)
    if gpu_mode not in possible:
        raise ShimmyError(
            ShimmyErrorCode.UNSUPPORTED_ACCEL,
            f"shimmy {version} cannot be told to use {gpu_mode!r}: "
            f"{dialect_of(version).gpu_explanation}.\n"
            f"Its gpu-info says: {build.line or 'nothing known'}\n"
            f"This executable can be asked for: {', '.join(possible)}. "
            f"For {gpu_mode}: {ELSEWHERE.get(gpu_mode, 'nothing known')}.",
            {"version": version, "gpu": gpu_mode, "possible": list(possible)},
        )
    if gpu_mode == "auto" or gpu_mode not in dialect_of(version).gpu_flag_values:
        return []
    return ["--gpu-backend", gpu_mode]


def askable(version: str, build: Build, system: str = sys.platform) -> tuple[str, ...]:
    """The GPU modes that `gpu_arguments` has a way for."""
    flag_values = dialect_of(version).gpu_flag_values
    match build.engine:
        case "adapter":
            return ("auto", "cpu")
        case "airframe":
            return tuple(filter(None, ("auto", ADAPTER_OF.get(system))))
        case "llama":
            return tuple(
                mode for mode in flag_values if mode in ("auto", "cpu", *build.backends)
            ) or ("auto",)
        case _:
            return flag_values or ("auto",)


READS_ACCESS = (2, 6, 5)
"""The first release that reads ``SHIMMY_API_KEY`` and ``SHIMMY_ALLOWED_ORIGINS``."""
_KEY = r"[!-~]{16,}"
_ORIGIN = r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d+)?/*"
"""As exact as a browser writes it; with the port that is the scheme's own, it is not."""


def numbers(version: str) -> tuple[int, ...]:
    """A version, to be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def access_problems(version: str, key: str | None, origins: str | None) -> list[str]:
    """Why a server of that `version` would not start, or would ignore the key (seen on 2.6.5)."""
    if numbers(version) < READS_ACCESS:
        return []
    problems = []
    if key is not None and not re.fullmatch(_KEY, key):
        problems.append(
            "the API key is refused by shimmy: it wants at least 16 printable ASCII characters "
            "without spaces.\nChange --shimmy-api-key (or SHIMMY_API_KEY in --shimmy-env)."
        )
    refused = [
        origin
        for origin in map(str.strip, (origins or "").split(","))
        if origin
        and (
            not re.fullmatch(_ORIGIN, origin)
            or re.fullmatch(r"http://.*:80/*|https://.*:443/*", origin)
        )
    ]
    if refused:
        problems.append(
            f"SHIMMY_ALLOWED_ORIGINS is refused by shimmy: {', '.join(map(repr, refused))}.\n"
            "It wants exact origins such as http://127.0.0.1:3000, without paths, wildcards, "
            "upper case or a scheme's own port."
        )
    return problems


def address_in_use(stderr: str) -> bool:
    """Whether a server that exited had found its port taken."""
    return re.search(_ADDRESS_IN_USE, stderr) is not None


def no_models(output: str) -> bool:
    """Whether a server that exited had found nothing to serve."""
    return _NO_MODELS in output
