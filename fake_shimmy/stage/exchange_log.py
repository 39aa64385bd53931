"""Every exchange of a server in a file, for a report about the whole run.

Strategy: the journal of a session is small and ends with it; this file outlives sessions and the
process. When an exchange ends, a line is written, and after it the request's body and what was sent
as they are: of thousands of requests the run pays for each, and to quote and to read quoted texts
would take the most of it. So would digits: the line packs its numbers. What many requests have
alike stands once, in a line of JSON, the head, whose name their lines begin with; then they say how
the answer ended, the numbers, and what only few have, as JSON. Bodies are bounded, and so is the
file: when it is half full, lines go without texts, and when it is full, no more are written.
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from json import JSONEncoder
from struct import pack

from fake_shimmy.stage.journal import MAX_SENT

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

NUMBERS = ">dfH3IQ3I"
"""Of a line, as `struct` has them: when the request came (seconds since the epoch), how long the
answer took, its status (0: none) and tokens; bytes of the request's body that are kept and that
there were, bytes of the answer, and how many of them are kept; how many writes it left in, and how
many tokens have moments. Then follow when each write left, its bytes, and the moments of the
tokens. Times are seconds after the request."""

MAX_KNOWN = 256
"""Heads whose names are remembered: the requests of a client are alike."""

SECRET_HEADERS = frozenset(
    ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
)
"""Their values are not written."""


FULL = b'{"kind": "full"}\n'

_NOTHING: tuple[list[float], list[bytes]] = ([], [])

_encode = JSONEncoder(separators=(",", ":"), check_circular=False).encode


class ExchangeLog:
    """The file at ``path``. A file that cannot be written is given up: the answers matter more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        """The descriptor, from the first line on."""
        self._size = 0
        self._is_over = False
        # By the headers' identity, which they keep while they are here; alike requests share them.
        self._known: dict[tuple[int, str], tuple[Headers, bytes]] = {}

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
        known = self._known.get((id(record.headers), key))
        begin, head = (known[1], b"") if known is not None else self._learnt(record, key)
        body, (left, sent) = record.body, record.sent or _NOTHING
        asked, answered = len(body), record.bytes
        if is_short:
            body, (left, sent) = b"", _NOTHING
        elif asked > MAX_BODY:
            body = body[:MAX_BODY]
        kept = answered if sent else 0
        if kept > MAX_SENT:
            kept = MAX_SENT
            sent = [*sent[:-1], sent[-1][: MAX_SENT - sum(map(len, sent[:-1]))]]
        pieces = len(sent)
        moments = record.measured if pieces > 1 else ()  # else its tokens came all at once
        numbers = pack(
            f"{NUMBERS}{pieces}f{pieces}I{len(moments)}f",
            record.time,
            record.duration or 0.0,
            record.status or 0,
            record.tokens,
            len(body),
            asked,
            answered,
            kept,
            pieces,
            len(moments),
            *left,
            *map(len, sent),
            *moments,
        )
        told = b2a_base64(numbers, newline=False)
        ended = str(record.ended).encode()
        return b"".join((head, begin, ended, b" ", told, _more(record), body, *sent, b"\n"))

    def _learnt(self, record: Record, key: str) -> tuple[bytes, bytes]:
        """How lines of the request's head begin, and the line that says what it is."""
        from _blake2 import blake2b  # as hashlib has it, which loads OpenSSL

        headers = record.headers
        session = (key or _key_of(headers)).encode("utf-8", "surrogatepass")
        about = _encode(
            {
                "session": blake2b(session, digest_size=8).hexdigest(),
                "method": record.method,
                "path": record.path,
                "headers": "\n".join(
                    f"{name}: {'***' if name.lower() in SECRET_HEADERS else value}"
                    for name, value in headers
                ),
            }
        )
        # The next process that appends to the file has other names, or means the same.
        name = blake2b(about.encode(), digest_size=6).hexdigest()
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        begin = f"{name} ".encode()
        self._known[id(headers), key] = headers, begin
        return begin, f'{{"kind":"head","name":"{name}",{about[1:]}\n'.encode()


def _more(record: Record) -> bytes:
    """The end of the line, with what only few have."""
    if record.rule_name is None and record.nearest is None and not record.faults:
        return b"\n"
    nearest = None if record.nearest is None else str(record.nearest)
    more = {"rule_name": record.rule_name, "nearest": nearest, "faults": record.faults}
    return f" {_encode(more)}\n".encode()


def _key_of(headers: Headers) -> str:
    """Whose request it is, if it has no session: what it has for a key."""
    for name, value in headers:
        if name.lower() == "authorization":
            return value.partition(" ")[2].strip()
        if name.lower() == "x-api-key":
            return value
    return ""
