"""What is said to a fake and needs no answer, in a file that it reads before it answers anybody.

To say it over a connection would wake the fake and be waited for: several times in each test. A
file is as certain, since what is written is there for a request that is sent afterwards. The fake
must be a process that can be watched, because a file does not tell that its reader has gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from ..errors import ShimmyUsageError
from ..process.vitals import Watched
from ..real_files import real_files
from .connection import Control
from .shared_journal import SharedJournal, shared_journal

LARGEST = 64 * 1024
"""Bytes after which a session begins with another file."""

NO_FILE = (OSError, ShimmyUsageError)
"""What is raised where there is no room for a file, or the fake takes no more of them."""


class MessageFile:
    """The messages about the session with `key`, for the fake that is this `process`."""

    def __init__(self, control: Control, key: str, directory: Path, process: Watched) -> None:
        """The file is in `directory`. Raises `ShimmyError` when the fake cannot be reached."""
        self.process = process
        self._control = control
        self._key = key
        self._directory = directory
        self._writer = os.getpid()
        self._file: int | None = None
        self._shared: SharedJournal | None = None
        self._opened = 0
        self.seed: int | None = None
        """That of the fake's own script."""
        self.rules = 0
        """How many rules that has."""
        with real_files(), contextlib.suppress(*NO_FILE):
            self._begin()

    def write(self, op: str, **members: Any) -> bool:
        """Say it, unless that has to be asked: False then."""
        # Of a forked child the parent's file knows nothing.
        if self._file is None or self._writer != os.getpid():
            return False
        with real_files():
            if not self.process.is_there():
                return False
            line = json.dumps({"op": op, **members}).encode() + b"\n"
            try:
                if op == "open" and os.fstat(self._file).st_size > LARGEST:
                    self._begin()
                is_whole = os.write(self._file, line) == len(line)
            except NO_FILE:
                is_whole = False
            if not is_whole:
                self.close()
                self._control.ask("follow", session=self._key)
            return is_whole

    def next_number(self) -> int:
        """What the next session that is opened is called in `records`."""
        self._opened += 1
        return self._opened

    def records(self, number: int) -> list[dict[str, Any]]:
        """What the fake has been asked since that session was opened, oldest first, as far as it
        need not be asked for that; else empty. What is answered has certainly come."""
        shared = self._shared
        if shared is None or self._writer != os.getpid():
            return []
        with real_files():
            return shared.records(number) if self.process.is_there() else []

    def close(self) -> None:
        """Write no more."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
        self._shared = None

    def _begin(self) -> None:
        path = self._directory / f"messages-{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        new = os.open(path, flags, 0o600)
        try:
            with shared_journal(self._directory) as (memory, shared):
                answer = self._control.ask(
                    "follow", session=self._key, file=str(path), shared=str(memory)
                )
        except BaseException:
            os.close(new)
            raise
        finally:
            # The fake has it open by now, and nobody else is to read it.
            with contextlib.suppress(OSError):
                path.unlink()
        self.close()
        self._file, self._shared = new, shared
        self.seed, self.rules = answer["seed"], answer["rules"]
