"""Where the processes of a run write down what happened, while it happens.

Strategy: a directory for the run, a file for each process, a line of JSON for each thing that
happened. An exchange is a list instead of an object, and its texts follow it as they are; see
`fake_shimmy.stage.exchange_log`, which writes the fake's exchanges to the same directory. A process
that is killed has written all but its last line.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..runtime_dir import subdir

PROCESS = "process"
TEST_BEGAN = "began"
TEST = "test"
SERVER = "server"
HEAD = "head"
BACKEND = "backend"
FULL = "full"

EXCHANGES = "exchanges-"
"""What the names of parts with exchanges begin with."""

NOT_SEEN = "not_seen"
"""How a stream ended of which only the beginning was seen."""

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


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


class Exchange(NamedTuple):
    """A request and its answer. Times are microseconds after the request, but for `time`."""

    head: Mapping[str, Any]
    """The line that says who asked for what: ``session``, ``method``, ``path``, ``headers``, and
    ``server`` where it is not the one that the part is called after."""
    begin: int
    """Where in the text of the part the request's body begins. The answer follows."""
    time: float
    """Seconds since the epoch."""
    duration: int
    ended: str
    status: int | None
    tokens: int
    kept: int
    """Bytes of the request's body that are there."""
    body_size: int
    bytes: int
    """Of the answer."""
    pieces: list[int]
    """Of each write when it left, and its bytes."""
    moments: list[int]
    """When each token left."""
    more: Mapping[str, Any] = {}
    """Of a scripted answer: ``rule_name``, ``nearest``, ``faults``."""

    @property
    def is_failed(self) -> bool:
        """Whether it was not answered well."""
        is_whole = self.ended in ("complete", NOT_SEEN)
        return not is_whole or self.status is None or self.status >= 400

    @property
    def sent(self) -> int:
        """Where the answer begins."""
        return self.begin + self.kept

    @property
    def end(self) -> int:
        return self.begin + self.kept + sum(self.pieces[1::2])


def new_directory() -> Path:
    """A directory for the parts of a run that begins in this process. Directories of runs that
    were killed are removed. Raises `ShimmyError` where there can be none."""
    home = subdir("reports")
    for old in home.iterdir():
        pid = old.name.partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    directory = home / f"{os.getpid()}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    return directory


def exchanges_of(directory: str, server: str) -> str:
    """Where the fake called `server` writes its exchanges."""
    return str(Path(directory) / f"{EXCHANGES}{server}.jsonl")


def session_name(api_key: str) -> str:
    """How the exchanges call the session of `api_key`: they do not tell the key."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(directory: Path) -> Iterator[tuple[str, str]]:
    """The name and the text of every part, with a character for each byte."""
    for path in sorted(directory.glob("*.jsonl")):
        yield path.stem, path.read_bytes().decode("latin-1")  # lines themselves are ASCII


def lines(text: str) -> Iterator[tuple[int, dict[str, Any] | Exchange]]:
    """Where in the text of a part each line begins, and what it says."""
    heads: dict[Any, dict[str, Any]] = {}
    begin = 0
    while begin < len(text):
        at = begin
        # What a process has written that was killed, or had no room, may be half of it.
        try:
            line, end = _decode(text, begin)
        except ValueError:
            line, end = None, text.find("\n", begin)
            if end < 0:
                break
        begin = end + 1
        if isinstance(line, dict) and "kind" in line:
            if line["kind"] == HEAD:
                if line["name"] in heads:  # it stands there once for each process that wrote it
                    continue
                heads[line["name"]] = line
            yield at, line
        elif isinstance(line, list) and len(line) in (11, 12) and (head := heads.get(str(line[0]))):
            exchange = Exchange(head, begin, *line[1:])
            begin = exchange.end + 1
            if begin > len(text):
                break
            yield at, exchange


def exchange_at(text: str, at: int, heads: Mapping[str, Mapping[str, Any]]) -> Exchange:
    """The exchange whose line begins there."""
    (name, *values), end = _decode(text, at)
    return Exchange(heads[name], end + 1, *values)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
