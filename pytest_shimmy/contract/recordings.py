"""What real executables did, as values. How they lie in files is `recording_files`'.

A recording has, for each case, the digest of what was done and the observation. A case whose digest
no longer matches was changed after the recording was made: it has to be recorded again.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from ..executable.dialect import Engine
from .case import Case
from .differences import Observation
from .environments import WORLDS, Gguf
from .subject import Subject


class Entry(NamedTuple):
    """One case of a recording."""

    digest: str
    """Of the case as it was when this was recorded."""
    observation: Observation


class Recording(NamedTuple):
    """What one executable did."""

    release: str
    engine: Engine
    platform: str
    features: tuple[str, ...]
    """Of cargo, as far as the executable tells them."""
    entries: Mapping[str, Entry]
    """By the case's id."""

    @property
    def of(self) -> Subject:
        """Who was recorded, without an executable to run."""
        return Subject((), self.release, self.engine)

    @property
    def name(self) -> str:
        """Release and build."""
        return self.of.name


def digest(case: Case) -> str:
    """Changes with anything that is done in `case`, its world included."""
    told = f"({_told(case.act)}, {_world(case.act.world)})"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


@cache
def _world(name: str) -> str:
    return _told(WORLDS[name])


def _told(value: object) -> str:
    """`value` without the fields that have their default, so that a new one changes no digest."""
    if isinstance(value, Gguf):
        return hashlib.sha256(value.contents).hexdigest()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_told(part)}' for key, part in value.items())}}}"
    if not isinstance(value, tuple):
        return repr(value)
    if not hasattr(value, "_fields"):
        return f"({', '.join(map(_told, value))})"
    defaults = getattr(value, "_field_defaults", {})
    fields = zip(value._fields, value, strict=True)
    told = [f"{name}={_told(field)}" for name, field in fields if field != defaults.get(name, ...)]
    return f"{type(value).__name__}({', '.join(told)})"


def this_platform() -> str:
    """System and processor."""
    return f"{sys.platform}-{platform.machine().lower()}"
