"""How each shimmy release is spoken to, as a table: flags, variables, outputs.

The product's own documentation is wrong in places (``--gpu``, ``SHIMMY_MODEL_DIRS``, ``--port``
do not exist), so every fact here names the releases it was seen on. A new release that behaves
alike needs no change; one that differs needs a row in `DIALECTS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from .errors import ShimmyError, ShimmyErrorCode

GPU_MODES = ("auto", "cpu", "cuda", "vulkan", "opencl", "metal", "mlx")
"""What a user can ask for; which release can be told is in `Dialect.gpu_flag_values`."""

MODEL_PATHS_VARIABLE = "SHIMMY_MODEL_PATHS"
"""The search path (seen on 2.5.0 and 1.8.1); ``--model-dirs`` sets the same thing."""
MODEL_PATHS_SEPARATOR = ";"
"""On every system, not only on Windows (seen on 2.5.0 and 1.8.1)."""

API_KEY = "shimmy"
"""Any will do: shimmy has no authentication (seen on 2.5.0). OpenAI's clients insist on one."""

HARNESS_KEY = f"{API_KEY}-harness"
"""Our own questions to the fake have it, which nobody scripts or counts."""

BUILD_WITHOUT_GPU = "Airframe Engine: Disabled"
"""In the output of ``gpu-info`` of a CPU-only build (seen on 2.5.0)."""

_ADDRESS_IN_USE = re.compile(r"^Error: .*\(os error (98|48|10048)\)$", re.MULTILINE)
"""Linux, macOS, Windows. Seen on 2.5.0 and 1.8.1, Linux; with RUST_BACKTRACE more lines follow."""
_NO_MODELS = "No models available"
"""On stderr, with exit code 1 (seen on 2.5.0; 1.8.1 always has a model to name)."""


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
        "1.x takes auto, cpu, cuda, vulkan or opencl, and uses what it was compiled with",
    ),
    Dialect(
        (2,),
        (),
        "2.x accepts --gpu-backend and ignores it: a default build picks the WebGPU adapter "
        "itself, a CPU-only build has none",
    ),
)


def dialect_of(version: str) -> Dialect:
    """The row for a version such as ``"2.5.0"``."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return [row for row in DIALECTS if row.since <= numbers][-1]


def serve_arguments(
    version: str,
    *,
    bind: str,
    model_path: str | os.PathLike[str] | None = None,
    model_dirs: Sequence[str] = (),
    gpu_mode: str = "auto",
    gpu_info: str = "",
    extra: Sequence[str] = (),
) -> list[str]:
    """The arguments of ``shimmy serve``, for the executable of that `version`.

    `bind` is an IP address and a port; names are refused by shimmy, and with port 0 the real
    port is never printed (both seen on 2.5.0 and 1.8.1). `gpu_info` is the output of
    ``shimmy gpu-info``, needed only where `gpu_mode` is not ``auto``.

    Raises `ShimmyError` (``UNSUPPORTED_ACCEL``) when that release cannot be told `gpu_mode`.
    """
    arguments = ["serve", "--bind", bind]
    if model_path is not None:
        arguments += ["--model-path", os.fspath(model_path)]
    if model_dirs:
        arguments += ["--model-dirs", MODEL_PATHS_SEPARATOR.join(model_dirs)]
    return arguments + _gpu_arguments(version, gpu_mode, gpu_info) + list(extra)


def _gpu_arguments(version: str, gpu_mode: str, gpu_info: str) -> list[str]:
    if gpu_mode == "auto":
        return []
    dialect = dialect_of(version)
    if gpu_mode in dialect.gpu_flag_values:
        return ["--gpu-backend", gpu_mode]
    if gpu_mode == "cpu" and BUILD_WITHOUT_GPU in gpu_info:
        return []
    possible = ["auto", *dialect.gpu_flag_values]
    if BUILD_WITHOUT_GPU in gpu_info:
        possible.append("cpu")
    raise ShimmyError(
        ShimmyErrorCode.UNSUPPORTED_ACCEL,
        f"shimmy {version} cannot be told to use {gpu_mode!r}: {dialect.gpu_explanation}.\n"
        f"This executable can be asked for: {', '.join(dict.fromkeys(possible))}.",
        {"version": version, "gpu": gpu_mode, "possible": possible},
    )


def address_in_use(stderr: str) -> bool:
    """Whether a server that exited had found its port taken."""
    return _ADDRESS_IN_USE.search(stderr) is not None


def no_models(output: str) -> bool:
    """Whether a server that exited had found nothing to serve."""
    return _NO_MODELS in output
