"""Who is asked: an executable with the release and build that it says it is.

The bundled fake is a subject like any other, told by its environment which release and build to
imitate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.dialect import Engine
from ..executable.fake_profile import BUILD, GPU, RELEASE
from ..executable.identify import bundled_fake as fake_executable
from ..executable.identify import identify
from .case import Case


class Subject(NamedTuple):
    """An executable to check."""

    command: tuple[str, ...]
    release: str
    engine: Engine
    env: Mapping[str, str] = {}

    @property
    def is_fake(self) -> bool:
        """Whether it is the bundled one, which has no model to say anything."""
        return RELEASE in self.env

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
    engine = found.build().engine
    if engine != "unknown":
        return Subject(found.command, found.version, engine)
    raise ShimmyError(
        ShimmyErrorCode.BINARY_NOT_SHIMMY,
        f"{path} says that it is shimmy {found.version}, but its 'gpu-info' names no engine that "
        "is known here.\n"
        "Releases before 1.5 cannot be checked; for a newer one, add the line that tells its "
        "engine to pytest_shimmy/executable/dialect.py.",
        {"path": str(path), "version": found.version},
    )


def is_imitated(release: str) -> bool:
    """Whether the bundled fake can be that release."""
    from fake_shimmy.releases import RELEASES

    return release in RELEASES


def bundled_fake(release: str, build: str, engine: Engine) -> Subject:
    """The bundled fake as that release and build, on a machine without a GPU."""
    fake = fake_executable(release, {BUILD: build, GPU: "none"})
    return Subject(fake.command, release, engine, fake.env)
