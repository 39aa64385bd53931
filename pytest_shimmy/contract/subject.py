"""Who is asked: an executable with the release and build that it says it is.

Strategy: the version is what ``--version`` says; the build is read from ``gpu-info``, which every
release since 1.5 has. The bundled fake is a subject like any other, told by its environment which
release and build to imitate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.identify import bundled_fake as fake_executable
from ..executable.identify import gpu_info, identify
from .case import Case, Engine

_ENGINES: tuple[tuple[str, Engine], ...] = (
    ("Airframe Engine: ✅ Enabled", "airframe"),
    ("Airframe Engine: Disabled", "adapter"),
    ("llama.cpp Backend: Disabled", "adapter"),
    ("llama.cpp Backend: ", "llama"),
)
"""A line of ``gpu-info``, and the engine it gives away (seen on 2.5.0 and 1.8.1)."""


class Subject(NamedTuple):
    """An executable to check."""

    command: tuple[str, ...]
    release: str
    engine: Engine
    env: Mapping[str, str] = {}

    @property
    def is_fake(self) -> bool:
        """Whether it is the bundled one, which has no model to say anything."""
        return "FAKE_SHIMMY_RELEASE" in self.env

    @property
    def build(self) -> str:
        """The build's name: what cargo makes without options, or without a GPU engine."""
        return "cpu-only" if self.engine == "adapter" else "default"

    @property
    def name(self) -> str:
        """Release and build."""
        return f"{self.release}-{self.build}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The release's numbers."""
        return tuple(map(int, re.findall(r"\d+", self.release)[:3]))

    def takes(self, case: Case) -> bool:
        """Whether `case` makes sense for this release and build."""
        return self.numbers >= case.since and (not case.engines or self.engine in case.engines)


def executable(path: str | Path) -> Subject:
    """The executable at `path`; raises `ShimmyError` where that is no shimmy."""
    found = identify(path)
    shown = gpu_info(found, {})
    for line, engine in _ENGINES:
        if line in shown:
            return Subject(found.command, found.version, engine)
    raise ShimmyError(
        ShimmyErrorCode.BINARY_NOT_SHIMMY,
        f"{path} says that it is shimmy {found.version}, but its 'gpu-info' names no engine that "
        f"is known here:\n{shown.strip() or '(nothing)'}\n"
        "Releases before 1.5 cannot be checked; for a newer one, add the line that tells its "
        "engine to pytest_shimmy/contract/subject.py.",
        {"path": str(path), "version": found.version, "gpu_info": shown[:2000]},
    )


def bundled_fake(release: str, build: str, engine: Engine) -> Subject:
    """The bundled fake as that release and build, on a machine without a GPU."""
    env = {
        "FAKE_SHIMMY_RELEASE": release,
        "FAKE_SHIMMY_BUILD": build,
        "FAKE_SHIMMY_GPU": "none",
    }
    return Subject(fake_executable(release).command, release, engine, env)
