"""Where a model is written before it is one: a hidden directory beside its place.

Strategy: shimmy looks into no directory whose name begins with a dot (seen on 1.8.1 and 2.5.0), and
a directory in the same place is on the same file system, so that a finished file gets there by
renaming. What is placed can be taken back, and what it replaced comes back then. Partial downloads
that can be resumed outlive a failure, in the hidden directory; everything else is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from .locks import lock_name

PARTIAL_SUFFIXES = (".part", ".part.json", ".cache")
"""What an interrupted download of ours leaves for the next call; the last is Hugging Face's."""

_REPLACED = ".replaced"


class Staging:
    """The hidden directory for one model in `target`. One process at a time: hold the lock."""

    def __init__(self, target: Path, model_id: str) -> None:
        self.target = target
        self.path = target / f".pytest-shimmy-{lock_name(model_id)[:16]}"
        self._made_target = False
        self._placed: list[tuple[Path, Path | None]] = []

    def prepare(self) -> None:
        """Make the directory, or clear it of what a killed process left."""
        self._made_target = not self.target.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        self._empty()

    def leave(self) -> None:
        """Remove what is in it and cannot be resumed; and itself, when nothing is left."""
        if self.path.is_dir():
            self._empty()
        with contextlib.suppress(OSError):  # there is something left
            self.path.rmdir()
            if self._made_target:
                self.target.rmdir()

    def contents(self) -> list[str]:
        """The files that are ready to be placed, relative to the directory."""
        return sorted(
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if path.is_file() and not any(map(_is_partial, path.relative_to(self.path).parts))
        )

    def place(self) -> None:
        """Move everything into `target`, each file whole."""
        for path in sorted(self.path.iterdir()):
            if path.name != _REPLACED and not _is_partial(path.name):
                self._move(path, self.target / path.name)

    def take_back(self) -> None:
        """Undo `place`."""
        while self._placed:
            placed, replaced = self._placed.pop()
            if placed.is_dir() and not placed.is_symlink():
                shutil.rmtree(placed, ignore_errors=True)
            else:
                placed.unlink(missing_ok=True)
            if replaced is not None:
                replaced.replace(placed)

    def _empty(self) -> None:
        for path in self.path.iterdir():
            if _is_partial(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _move(self, source: Path, place: Path) -> None:
        if source.is_dir() and place.is_dir():  # others may have models in that directory
            for child in sorted(source.iterdir()):
                self._move(child, place / child.name)
            return
        replaced = None
        if os.path.lexists(place):
            replaced = self.path / _REPLACED / str(len(self._placed))
            replaced.parent.mkdir(exist_ok=True)
            place.replace(replaced)
        source.replace(place)
        self._placed.append((place, replaced))


def _is_partial(name: str) -> bool:
    return name.endswith(PARTIAL_SUFFIXES)
