"""Where the processes of a run write down what happened, while it happens.

Strategy: a directory for the run, a file for each process, a line of JSON for each thing that
happened. Texts of an exchange follow its line as they are; see `fake_shimmy.stage.exchange_log`,
which writes the fake's exchanges to the same directory. A process that is killed has written all
but its last line.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from ..runtime_dir import subdir

PROCESS = "process"
TEST_BEGAN = "began"
TEST = "test"
SERVER = "server"
EXCHANGE = "exchange"
BACKEND = "backend"
FULL = "full"

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


class Part:
    """The file of one process. A file that cannot be written is given up."""

    def __init__(self, directory: str, name: str) -> None:
        self._path = str(Path(directory) / f"{name}.jsonl")
        self._is_over = False

    def write(self, kind: str, *raw: bytes, **fields: Any) -> None:
        """Append a line, and `raw`. Never raises `OSError`: a report is no reason to fail."""
        if self._is_over:
            return
        line: dict[str, Any] = {"kind": kind, **fields}
        if raw:
            line["raw"] = list(map(len, raw))
        data = _encode(line).encode() + b"\n"
        if raw:
            data += b"".join(raw) + b"\n"
        # Before and after each test, where a buffered file takes four times as long.
        try:
            file = os.open(self._path, _APPENDING, 0o600)
            try:
                self._is_over = os.write(file, data) < len(data)
            finally:
                os.close(file)
        except OSError:  # a worker on another host, a full disk
            self._is_over = True


class ExchangePart:
    """Where the process `worker` writes the exchanges with the server at `url`, which does not tell
    them itself; `source` says who does."""

    def __init__(self, directory: str, source: str, worker: str, url: str, api_key: str) -> None:
        path = Path(exchanges_of(directory, f"{source}-{worker}"))
        self._part = Part(str(path.parent), path.stem)
        self._about = {"server": url, "session": session_name(api_key)}

    def write(
        self,
        headers: str,
        body: bytes,
        sent: Sequence[tuple[float, bytes]],
        duration: float,
        **members: Any,
    ) -> None:
        """Append an exchange whose answer was `sent`, each piece so many seconds after the request.
        No script had a part in it, and its tokens are read from the answer."""
        answer = b"".join(data for _, data in sent)
        self._part.write(
            EXCHANGE,
            headers.encode("utf-8", "replace"),
            body,
            answer,
            **self._about,
            tokens=None,
            duration=int(duration * 1e6),
            bytes=len(answer),
            pieces=[each for at, data in sent for each in (int(at * 1e6), len(data))],
            **members,
        )


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
    return str(Path(directory) / f"exchanges-{server}.jsonl")


def session_name(api_key: str) -> str:
    """How the exchanges call the session of `api_key`: they do not tell the key."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of every part, with the name of its file; ``raw`` has an exchange's texts, with a
    character for each byte."""
    decode = json.JSONDecoder().raw_decode
    for path in sorted(directory.glob("*.jsonl")):
        name, begin = path.stem, 0
        text = path.read_bytes().decode("latin-1")  # lines themselves are ASCII
        while begin < len(text):
            # What a process has written that was killed, or had no room, may be half of it.
            try:
                document, end = decode(text, begin)
            except ValueError:
                document, end = None, text.find("\n", begin)
                if end < 0:
                    break
            begin = end + 1
            if not isinstance(document, dict) or "kind" not in document:
                continue
            if (sizes := document.get("raw")) is not None:
                ends = list(accumulate(sizes, initial=begin))
                document["raw"] = [text[one:end] for one, end in pairwise(ends)]
                begin = ends[-1] + 1
                if begin > len(text):
                    break
            yield name, document


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
