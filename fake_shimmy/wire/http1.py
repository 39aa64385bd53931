"""Cutting a connection's bytes into HTTP/1 requests, byte for byte as hyper does.

Strategy: sans-IO. Bytes go into a :class:`RequestReader`, request heads and bodies come out;
anything hyper refuses raises :class:`RefusedError`. A parser of our own, because where hyper gives
up, and when, is part of the imitation (seen on 2.5.0 and 2.6.5 CPU-only).
"""

from __future__ import annotations

from fake_shimmy.wire import head as heads
from fake_shimmy.wire.body import announced_by
from fake_shimmy.wire.head import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.wire.body import Body
    from fake_shimmy.wire.head import Head

MAX_HEAD = 408 * 1024
"""A head that is still incomplete after this many bytes is refused. Hyper looks at its limit when
it reads, so one in few pieces may pass it."""

PREFACE = 24
"""Bytes of the preface by which HTTP/2 begins."""

HEAD_ENDS = (b"\r\n\r\n", b"\n\n", b"\n\r\n")
"""What ends a head. The hyper of 2.5.0 (1.11.0) does not see the last one where it has looked at a
part of the head already."""

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class RequestReader:
    """Cuts a connection's bytes into requests."""

    __slots__ = ("_body", "_head", "_is_first", "_looked_at", "_raw", "_skipped", "buffer")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._is_first = True
        self._looked_at = 0
        """Bytes of an incomplete head in which no mistake was found."""
        self._skipped = 0
        """Bytes of the empty lines before it."""
        self._body: Body | None = None
        self._raw = b""
        self._head: Head | None = None
        """The newest head, and it as it came: clients repeat themselves."""

    def read_head(self, awaited_ends: tuple[bytes, ...] = HEAD_ENDS) -> Head | None:
        """The next request's head, or None until more bytes come.

        ``awaited_ends`` are those of :data:`HEAD_ENDS` that end a head which came in parts.
        """
        buffer = self.buffer
        if not buffer:
            return None
        head = self._head
        if head is not None and not self._looked_at and buffer.startswith(self._raw):
            del buffer[: len(self._raw)]
            self._body = announced_by(head, buffer)
            return head
        if buffer[0] in b"\r\n":
            self._skip_empty_lines()
            if not buffer or buffer == b"\r":
                return None
        if buffer.startswith(b"PRI") and _HTTP2_PREFACE.startswith(buffer[:PREFACE]):
            if len(buffer) < PREFACE:
                return None
            # Hyper has read no further to tell the versions apart.
            raise RefusedError(b"", unread=len(buffer) > PREFACE)
        end, length = self._find_end()
        if self._is_first and not self._looked_at:
            window = PREFACE - self._skipped
            if min(len(buffer), length) > window:
                self._look_at(max(1, window))
        if self._looked_at and not self._has_one_of(awaited_ends):
            self._look_at(0)
            return None
        if end < 0:
            self._look_at(len(buffer))
            return None
        self._is_first = False
        self._looked_at = self._skipped = 0
        raw = bytes(buffer[:length])
        del buffer[:length]
        head = heads.parse(raw[:end])
        if length <= heads.USUAL_SIZE:
            self._raw, self._head = raw, head
        self._body = announced_by(head, buffer)
        return head

    def read_body(self, limit: int) -> bytes | int | None:
        """The whole body of the last head; see :meth:`Body.read`."""
        assert self._body is not None
        return self._body.read(limit)

    def skip_body(self) -> bool:
        """Drop what there is of the body; whether that was all of it."""
        assert self._body is not None
        return self._body.skip()

    def _skip_empty_lines(self) -> None:
        """Drop the empty lines before a request; a lone CR is no line yet."""
        buffer = self.buffer
        begin = 0
        while buffer[begin : begin + 1] == b"\n" or buffer[begin : begin + 2] == b"\r\n":
            begin += 1 if buffer[begin] == 0x0A else 2
        if begin:
            self._skipped += begin
            self._looked_at = max(0, self._looked_at - begin)
            del buffer[:begin]

    def _find_end(self) -> tuple[int, int]:
        """Where the last line's content ends (before its LF), and where the head does; -1 and a
        large number where it does not."""
        buffer = self.buffer
        usual = buffer.find(b"\r\n\r\n")
        # A bare LF ends a line as well, so the head may end earlier than it usually would.
        limit = usual + 2 if usual >= 0 else len(buffer)
        lone, mixed = buffer.find(b"\n\n", 0, limit), buffer.find(b"\n\r\n", 0, limit)
        if lone >= 0 and not 0 <= mixed < lone:
            return lone, lone + 2
        if mixed >= 0:
            return mixed, mixed + 3
        return (usual + 1, usual + 4) if usual >= 0 else (-1, 1 << 30)

    def _has_one_of(self, awaited_ends: tuple[bytes, ...]) -> bool:
        seen = max(0, self._looked_at - 3)
        return any(self.buffer.find(end, seen) >= 0 for end in awaited_ends)

    def _look_at(self, size: int) -> None:
        """Refuse what can be no head by its first ``size`` bytes, or is too long for one.

        Hyper looks closely once: at what is there when a request begins, and at the beginning of a
        connection only at the bytes that may be the preface of HTTP/2. After that it waits for one
        of the ends of a head that it knows.
        """
        if size > 0:
            heads.check_beginning(bytes(self.buffer[:size]))
        self._looked_at = size or len(self.buffer)
        if self._skipped + len(self.buffer) > MAX_HEAD:
            raise RefusedError(b"431 Request Header Fields Too Large")
