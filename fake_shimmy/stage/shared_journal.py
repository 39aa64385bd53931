"""What a session was asked, in memory that a test process can look at.

Strategy: to ask for a journal wakes the fake and is waited for, in nearly every test. Here a
request is counted before its answer begins: who has seen any of the answer finds it counted. When
the answer is over, the record is added. While some request is not over, or when there was no room
for a record, the journal has to be asked.
"""

from __future__ import annotations

import os
from json import JSONEncoder
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE = 256 * 1024
"""Bytes of the memory: a row of numbers, then the records as JSON, a comma before each."""

# Of the numbers each is written at once, so that who reads meanwhile finds the old or the new one.
_NUMBER = Struct("@Q")
"""First the number of the session."""
_COUNT = Struct("@I")
BEGUN, OVER, END = 8, 12, 16
"""Where there is how many requests have begun, how many are over, and where the records end."""
RECORDS = 24
"""Where they begin."""
UNKNOWN = 2**32 - 1
"""How many have begun, where the journal has to be asked."""

_encode = JSONEncoder(check_circular=False).encode


class SharedJournal:
    """The memory that is the file at ``path``; it has room for one session at a time. Raises
    `OSError`, and `ValueError` where the file is too small."""

    def __init__(self, path: str) -> None:
        from mmap import mmap

        file = os.open(path, os.O_RDWR)
        try:
            self._memory = mmap(file, SIZE)
        finally:
            os.close(file)
        self._begun = UNKNOWN
        self._over = 0
        self._end = RECORDS
        self._session: object = None
        self._is_given_up = False

    def open(self, session: object, number: int) -> None:
        """Begin anew for ``session``, which is called by that number."""
        self._session = session
        self._set_begun(UNKNOWN)
        _NUMBER.pack_into(self._memory, 0, number)
        self._over, self._end = 0, RECORDS
        _COUNT.pack_into(self._memory, OVER, 0)
        _COUNT.pack_into(self._memory, END, RECORDS)
        if not self._is_given_up:
            self._set_begun(0)

    def begin(self, session: object) -> None:
        """A request of ``session`` is complete."""
        if session is self._session and self._begun != UNKNOWN:
            self._set_begun(self._begun + 1)

    def end(self, session: object, record: dict[str, Any]) -> None:
        """Its answer is over."""
        if session is not self._session or self._begun == UNKNOWN:
            return
        data = f",{_encode(record)}".encode()
        begin, self._end = self._end, self._end + len(data)
        if self._end > SIZE:
            self._set_begun(UNKNOWN)
            return
        self._memory[begin : self._end] = data
        _COUNT.pack_into(self._memory, END, self._end)
        self._over += 1
        _COUNT.pack_into(self._memory, OVER, self._over)

    def give_up(self) -> None:
        """Have the journal asked from now on."""
        self._is_given_up = True
        self._set_begun(UNKNOWN)

    def _set_begun(self, count: int) -> None:
        self._begun = count
        _COUNT.pack_into(self._memory, BEGUN, count)
