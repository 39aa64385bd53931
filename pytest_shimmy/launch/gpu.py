"""The GPU backend of a server: of the build that is started, and of the one that runs.

`accel.readback` knows what a server's words mean; here they are fetched, and where only a first
answer tells, that is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ..accel.readback import ServerGpu, read_back
from ..executable.dialect import Build, read_build
from ..executable.fake_profile import pretence
from ..executable.identify import bundled_fake, gpu_info, identify
from ..settings import Settings


def build_of(settings: Settings) -> Build | None:
    """What the executable that `settings` mean was compiled with; None for an attached server.

    Raises `ShimmyError`, see `binary.identify`.
    """
    if settings.mode == "attached":
        return None
    if settings.mode == "real":
        executable, told = identify(settings.path or ""), {}
    else:
        release, machine = pretence(settings.gpu[0], settings.fake_version, os.environ)
        executable = bundled_fake(release)
        told = {**machine, "FAKE_SHIMMY_RELEASE": executable.version}
    return read_build(gpu_info(executable, {**os.environ, **told, **dict(settings.env)}))


def may_use_gpu(settings: Settings) -> bool:
    """Whether a real server for `settings` can occupy a GPU. Raises `ShimmyError`."""
    if settings.mode != "real" or settings.gpu[0] == "cpu":
        return False
    build = build_of(settings)
    assert build is not None
    return build.engine == "airframe" or bool(build.backends)


def gpu_of(
    settings: Settings,
    version: str,
    *,
    log: Callable[[], str | None],
    metrics: Callable[[], Mapping[str, Any]],
    generate: Callable[[], bool],
) -> ServerGpu:
    """What the running server for `settings` uses; makes it `generate` if only that tells.

    `log` and `metrics` are what it shows now, None for a log that cannot be seen; `generate` says
    whether it answered. Raises `ShimmyError` when it cannot be asked.
    """
    requested = "auto" if settings.mode == "attached" else settings.gpu[0]
    build = build_of(settings)

    def look(answered: bool) -> ServerGpu:
        return read_back(
            requested, version, build=build, log=log(), metrics=metrics(), answered=answered
        )

    gpu = look(answered=False)
    return look(answered=generate()) if gpu.pending else gpu
