"""A request's body: by length or in chunks, as hyper reads it.

Strategy: a body takes its bytes out of the connection's buffer as they come. It is bounded: what
surrounds chunks (extensions, trailers) has limits of its own (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

from fake_shimmy.wire.head import MAX_HEADERS, split_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.wire.head import Head

MAX_EXTRAS = 16 * 1024
"""Bytes of a body's chunk extensions that are refused, and likewise of its trailers."""

BROKEN = -1
"""What :meth:`Body.read` gives for a body whose framing is wrong."""

_HEX = b"0123456789abcdefABCDEF"
_SIZE, _DATA, _TRAILER, _DONE, _BROKEN = range(5)


def announced_by(head: Head, buffer: bytearray) -> Body:
    """The body that ``head`` announces, at the beginning of ``buffer``."""
    return Chunked(buffer) if head.chunked else Body(buffer, head.content_length)


class Body:
    """The body that is the next ``length`` bytes of ``buffer``."""

    __slots__ = ("_buffer", "_data", "_left")

    def __init__(self, buffer: bytearray, length: int) -> None:
        self._buffer = buffer
        self._data = bytearray()
        self._left = length
        """Bytes that are missing of the body, or of its chunk."""

    def read(self, limit: int) -> bytes | int | None:
        """The whole body; nothing until more bytes come; :data:`BROKEN`; or, where it
        is longer than ``limit`` bytes, ``limit``."""
        buffer, left = self._buffer, self._left
        if len(buffer) == left <= limit and not self._data:
            # Mostly it has come whole, and nothing after it.
            body = bytes(buffer)
            buffer.clear()
            self._left = 0
            return body
        return self._gathered(limit)

    def _gathered(self, limit: int) -> bytes | int | None:
        """The same of what comes in pieces."""
        data = self._data
        complete = self._fill()
        if len(data) > limit:
            return limit
        if complete is None:
            return BROKEN
        return bytes(data) if complete else None

    def skip(self) -> bool:
        """Drop what there is of the body; whether that was all of it."""
        complete = self._fill()
        self._data.clear()
        return bool(complete)

    def _fill(self) -> bool | None:
        """Move body bytes out of the buffer; None where the framing is wrong."""
        left = self._left
        piece = self._buffer[:left]
        del self._buffer[:left]
        self._data += piece
        self._left = left = left - len(piece)
        return left == 0


class Chunked(Body):
    """A body in chunks."""

    __slots__ = ("_extension_bytes", "_is_trailer_wrong", "_state", "_trailer_bytes", "_trailers")

    def __init__(self, buffer: bytearray) -> None:
        super().__init__(buffer, 0)
        self._state = _SIZE
        self._extension_bytes = self._trailer_bytes = self._trailers = 0
        self._is_trailer_wrong = False

    def read(self, limit: int) -> bytes | int | None:
        return self._gathered(limit)

    def _fill(self) -> bool | None:
        if self._state == _BROKEN:
            return None
        complete = self._fill_chunked()
        if complete is None:
            self._state = _BROKEN
        return complete

    def _fill_chunked(self) -> bool | None:
        buffer = self._buffer
        while self._state < _TRAILER:
            if self._state == _DATA:
                piece = buffer[: self._left]
                del buffer[: self._left]
                self._data += piece
                self._left -= len(piece)
                if self._left:
                    return False
                if len(buffer) < 2:
                    return False if b"\r\n".startswith(bytes(buffer)) else None
                if buffer[:2] != b"\r\n":
                    return None
                del buffer[:2]
                self._state = _SIZE
                continue
            end = buffer.find(b"\n")
            if end < 0:
                is_wrong = not _begins_size(bytes(buffer[:32])) or b"\r" in buffer[:-1]
                return None if is_wrong or len(buffer) > MAX_EXTRAS else False
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if line.find(b"\r") != len(line) - 1:
                return None
            size, _, extension = line[:-1].partition(b";")
            size = size.rstrip(b" \t")
            self._extension_bytes += len(extension)
            if self._extension_bytes >= MAX_EXTRAS:
                return None
            if not size or size.translate(None, _HEX) or len(size.lstrip(b"0")) > 16:
                return None
            self._left = int(size.lstrip(b"0") or b"0", 16)
            self._state = _DATA if self._left else _TRAILER
        return self._state == _DONE or self._skip_trailers()

    def _skip_trailers(self) -> bool | None:
        """Like :meth:`_fill`, for what follows the last chunk. Only CRLF ends a line here."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r")
            if end < 0 or end + 1 == len(buffer):
                return None if self._trailer_bytes + len(buffer) >= MAX_EXTRAS else False
            line = bytes(buffer[:end])
            is_line = buffer[end + 1] == 0x0A
            del buffer[: end + 2]
            self._trailer_bytes += end + 2
            if not is_line or self._trailer_bytes >= MAX_EXTRAS:
                return None
            if not line:
                self._state = _DONE
                return None if self._is_trailer_wrong else True
            self._trailers += 1
            if self._trailers > MAX_HEADERS:
                return None
            # Told only when all have been read.
            bare = line.rstrip(b"\n")
            self._is_trailer_wrong |= bool(bare) and split_header(bare) is None


def _begins_size(line: bytes) -> bool:
    """Whether the beginning of a line may become a chunk's size: hyper gives up at once."""
    size = line.partition(b";")[0].rstrip(b"\r").rstrip(b" \t")
    return not line or (bool(size) and not size.translate(None, _HEX))
