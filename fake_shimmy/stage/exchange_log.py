"""Every exchange of a server in a file, for a report about the whole run.

Strategy: the journal of a session is small and ends with it; this file outlives sessions and the
process. When an exchange ends, a line of JSON is written, and after it the texts that it is about
as they are: of thousands of requests the run pays for each, and to quote and to read quoted texts
would take the most of it. The member ``raw`` has their sizes in bytes: the request's headers, its
body, and what was sent; a line feed ends them. Bodies are bounded, and so is the file: when it is
half full, lines go without texts, and when it is full, no more are written.
"""

from __future__ import annotations

import os
from json import JSONEncoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from fake_shimmy.stage.journal import Record

    Headers: TypeAlias = list[tuple[str, str]]

VARIABLE = "FAKE_SHIMMY_EXCHANGES"
"""Environment variable: path of the file; it is appended to."""

MAX_FILE = 128 * 1024 * 1024
"""Bytes of the file."""

MAX_BODY = 256 * 1024
"""Bytes of one request's body that are kept."""

MAX_KNOWN = 64
"""Heads whose text is remembered: the requests of a client are alike."""

SECRET_HEADERS = frozenset(
    ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
)
"""Their values are not written."""


FULL = b'{"kind": "full"}\n'

_encode = JSONEncoder(separators=(",", ":"), check_circular=False).encode


class ExchangeLog:
    """The file at ``path``. A file that cannot be written is given up: the answers matter more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        """The descriptor, from the first line on."""
        self._size = 0
        self._is_over = False
        # By the headers' identity, which they keep while they are here.
        self._known: dict[tuple[int, str], tuple[Headers, str, bytes]] = {}

    def write(self, key: str, record: Record) -> None:
        """Append ``record``, of the session with ``key``."""
        if self._is_over:
            return
        data = self._exchange(key, record, self._size > MAX_FILE // 2)
        self._size += len(data)
        if self._size > MAX_FILE:
            self._is_over = True
            data = FULL
        try:
            # One write of the whole: other processes may append to the same file.
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
                self._file = os.open(self._path, flags, 0o600)
            if os.write(self._file, data) < len(data):
                self._is_over = True
        except OSError:
            self._is_over = True

    def _exchange(self, key: str, record: Record, is_short: bool) -> bytes:
        headers = record.headers
        found = self._known.get((id(headers), key)) or self._learnt(headers, key)
        _, session, head = found
        sent = [] if is_short or record.sent is None else record.sent
        raw = [b"", b""] if is_short else [head, record.body[:MAX_BODY]]
        raw.append(b"".join([data for _, data in sent]))
        # Moments are whole microseconds after the request; each piece has one, and then its size.
        about: dict[str, object] = {
            "kind": "exchange",
            "raw": [len(data) for data in raw],
            "session": session,
            "time": record.time,
            "duration": int((record.duration or 0.0) * 1e6),
            "method": record.method,
            "path": record.path,
            "body_size": len(record.body),
            "status": record.status,
            "ended": record.ended,
            "tokens": record.tokens,
            "bytes": record.bytes,
            "pieces": [each for at, data in sent for each in (int(at * 1e6), len(data))],
        }
        if record.rule_name is not None:
            about["rule_name"] = record.rule_name
        if record.nearest is not None:
            about["nearest"] = str(record.nearest)
        if record.faults:
            about["faults"] = record.faults
        if record.sent is not None and len(record.sent) > 1:  # else its tokens came all at once
            about["measured"] = [int(at * 1e6) for at in record.measured]
        line = _encode(about)
        return b"\n".join((line.encode(), b"".join(raw), b""))

    def _learnt(self, headers: Headers, key: str) -> tuple[Headers, str, bytes]:
        from hashlib import sha256

        session = (key or _key_of(headers)).encode("utf-8", "surrogatepass")
        text = "\n".join(
            f"{name}: {'***' if name.lower() in SECRET_HEADERS else value}"
            for name, value in headers
        )
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        known = (headers, sha256(session).hexdigest()[:16], text.encode("utf-8", "replace"))
        self._known[id(headers), key] = known
        return known


def _key_of(headers: Headers) -> str:
    """Whose request it is, if it has no session: what it has for a key."""
    for name, value in headers:
        if name.lower() == "authorization":
            return value.partition(" ")[2].strip()
        if name.lower() == "x-api-key":
            return value
    return ""
