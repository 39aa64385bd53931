"""Where the processes of a run write down what happened, while it happens.

Strategy: a directory for the run, a file for each process, a line of JSON for each thing that
happened. An exchange is a line of words instead, and its texts follow it as they are; see
`fake_shimmy.stage.exchange_log`, which writes the fake's exchanges to the same directory. A process
that is killed has written all but its last line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PROCESS = "process"
TEST_BEGAN = "began"
TEST = "test"
SERVER = "server"
HEAD = "head"
BACKEND = "backend"
FULL = "full"

EXCHANGES = "exchanges-"
"""What the names of parts with exchanges begin with."""

NUMBERS = ">dfH3IQ3I"
"""Of an exchange, as `fake_shimmy.stage.exchange_log` packs them."""

TESTS = "tests-"
"""What the names of parts with tests begin with; the worker's follows. An end is that of the test
which began last, and leaves out what there is none of. Times are nanoseconds."""

NOT_SEEN = "not_seen"
"""How a stream ended of which only the beginning was seen."""

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


class Part:
    """The file of one process. A file that cannot be written is given up."""

    def __init__(self, directory: str, name: str) -> None:
        self._path = str(Path(directory) / f"{name}.jsonl")
        self._is_over = False

    def write(self, kind: str, **fields: Any) -> None:
        """Append a line. Never raises `OSError`: a report is no reason to fail."""
        self.append(self.line(kind, **fields))

    @staticmethod
    def line(kind: str, **fields: Any) -> bytes:
        return _encode({"kind": kind, **fields}).encode() + b"\n"

    def append(self, data: bytes) -> None:
        """Append whole lines, and the texts of exchanges."""
        if self._is_over:
            return
        # Before and after each test, where a buffered file takes four times as long.
        try:
            file = os.open(self._path, _APPENDING, 0o600)
            try:
                self._is_over = os.write(file, data) < len(data)
            finally:
                os.close(file)
        except OSError:  # a worker on another host, a full disk
            self._is_over = True


def exchanges_of(directory: str, server: str) -> str:
    """Where the fake called `server` writes its exchanges."""
    return str(Path(directory) / f"{EXCHANGES}{server}.jsonl")


def session_name(api_key: str) -> str:
    """How the exchanges call the session of `api_key`: they do not tell the key."""
    import hashlib  # a worker without a server needs none

    key = api_key.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key, digest_size=8).hexdigest()
