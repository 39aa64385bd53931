"""What real executables did, as data: one JSON file per release and build.

A file holds the format's number, the executable's release, engine, platform and features, and per
case the digest of what was done and the observation. A case whose digest no longer matches was
changed after the recording was made: it has to be recorded again.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from .case import Case, Engine
from .environments import WORLDS
from .subject import Subject
from .tiny_gguf import ANSWERS

FORMAT = 1
SHIPPED = Path(__file__).parent / "recorded"
"""The recordings that come with the package."""

Observation = dict[str, Any]
"""What came back, as JSON values."""


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
    world = WORLDS[case.act.world]
    parts = (case.act, world, ANSWERS) if world.needs_gguf else (case.act, world)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def this_platform() -> str:
    """System and processor."""
    return f"{sys.platform}-{platform.machine().lower()}"


def shipped() -> list[Recording]:
    """Every recording that comes with the package, newest release first."""
    found = [load(path) for path in SHIPPED.glob("*.json")]
    return sorted(found, key=lambda one: (one.of.numbers, one.engine))[::-1]


def load(path: Path) -> Recording:
    """Read a recording.

    Raises `ShimmyError` (``VERIFY_FAILED``) for a file that is none, or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']}, not {FORMAT}")
        entries = {
            name: Entry(entry["digest"], entry["observation"])
            for name, entry in data["cases"].items()
        }
        return Recording(
            data["release"], data["engine"], data["platform"], tuple(data["features"]), entries
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShimmyError(
            ShimmyErrorCode.VERIFY_FAILED,
            f"{path} is not a recording that can be read here: {error!r}.\n"
            "Make one with: pytest-shimmy record --shimmy-path=PATH",
            {"path": str(path)},
        ) from error


def save(recording: Recording, path: Path) -> None:
    """Write a recording, one case after the other in a stable order."""
    data = {
        "format": FORMAT,
        "release": recording.release,
        "engine": recording.engine,
        "platform": recording.platform,
        "features": list(recording.features),
        "cases": {name: entry._asdict() for name, entry in sorted(recording.entries.items())},
    }
    # Lone surrogates stand for bytes that are not UTF-8, and only an escape can hold them.
    shown = json.dumps(data, ensure_ascii=False, indent=1)
    escaped = "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in shown)
    path.write_text(escaped + "\n", encoding="utf-8")
