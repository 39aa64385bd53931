"""The output of a process: all of it in a file, the newest part in memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import IO


class Log:
    """A server's output: all of it in a file, the newest part in memory.

    Output goes on being taken when the file cannot be written (disk full): the server must not
    stall or die because of its log. `lost` counts the bytes that are in memory only.
    """

    def __init__(self, path: Path, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self.lost = 0
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115
        self._keep = keep
        self._newest = bytearray()
        self._lock = threading.Lock()

    def append(self, data: bytes) -> None:
        with self._lock:
            self._newest += data
            if len(self._newest) > 2 * self._keep:
                del self._newest[: -self._keep]
            try:
                written = self._file.write(data)
            except (OSError, ValueError):
                written = 0
            self.size += written
            self.lost += len(data) - written

    def newest(self) -> str:
        """The newest output, as text."""
        with self._lock:
            return bytes(self._newest[-self._keep :]).decode("utf-8", "replace")

    def forget(self) -> None:
        """Begin `newest` anew; the file keeps everything."""
        with self._lock:
            self._newest.clear()

    def close(self) -> None:
        with self._lock:
            self._file.close()
