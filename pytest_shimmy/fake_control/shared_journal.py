"""What the fake has noted of a session's requests in memory that it shares with this process.

To look there wakes nobody, and is waited for by nobody.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Any

SIZE = 256 * 1024
RECORDS = 24
_NUMBERS = Struct("@QIII")
"""The layout, which is that of `fake_shimmy.stage.shared_journal`: the session, how many of its
requests have begun and are over, and where the records of these end."""


class SharedJournal:
    """The memory in which a fake notes the session that was opened last."""

    def __init__(self, memory: mmap) -> None:
        self._memory = memory

    def records(self, number: int) -> list[dict[str, Any]]:
        """What has come in the session that was opened with that number, oldest first, where all of
        it is noted and over. Else empty: the fake has to be asked."""
        noted = self._noted()
        session, begun, over, end = noted
        if session != number or begun != over:
            return []
        data = self._memory[RECORDS:end]
        if self._noted() != noted:
            return []
        try:
            records: list[dict[str, Any]] = json.loads(b"[" + data[1:] + b"]")
        except ValueError:  # the other processor's stores come in any order, on some machines
            return []
        return sorted(records, key=_id)

    def _noted(self) -> tuple[int, ...]:
        return _NUMBERS.unpack_from(self._memory)


@contextmanager
def shared_journal(directory: Path) -> Iterator[tuple[Path, SharedJournal]]:
    """A new one, and a file in `directory` by which the fake can have it. Raises `OSError`."""
    if sys.platform != "linux":  # where no fake is watched, and so none has messages in a file
        raise OSError
    path = directory / f"journal-{secrets.token_hex(4)}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Memory for which a full disk has no room would end the fake that writes there.
        os.posix_fallocate(file, 0, SIZE)
        yield path, SharedJournal(mmap(file, SIZE, access=ACCESS_READ))
    finally:
        os.close(file)
        with suppress(OSError):
            path.unlink()


def _id(record: dict[str, Any]) -> int:
    ident: int = record["id"]
    return ident
