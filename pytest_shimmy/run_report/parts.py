"""Where the processes of a run write down what happened, while it happens.

Strategy: a directory for the run, a file for each process, a line of JSON for each thing that
happened. A process that is killed has written all but its last line. The fake's exchanges are in
the same directory, in files that it writes itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..runtime_dir import subdir

PROCESS = "process"
TEST_BEGAN = "began"
TEST = "test"
SERVER = "server"
EXCHANGE = "exchange"
BACKEND = "backend"


class Part:
    """The file of one process. A file that cannot be written is given up."""

    def __init__(self, directory: str, name: str) -> None:
        self._path = Path(directory) / f"{name}.jsonl"
        self._is_over = False

    def write(self, kind: str, **fields: Any) -> None:
        """Append a line. Never raises `OSError`: a report is no reason to fail."""
        if self._is_over:
            return
        line = json.dumps({"kind": kind, **fields}, default=str) + "\n"
        try:
            with open(self._path, "a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        except OSError:  # a worker on another host, a full disk
            self._is_over = True


class ExchangePart:
    """Where the process `worker` writes the exchanges with the server at `url`, which does not tell
    them itself; `source` says who does."""

    def __init__(self, directory: str, source: str, worker: str, url: str, api_key: str) -> None:
        path = Path(exchanges_of(directory, f"{source}-{worker}"))
        self._part = Part(str(path.parent), path.stem)
        self._about = {"server": url, "session": session_name(api_key)}

    def write(self, sent: bytes, **members: Any) -> None:
        """Append an exchange whose answer was `sent`. No script had a part in it, and its tokens
        are read from the answer."""
        self._part.write(
            EXCHANGE,
            **self._about,
            rule_name=None,
            nearest=None,
            faults=[],
            tokens=None,
            measured=[],
            sent=b64encode(sent).decode(),
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
    """Every line of every part, with the name of its file."""
    for path in sorted(directory.glob("*.jsonl")):
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                # The last line of a process that was killed may be half a line.
                with contextlib.suppress(ValueError):
                    document = json.loads(line)
                    if isinstance(document, dict):
                        yield path.stem, document


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
