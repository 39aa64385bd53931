"""What one test process records or replays: which cassette is in use, and for which servers.

Strategy: tests and the fixtures that they share come and go like a stack; the request that comes
now belongs to whatever is on top. Recorder and fake are told of each change.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ..masking import secrets_of
from .folder import Folder
from .secrets import Secrets

USAGE = "PYTEST_SHIMMY_CASSETTES_USED"
"""The variable that asks a run which exchanges of which cassettes it used: a file, to be written at
its end."""

NONE = "between-tests"
"""The cassette of requests that come while no test runs."""


class Counts(NamedTuple):
    """How many exchanges there were, for the summary of a run."""

    recorded: int = 0
    written: int = 0
    """Cassettes that were written, because something in them is new."""
    replayed: int = 0
    missed: int = 0
    unused: int = 0
    """Of cassettes that were replayed."""

    def plus(self, other: Counts) -> Counts:
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


class CassetteRun:
    """The half that recording and replaying share. `key` is what our clients send."""

    def __init__(self, folder: Folder, key: str, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.key = key
        self.counts = Counts()
        self._known = (key, *secrets_of(os.environ), *secrets_of(environ))
        self._names: list[str] = []

    @property
    def current(self) -> str:
        """The cassette that is in use."""
        return self._names[-1] if self._names else NONE

    def enter(self, name: str, *, again: bool = False) -> None:  # noqa: ARG002
        """What comes from now on belongs to this cassette. Raises `ShimmyError`.

        `again`: it was in use before, and goes on where it was left.
        """
        self._names.append(name)
        self._switched()

    def leave(self) -> None:
        """The one before is in use again. Raises `ShimmyError`."""
        if self._names:
            self._names.pop()
            self._switched()

    def secrets(self, *more: str) -> Secrets:
        """What must not be in a cassette; `more` is what else is known to be secret."""
        return Secrets(self.folder.rules, (*self._known, *more))

    def _switched(self) -> None:
        raise NotImplementedError
