"""Messages about one session that nobody waits for, in a file that only grows.

Strategy: who writes a line wakes nobody. The lines are read before the next request is answered, so
they are obeyed before any request that was sent after they were written.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fake_shimmy.stage.shared_journal import SharedJournal


class MessageFile:
    """The file at ``path``; ``obey`` is given the lines that are new, and says why one of them was
    refused. ``shared`` is told of the requests of the sessions that are opened. Raises
    `OSError`."""

    def __init__(
        self,
        path: str,
        obey: Callable[[Sequence[bytes]], str | None],
        shared: SharedJournal | None = None,
    ) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self.shared = shared
        self._obey = obey
        self._read = 0
        self.refusal: str | None = None
        """Why a message was refused; that of the newest."""

    def catch_up(self) -> None:
        """Obey what was written since the last time."""
        size = os.fstat(self._file).st_size
        if size == self._read:
            return
        os.lseek(self._file, self._read, os.SEEK_SET)
        data = os.read(self._file, size - self._read)
        whole = data[: data.rfind(b"\n") + 1]
        # Before, because what is obeyed may ask for the session, and so for this.
        self._read += len(whole)
        if whole:
            self.refusal = self._obey(whole.splitlines()) or self.refusal
            if self.refusal is not None and self.shared is not None:
                self.shared.give_up()  # who asks is told

    def close(self) -> None:
        """Read it no more."""
        os.close(self._file)
