"""An executable that is known: how it is run, which release and build it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, lacks_resources, system_refused
from .dialect import UNKNOWN_BUILD, Build, read_build

if TYPE_CHECKING:
    from ..process import command

ANSWER_LIMIT = 1 << 18
"""Bytes; ``gpu-info`` of a default build takes 1 KB (seen on 2.5.0)."""


def version_numbers(version: str) -> tuple[int, ...]:
    """Those of a version such as ``2.6.5``, to compare."""
    import re

    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def never() -> bool:
    """False: a question that is not given up."""
    return False


class Executable:
    """Something that behaves as ``shimmy`` on its command line; its version was asked for."""

    def __init__(
        self,
        command: tuple[str, ...],
        version: str,
        is_fake: bool,
        env: Mapping[str, str] = MappingProxyType({}),
        builds: Iterable[Build] = (),
    ) -> None:
        self.command = command
        """What to put before shimmy's own arguments."""
        self.version = version
        self.is_fake = is_fake
        self.env = env
        """The environment in which it is that, on top of this process's own: it says which release,
        build and machine the fake imitates."""
        self._builds = [*builds]
        """Its build, once it was asked for."""

    @property
    def name(self) -> str:
        """For messages: its path, or what it is."""
        return "the bundled fake" if self.is_fake else self.command[0]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version's numbers, to compare."""
        return version_numbers(self.version)

    @property
    def system(self) -> str:
        """The system, as in `sys.platform`, that it runs on or pretends to run on."""
        if not self.is_fake:
            return sys.platform
        from .fake_profile import system_of

        return system_of({**os.environ, **self.env})

    def build(self, cancelled: Callable[[], bool] = never) -> Build:
        """What it was compiled with. Its ``gpu-info`` is asked once, which touches no GPU (seen on
        2.5.0 and 2.6.5). Raises `ShimmyError` when the system refuses to run it."""
        if not self._builds:
            answer = asked([*self.command, "gpu-info"], self.env, cancelled)
            said = (answer.stdout + answer.stderr).decode("utf-8", "replace")
            self._builds.append(read_build(said))
        return self._builds[0]

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        return {
            "command": self.command,
            "version": self.version,
            "is_fake": self.is_fake,
            "env": dict(self.env),
            "builds": [tuple(build) for build in self._builds],
        }

    @property
    def known_build(self) -> Build:
        """The build, if it was asked for."""
        return self._builds[0] if self._builds else UNKNOWN_BUILD

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Executable:
        """The way back from `to_json`."""
        builds = [Build(engine, tuple(backends), line) for engine, backends, line in data["builds"]]
        return cls(
            tuple(data["command"]), data["version"], data["is_fake"], dict(data["env"]), builds
        )


def asked(
    question: list[str], env: Mapping[str, str], cancelled: Callable[[], bool] = never
) -> command.Outcome:
    """What a question is answered that needs no model. Raises `ShimmyError` where it cannot be
    put."""
    from ..process import command

    try:
        return command.run(
            question,
            env={**os.environ, **env},
            timeout=ShimmyProcessDefaults.version_timeout,
            limit=ANSWER_LIMIT,
            cancelled=cancelled,
        )
    except (OSError, ValueError, MemoryError) as error:
        if lacks_resources(error):
            raise system_refused(f"{question[0]} could not be started", error) from error
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_EXECUTABLE,
            f"{question[0]} cannot be executed: {getattr(error, 'strerror', None) or error}.\n"
            "Is it built for this machine (system and processor)?",
            {"path": question[0]},
        ) from error
