"""The GPU backend of a running server.

`accel.readback` knows what a server's words mean; here they are fetched, and where only a first
answer tells, that is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..accel.readback import ServerGpu, read_back
from ..executable.dialect import UNKNOWN_BUILD
from .target import Target


def gpu_of(
    target: Target | None,
    version: str,
    *,
    log: Callable[[], str | None],
    metrics: Callable[[], Mapping[str, Any]],
    generate: Callable[[], bool],
    answered: bool = False,
) -> ServerGpu:
    """What the running server of `target` uses; makes it `generate` if only that tells.

    An attached server has no target: who knows what was asked for. `log` and `metrics` are what it
    shows now, None for a log that cannot be seen; `generate` says whether it answered, `answered`
    whether it has before. Raises `ShimmyError` when it cannot be asked.
    """
    requested = _requested(target)
    build = UNKNOWN_BUILD if target is None else target.executable.build()

    def look(answered: bool) -> ServerGpu:
        return read_back(
            requested, version, build=build, log=log(), metrics=metrics(), answered=answered
        )

    gpu = look(answered)
    return look(answered=generate()) if gpu.pending else gpu


def unknown(target: Target | None, why: str) -> ServerGpu:
    """What is known of a server that could not be asked."""
    return ServerGpu(_requested(target), None, False, why)


def _requested(target: Target | None) -> str:
    return "auto" if target is None else target.gpu
