"""What passes through the recorder, understood: requests, answers, frames. Sans-IO.

Strategy: bytes are forwarded as they came, and a copy is read here. Readers are never strict: what
they do not understand is kept as bytes, because a recording repeats what was sent, right or wrong.
Libraries for HTTP give bodies, and lose which bytes were one chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from fake_shimmy.script.timed_answer import RAW, Chunk, TimedAnswer, frame_head

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_NO_HEAD = re.compile(
    rb"\A(?![\w!#$%&'*+.^`|~-]*(?: |\Z))|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)"
)
"""What servers refuse before a head is complete: another method than a word, control characters."""
_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,15})\s*(;.*)?")
MAX_HEAD = 1 << 20

Header = tuple[str, str]


def headers_of(lines: list[str]) -> list[Header]:
    """Names, in lower case, and values."""
    pairs = (line.partition(":") for line in lines)
    return [(name.strip().lower(), value.strip()) for name, colon, value in pairs if colon]


def first(headers: list[Header], name: str) -> str | None:
    """The first value of a header."""
    return next((value for known, value in headers if known == name), None)


class RequestHead(NamedTuple):
    """The head of a request."""

    lines: list[str]
    """Without their ends."""
    method: str
    target: str
    headers: list[Header]


class Body(NamedTuple):
    """Bytes of a request's body."""

    raw: bytes
    """As they were sent."""
    content: bytes
    """Without framing."""


class End(NamedTuple):
    """The request is complete."""


class NotUnderstoodError(Exception):
    """These bytes are no request, and what follows cannot be read either."""


class RequestReader:
    """The requests of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        """Bytes of a body that are to come."""
        self._chunks: ChunkedReader | None = None

    def feed(self, data: bytes) -> Iterator[RequestHead | Body | End]:
        """What has become complete. Raises `NotUnderstoodError`; see `rest`."""
        self._buffer += data
        while self._buffer:
            if self._chunks is not None:
                yield from self._feed_chunks(self._chunks)
            elif self._left:
                piece = bytes(self._buffer[: self._left])
                del self._buffer[: self._left]
                self._left -= len(piece)
                yield Body(piece, piece)
                if not self._left:
                    yield End()
            else:
                head = self._head()
                if head is None:
                    return
                yield head
                if self._chunks is None and not self._left:
                    yield End()

    def rest(self) -> bytes:
        """What was not read."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _head(self) -> RequestHead | None:
        found = _BLANK_LINE.search(self._buffer)
        end = len(self._buffer) if found is None else found.start()
        if _NO_HEAD.search(self._buffer, 0, end) or end > MAX_HEAD:
            raise NotUnderstoodError
        if found is None:
            return None
        text = self._buffer[:end].decode("latin-1")
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise NotUnderstoodError
        headers = headers_of(lines[1:])
        coding = first(headers, "transfer-encoding")
        length = first(headers, "content-length") or "0"
        if coding is not None and coding.lower() != "chunked":
            raise NotUnderstoodError
        if not length.isdecimal() or len(length) > 15:
            raise NotUnderstoodError
        del self._buffer[: found.end()]
        self._chunks = None if coding is None else ChunkedReader()
        self._left = 0 if coding is not None else int(length)
        return RequestHead(lines, words[0], words[1], headers)

    def _feed_chunks(self, reader: ChunkedReader) -> Iterator[Body | End]:
        raw = bytes(self._buffer)
        self._buffer.clear()
        content = b"".join(chunk.data for chunk in reader.feed(raw, 0))
        if reader.is_broken:
            self._buffer += raw
            raise NotUnderstoodError
        if reader.is_complete:
            self._chunks = None
            self._buffer += reader.rest()
            raw = raw[: len(raw) - len(self._buffer)]
        yield Body(raw, content)
        if reader.is_complete:
            yield End()


class ChunkedReader:
    """The chunks of a body in HTTP's ``chunked`` coding; the last one is empty."""

    def __init__(self) -> None:
        self.is_complete = False
        self.is_broken = False
        self.trailers: list[str] = []
        self.size_lines: list[str] = []
        """The line with the size of each chunk."""
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes, moment: float) -> Iterator[Chunk]:
        """The chunks that have become complete."""
        self._buffer += data
        while not self.is_complete and not self.is_broken:
            chunk = self._next(moment)
            if chunk is None:
                break
            yield chunk
        del self._buffer[: self._at]
        self._at = 0

    def rest(self) -> bytes:
        """What was not read; it is given once."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _next(self, moment: float) -> Chunk | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n", self._at)
        if end < 0:
            return None
        line = bytes(buffer[self._at : end])
        found = _SIZE.fullmatch(line)
        if found is None:
            self.is_broken = True
            return None
        size = int(found[1], 16)
        begin = end + 2
        if not size:
            return self._last(line, begin, moment)
        if len(buffer) < begin + size + 2:
            return None
        if buffer[begin + size : begin + size + 2] != b"\r\n":
            self.is_broken = True
            return None
        self.size_lines.append(line.decode("latin-1"))
        self._at = begin + size + 2
        return Chunk(moment, bytes(buffer[begin : begin + size]))

    def _last(self, line: bytes, begin: int, moment: float) -> Chunk | None:
        trailers = []
        while True:
            end = self._buffer.find(b"\r\n", begin)
            if end < 0:
                return None
            trailer = bytes(self._buffer[begin:end])
            begin = end + 2
            if not trailer:
                break
            trailers.append(trailer.decode("latin-1"))
        self.size_lines.append(line.decode("latin-1"))
        self.trailers = trailers
        self.is_complete = True
        self._at = begin
        return Chunk(moment, b"")


class AnswerReader:
    """One answer to a request with ``method``, as it comes in."""

    def __init__(self, method: str) -> None:
        self.answer = TimedAnswer()
        self.is_complete = False
        self._method = method
        self._buffer = bytearray()
        self._has_head = False
        self._left = 0
        self._chunks = ChunkedReader()
        self._frames = FrameReader()

    @property
    def is_upgraded(self) -> bool:
        """The connection speaks WebSocket from here on."""
        return self.answer.framing == "frames"

    def feed(self, data: bytes, moment: float) -> bytes:
        """Read; returns what belongs to the next answer."""
        if self._has_head:
            return self._body(data, moment)
        self._buffer += data
        while not self._has_head:
            found = _BLANK_LINE.search(self._buffer)
            if found is None:
                return b""
            text = self._buffer[: found.start()].decode("latin-1")
            del self._buffer[: found.end()]
            self._head([line.removesuffix("\r") for line in text.split("\n")], moment)
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self.is_complete:
            return rest
        return self._body(rest, moment) if rest else b""

    def end(self, how: str, moment: float) -> TimedAnswer:
        """There is no more: the server's FIN (``closed``) or RST, or the client has ``left``."""
        answer = self.answer
        if self.is_complete:
            return answer
        rest = bytes(self._buffer)
        if answer.framing == "chunked":
            rest = self._chunks.rest()
            self._name_sizes()
        elif answer.framing == "frames":
            rest = self._frames.rest()
        if rest:
            answer.chunks.append(Chunk(moment, rest, RAW))
        if not self._has_head:
            answer.framing = "close"
        is_over = answer.framing == "close" and self._has_head and how == "closed"
        answer.end = "complete" if is_over else how
        self.is_complete = True
        return answer

    def _head(self, lines: list[str], moment: float) -> None:
        words = lines[0].split(" ")
        status = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
        if 100 <= status < 200 and status != 101:
            return  # not an answer yet
        answer = self.answer
        answer.head, answer.at = lines, moment
        self._has_head = True
        headers = headers_of(lines[1:])
        coding = (first(headers, "transfer-encoding") or "").lower()
        length = first(headers, "content-length")
        if status == 101:
            answer.framing = "frames"
        elif self._method == "HEAD" or status in (204, 304):
            answer.framing = "none"
        elif coding.split(",")[-1].strip() == "chunked":
            answer.framing = "chunked"
        elif length is not None and length.isdecimal() and not coding:
            answer.framing = "length" if int(length) else "none"
            self._left = int(length)
        else:
            answer.framing = "close"
        self.is_complete = answer.framing == "none"
        answer.chunks = []

    def _body(self, data: bytes, moment: float) -> bytes:
        answer = self.answer
        if answer.framing == "length":
            piece, rest = data[: self._left], data[self._left :]
            self._left -= len(piece)
            answer.chunks.append(Chunk(moment, piece))
            self.is_complete = not self._left
            return rest
        if answer.framing == "frames":
            answer.chunks += self._frames.feed(data, moment)
            return b""
        if answer.framing == "close" or self._chunks.is_broken:
            marker = RAW if self._chunks.is_broken else ""
            answer.chunks.append(Chunk(moment, data, marker))
            return b""
        answer.chunks += self._chunks.feed(data, moment)
        if self._chunks.is_broken:
            self._name_sizes()
            answer.chunks.append(Chunk(moment, self._chunks.rest(), RAW))
        if self._chunks.is_complete:
            self.is_complete = True
            self._name_sizes()
            answer.trailers = self._chunks.trailers
            return self._chunks.rest()
        return b""

    def _name_sizes(self) -> None:
        """Say how sizes are written, where that is not the usual."""
        answer, lines = self.answer, self._chunks.size_lines
        telling = [line for line in lines if line.upper() != line.lower()]
        answer.lower_hex = bool(telling) and telling[0] == telling[0].lower()
        for chunk, line in zip(answer.chunks, lines, strict=False):
            size = len(chunk.data)
            usual = f"{size:x}" if answer.lower_hex else f"{size:X}"
            chunk.marker = "" if line == usual else line


class FrameReader:
    """The frames of one direction of a WebSocket."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, moment: float) -> list[Chunk]:
        """The frames that have become complete."""
        self._buffer += data
        frames = []
        while (sizes := self._sizes()) is not None:
            head, size = sizes
            if len(self._buffer) < head + size:
                break
            raw, payload = bytes(self._buffer[:head]), bytes(self._buffer[head : head + size])
            del self._buffer[: head + size]
            marker = "" if raw == frame_head(size) else raw.hex()
            frames.append(Chunk(moment, payload, marker))
        return frames

    def rest(self) -> bytes:
        """What was not read."""
        return bytes(self._buffer)

    def _sizes(self) -> tuple[int, int] | None:
        """The sizes of the next frame's head and payload."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, head = buffer[1] & 0x7F, 2
        if size > 125:
            head += 2 if size == 126 else 8
            if len(buffer) < head:
                return None
            size = int.from_bytes(buffer[2:head])
        return (head + 4 if buffer[1] & 0x80 else head), size


class MessageReader:
    """The messages of a client over a WebSocket."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._message = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that have become complete; control frames are none."""
        for frame in self._frames.feed(data, 0):
            head = bytes.fromhex(frame.marker) if frame.marker else frame_head(len(frame.data))
            if head[0] & 0x08:
                continue
            mask = head[-4:] if head[1] & 0x80 else b"\0\0\0\0"
            self._message += bytes(byte ^ mask[place & 3] for place, byte in enumerate(frame.data))
            if head[0] & 0x80:
                yield bytes(self._message)
                self._message.clear()
