"""Every exchange of a server in a file, for a report about the whole run.

Strategy: the journal of a session is small and ends with it; this file outlives sessions and the
process. A line is written when an exchange ends. Bodies are bounded, and so is the file: when it is
half full, lines go without what was sent, and when it is full, no more are written.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.stage.journal import Record

VARIABLE = "FAKE_SHIMMY_EXCHANGES"
"""Environment variable: path of the file; it is appended to."""

MAX_FILE = 128 * 1024 * 1024
"""Bytes of the file."""

MAX_BODY = 256 * 1024
"""Bytes of one request's body that are kept."""

SECRET_HEADERS = frozenset(
    ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
)
"""Their values are not written."""


class ExchangeLog:
    """The file at ``path``. A file that cannot be written is given up: the answers matter more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        """The descriptor, from the first line on."""
        self._size = 0
        self._is_over = False

    def write(self, key: str, record: Record) -> None:
        """Append ``record``, of the session with ``key``."""
        if self._is_over:
            return
        is_short = self._size > MAX_FILE // 2
        line = json.dumps(_document(key, record, is_short)).encode() + b"\n"
        self._size += len(line)
        if self._size > MAX_FILE:
            self._is_over = True
            line = b'{"full": true}\n'
        try:
            # One write of a whole line: other processes may append to the same file.
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._file = os.open(self._path, flags, 0o600)
            os.write(self._file, line)
        except OSError:
            self._is_over = True


def _document(key: str, record: Record, is_short: bool) -> dict[str, object]:
    from hashlib import sha256

    request, sent = record.request, record.sent or []
    name = key or _key_of(record)
    body = b"" if is_short else request.body[:MAX_BODY]
    # What the report needs, and no more: of thousands of requests the run pays for each.
    return {
        "session": sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "time": record.time,
        "duration": record.duration,
        "method": request.method,
        "path": request.path,
        "headers": [
            (name, "***" if name.lower() in SECRET_HEADERS else value)
            for name, value in request.headers
        ],
        "body": body.decode("utf-8", "replace"),
        "body_size": len(request.body),
        "status": record.status,
        "ended": record.ended,
        "rule_name": record.rule_name,
        "nearest": None if record.nearest is None else str(record.nearest),
        "faults": record.faults,
        "tokens": record.tokens,
        "measured": list(record.measured),
        "bytes": record.bytes,
        "pieces": [(round(at, 5), len(data)) for at, data in sent],
        "sent": "" if is_short else b64encode(b"".join(data for _, data in sent)).decode(),
    }


def _key_of(record: Record) -> str:
    """Whose request it is, if it has no session: what it has for a key."""
    for name, value in record.request.headers:
        if name.lower() == "authorization":
            return value.partition(" ")[2].strip()
        if name.lower() == "x-api-key":
            return value
    return ""
