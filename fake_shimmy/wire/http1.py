"""Reading HTTP/1 requests byte for byte as hyper does.

Strategy: sans-IO. Bytes go into a :class:`RequestReader`, request heads and bodies come out;
anything hyper refuses raises :class:`RefusedError`. A parser of our own, because what hyper
accepts (any method token, bare LF, a hundred headers) and where it gives up is part of the
imitation (seen on 2.5.0 CPU-only). The usual request takes the short way through.
"""

from __future__ import annotations

MAX_HEADERS = 100
MAX_URI = 65534
"""Longest request target in bytes."""

MAX_HEAD = 408 * 1024
"""A head that is still incomplete after this many bytes is refused. Hyper looks at its limit when
it reads, so one in few pieces may pass it."""

MAX_EXTRAS = 16 * 1024
"""Bytes of a body's chunk extensions that are refused, and likewise of its trailers."""

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEX = b"0123456789abcdefABCDEF"
_NOT_IN_TARGET = bytes(range(0x21)) + b"\x7f"
_NOT_IN_VALUE = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
_NOT_IN_PATH = b"<>`"
_NOT_IN_QUERY = b'"<>'
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

BODY_BROKEN = -1
"""What :meth:`RequestReader.read_body` gives for a body whose framing is wrong."""


class RefusedError(Exception):
    """Bytes that are no request; ``status`` is the status line's rest, or nothing where hyper
    closes without a word."""

    def __init__(self, status: bytes) -> None:
        super().__init__(status)
        self.status = status


class Head:
    """A request's head, not to be changed once it is read.

    ``connection`` is the header line that the answer's head needs.
    """

    __slots__ = (
        "chunked",
        "connection",
        "content_length",
        "content_type",
        "expects_continue",
        "headers",
        "is_1_0",
        "keep_alive",
        "method",
        "path",
    )

    def __init__(self, method: bytes, path: bytes, is_1_0: bool) -> None:
        self.method = method
        self.path = path
        self.is_1_0 = is_1_0
        self.keep_alive = not is_1_0
        self.connection = b""
        self.content_type: bytes | None = None
        self.content_length = 0
        self.chunked = False
        self.expects_continue = False
        self.headers: list[tuple[bytes, bytes]] = []

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; ``name`` is in lower case."""
        return next((value for known, value in self.headers if known == name), None)


class RequestReader:
    """Cuts a connection's bytes into requests."""

    __slots__ = (
        "_body",
        "_chunk_left",
        "_chunk_state",
        "_extension_bytes",
        "_left",
        "_trailer_bytes",
        "_trailers",
        "buffer",
    )

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._body = bytearray()
        self._left = 0
        self._chunk_state = 0
        self._chunk_left = 0
        self._extension_bytes = self._trailer_bytes = self._trailers = 0

    def read_head(self) -> Head | None:
        """The next request's head, or nothing until more bytes come."""
        buffer = self.buffer
        if not buffer:
            return None
        while buffer and buffer[0] in b"\r\n":
            # Empty lines before a request are skipped, but a lone CR is no line yet.
            if buffer[:1] == b"\r" and buffer[1:2] != b"\n":
                if len(buffer) == 1:
                    return None
                raise RefusedError(b"400 Bad Request")
            del buffer[: 2 if buffer[:1] == b"\r" else 1]
        if buffer[:3] == b"PRI" and _HTTP2_PREFACE.startswith(buffer[:24]):
            if len(buffer) < 24:
                return None
            raise RefusedError(b"")
        end = buffer.find(b"\r\n\r\n")
        length = end + 4
        # A bare LF ends a line as well, so the head may end earlier than it usually would.
        limit = end if end >= 0 else len(buffer)
        lone = buffer.find(b"\n\n", 0, limit)
        mixed = buffer.find(b"\n\r\n", 0, limit)
        if lone >= 0:
            end = limit = lone
            length = lone + 2
        if 0 <= mixed < limit:
            end, length = mixed, mixed + 3
        if end < 0:
            if buffer:
                _check_beginning(bytes(buffer))
            return None
        raw = bytes(buffer[:end])
        del buffer[:length]
        head = _known_heads.get(raw)
        if head is None:
            head = _parse_head(raw)
        self._body = bytearray()
        self._left = head.content_length
        self._chunk_state = _SIZE if head.chunked else _PLAIN
        self._chunk_left = 0
        self._extension_bytes = self._trailer_bytes = self._trailers = 0
        return head

    def read_body(self, limit: int) -> bytes | int | None:
        """The whole body; nothing until more bytes come; :data:`BODY_BROKEN`; or, where it
        is longer than ``limit`` bytes, ``limit``."""
        body = self._body
        complete = self._fill()
        if complete is None:
            return BODY_BROKEN
        if len(body) > limit:
            return limit
        return bytes(body) if complete else None

    def skip_body(self) -> bool:
        """Drop what there is of the body; whether that was all of it."""
        complete = self._fill()
        self._body.clear()
        return bool(complete)

    def _fill(self) -> bool | None:
        """Move body bytes out of the buffer; nothing where the framing is wrong."""
        if self._chunk_state != _PLAIN:
            return self._fill_chunked()
        piece = self.buffer[: self._left]
        del self.buffer[: self._left]
        self._left -= len(piece)
        self._body += piece
        return self._left == 0

    def _fill_chunked(self) -> bool | None:
        buffer = self.buffer
        while self._chunk_state < _TRAILER:
            if self._chunk_state == _DATA:
                piece = buffer[: self._chunk_left]
                del buffer[: self._chunk_left]
                self._body += piece
                self._chunk_left -= len(piece)
                if self._chunk_left:
                    return False
                if len(buffer) < 2:
                    return False if b"\r\n".startswith(bytes(buffer)) else None
                if buffer[:2] != b"\r\n":
                    return None
                del buffer[:2]
                self._chunk_state = _SIZE
                continue
            end = buffer.find(b"\n")
            if end < 0:
                is_wrong = not _begins_size(bytes(buffer[:32]))
                return None if is_wrong or len(buffer) > MAX_EXTRAS else False
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if not line.endswith(b"\r"):
                return None
            size, _, extension = line[:-1].partition(b";")
            size = size.rstrip(b" \t")
            self._extension_bytes += len(extension)
            if self._extension_bytes >= MAX_EXTRAS:
                return None
            if not size or size.translate(None, _HEX) or len(size) > 16:
                return None
            self._chunk_left = int(size, 16)
            self._chunk_state = _DATA if self._chunk_left else _TRAILER
        return self._chunk_state == _DONE or self._skip_trailers()

    def _skip_trailers(self) -> bool | None:
        """Like :meth:`_fill`, for what follows the last chunk. Only CRLF ends a line here."""
        buffer = self.buffer
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
                self._chunk_state = _DONE
                return True
            self._trailers += 1
            if self._trailers > MAX_HEADERS or _split_header(line.rstrip(b"\n")) is None:
                return None


def _begins_size(line: bytes) -> bool:
    """Whether the beginning of a line may become a chunk's size: hyper gives up at once."""
    return not line.partition(b";")[0].rstrip(b"\r").rstrip(b" \t").translate(None, _HEX)


_PLAIN, _SIZE, _DATA, _TRAILER, _DONE = range(5)


# Clients repeat themselves: a head that was just read need not be read again.
_known_heads: dict[bytes, Head] = {}
_KNOWN_HEADS = 256
_KNOWN_HEAD_SIZE = 2048


def _parse_head(raw: bytes) -> Head:
    lines = raw.split(b"\n")
    head = _parse_request_line(lines[0].removesuffix(b"\r"))
    _parse_headers(head, lines)
    if len(raw) <= _KNOWN_HEAD_SIZE:
        if len(_known_heads) >= _KNOWN_HEADS:
            _known_heads.clear()
        _known_heads[raw] = head
    return head


def _parse_request_line(line: bytes) -> Head:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if (
        not method
        or not target
        or version not in _VERSIONS
        or method.translate(None, _TOKEN)
        or target.translate(None, _NOT_IN_TARGET) != target
    ):
        raise RefusedError(b"400 Bad Request")
    if len(target) > MAX_URI:
        raise RefusedError(b"414 URI Too Long")
    return Head(method, _path_of(target), version == b"HTTP/1.0")


def _path_of(target: bytes) -> bytes:
    if target[:1] != b"/":
        scheme, separator, rest = target.partition(b"://")
        if separator:
            # Absolute form: only the path counts.
            authority = rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
            if scheme.translate(None, b"+-.").isalnum() is False or not authority:
                raise RefusedError(b"400 Bad Request")
            target = rest[len(authority) :]
            if target[:1] != b"/":
                target = b"/" + target
    if b"#" in target:
        target = target[: target.index(b"#")]
    path, _, query = target.partition(b"?")
    if path.translate(None, _NOT_IN_PATH) != path or query.translate(None, _NOT_IN_QUERY) != query:
        raise RefusedError(b"400 Bad Request")
    return path


def _parse_headers(head: Head, lines: list[bytes]) -> None:
    if len(lines) > MAX_HEADERS + 1:
        raise RefusedError(b"431 Request Header Fields Too Large")
    length: int | None = None
    transfer: bytes | None = None
    headers = head.headers
    for line in lines[1:]:
        header = _split_header(line.removesuffix(b"\r"))
        if header is None:
            raise RefusedError(b"400 Bad Request")
        name, value = header
        headers.append(header)
        if name == b"content-type":
            if head.content_type is None:
                head.content_type = value
        elif name == b"content-length":
            if not value.isdigit() or len(value) > 64:
                raise RefusedError(b"400 Bad Request")
            if int(value) >= 2**64 or (length is not None and length != int(value)):
                raise RefusedError(b"400 Bad Request")
            length = int(value)
        elif name == b"transfer-encoding":
            transfer = value
        elif name == b"connection":
            _connection(head, value.lower())
        elif name == b"expect":
            head.expects_continue = not head.is_1_0 and value.lower() == b"100-continue"
    if transfer is not None:
        if head.is_1_0 or transfer.lower().rpartition(b",")[2].strip() != b"chunked":
            raise RefusedError(b"400 Bad Request")
        head.chunked = True
        if length is not None:
            # Both lengths: smuggling is ruled out by giving the connection up.
            head.keep_alive = False
            head.connection = b"connection: close\r\n"
    elif length is not None:
        head.content_length = length


def _split_header(line: bytes) -> tuple[bytes, bytes] | None:
    """Name (in lower case) and value; nothing where the line is no header."""
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    is_header = colon and name and not name.translate(None, _TOKEN)
    if not is_header or value.translate(None, _NOT_IN_VALUE) != value:
        return None
    return name.lower(), value


def _connection(head: Head, value: bytes) -> None:
    options = [option.strip() for option in value.split(b",")]
    if b"close" in options:
        head.keep_alive = False
        head.connection = b"" if head.is_1_0 else b"connection: close\r\n"
    elif b"keep-alive" in options and head.is_1_0:
        head.keep_alive = True
        head.connection = b"connection: keep-alive\r\n"


def _check_beginning(data: bytes) -> None:
    """Refuse at once what can no longer become a request, as hyper does."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        _parse_request_line(line.removesuffix(b"\r"))
    else:
        method, space, rest = line.partition(b" ")
        target, second, version = rest.partition(b" ")
        if (
            method.translate(None, _TOKEN)
            or (space and not method)
            or target.translate(None, _NOT_IN_TARGET) != target
            or (second and not target)
            or not any((v + b"\r").startswith(version) for v in _VERSIONS)
        ):
            raise RefusedError(b"400 Bad Request")
    if len(data) > MAX_HEAD:
        raise RefusedError(b"431 Request Header Fields Too Large")
