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

MAX_LENGTH = 2**64 - 3
"""Longest body that a head may announce; hyper keeps the two numbers above for itself."""

MAX_EXTRAS = 16 * 1024
"""Bytes of a body's chunk extensions that are refused, and likewise of its trailers."""

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEX = b"0123456789abcdefABCDEF"
_NOT_IN_TARGET = bytes(range(0x21)) + b"\x7f"
_NOT_IN_VALUE = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
_NOT_IN_PATH = b"<>`"
_IN_AUTHORITY = _TOKEN.translate(None, b"^`|") + b"(),:;=@[]"
_NOT_IN_QUERY = b'"<>'
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
PREFACE = 24
"""Bytes of the preface by which HTTP/2 begins."""

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
        "_is_first",
        "_is_trailer_wrong",
        "_left",
        "_looked_at",
        "_skipped",
        "_trailer_bytes",
        "_trailers",
        "buffer",
    )

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._is_first = True
        self._looked_at = 0
        """Bytes of an incomplete head in which no mistake was found."""
        self._skipped = 0
        """Bytes of the empty lines before it."""
        self._body = bytearray()
        self._left = 0
        self._chunk_state = 0
        self._chunk_left = 0
        self._extension_bytes = self._trailer_bytes = self._trailers = 0
        self._is_trailer_wrong = False

    def read_head(self) -> Head | None:
        """The next request's head, or nothing until more bytes come."""
        buffer = self.buffer
        if not buffer:
            return None
        self._skip_empty_lines()
        if not buffer or buffer == b"\r":
            return None
        if buffer[:3] == b"PRI" and _HTTP2_PREFACE.startswith(buffer[:PREFACE]):
            if len(buffer) < PREFACE:
                return None
            raise RefusedError(b"")
        end, length = self._find_end()
        window = PREFACE - self._skipped
        if self._is_first and not self._looked_at and min(len(buffer), length) > window:
            self._look_at(max(1, window))
        if self._looked_at and not self._has_usual_end():
            self._look_at(0)
            return None
        if end < 0:
            self._look_at(len(buffer))
            return None
        self._is_first = False
        self._looked_at = self._skipped = 0
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
        self._is_trailer_wrong = False
        return head

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
        limit = usual + 1 if usual >= 0 else len(buffer)
        lone, mixed = buffer.find(b"\n\n", 0, limit), buffer.find(b"\n\r\n", 0, limit)
        if lone >= 0 and not 0 <= mixed < lone:
            return lone, lone + 2
        if mixed >= 0:
            return mixed, mixed + 3
        return (usual + 1, usual + 4) if usual >= 0 else (-1, 1 << 30)

    def _has_usual_end(self) -> bool:
        seen = max(0, self._looked_at - 3)
        find = self.buffer.find
        return find(b"\r\n\r\n", seen) >= 0 or find(b"\n\n", seen) >= 0

    def _look_at(self, size: int) -> None:
        """Refuse what can be no head by its first ``size`` bytes, or is too long for one.

        Hyper looks closely once: at what is there when a request begins, and at the beginning of a
        connection only at the bytes that may be the preface of HTTP/2. After that it waits for one
        of the usual ends of a head.
        """
        if size > 0:
            _check_beginning(bytes(self.buffer[:size]))
        self._looked_at = size or len(self.buffer)
        if self._skipped + len(self.buffer) > MAX_HEAD:
            raise RefusedError(b"431 Request Header Fields Too Large")

    def read_body(self, limit: int) -> bytes | int | None:
        """The whole body; nothing until more bytes come; :data:`BODY_BROKEN`; or, where it
        is longer than ``limit`` bytes, ``limit``."""
        body = self._body
        complete = self._fill()
        if len(body) > limit:
            return limit
        if complete is None:
            return BODY_BROKEN
        return bytes(body) if complete else None

    def skip_body(self) -> bool:
        """Drop what there is of the body; whether that was all of it."""
        complete = self._fill()
        self._body.clear()
        return bool(complete)

    def _fill(self) -> bool | None:
        """Move body bytes out of the buffer; nothing where the framing is wrong."""
        if self._chunk_state == _BROKEN:
            return None
        if self._chunk_state != _PLAIN:
            complete = self._fill_chunked()
            if complete is None:
                self._chunk_state = _BROKEN
            return complete
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
            self._chunk_left = int(size.lstrip(b"0") or b"0", 16)
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
                return None if self._is_trailer_wrong else True
            self._trailers += 1
            if self._trailers > MAX_HEADERS:
                return None
            # Told only when all have been read.
            bare = line.rstrip(b"\n")
            self._is_trailer_wrong |= bool(bare) and _split_header(bare) is None


def _begins_size(line: bytes) -> bool:
    """Whether the beginning of a line may become a chunk's size: hyper gives up at once."""
    size = line.partition(b";")[0].rstrip(b"\r").rstrip(b" \t")
    return not line or (bool(size) and not size.translate(None, _HEX))


_PLAIN, _SIZE, _DATA, _TRAILER, _DONE, _BROKEN = range(6)


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
    method, target, version = _split_request_line(line)
    if len(target) > MAX_URI:
        raise RefusedError(b"414 URI Too Long")
    return Head(method, _path_of(target), version == b"HTTP/1.0")


def _split_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if (
        not method
        or not target
        or version not in _VERSIONS
        or method.translate(None, _TOKEN)
        or target.translate(None, _NOT_IN_TARGET) != target
        or not _is_utf8(target)
    ):
        raise RefusedError(b"400 Bad Request")
    return method, target, version


def _path_of(target: bytes) -> bytes:
    if target[:1] != b"/" and target != b"*":
        scheme, separator, rest = target.partition(b"://")
        if not separator:
            scheme, rest = b"x", target
        # Absolute form: only the path counts. Without a scheme there is none.
        authority = rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
        if (
            not scheme.translate(None, b"+-.").isalnum()
            or not authority
            or authority.translate(None, _IN_AUTHORITY)
            or (not separator and authority != rest)
        ):
            raise RefusedError(b"400 Bad Request")
        if separator:
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
        if length > MAX_LENGTH:
            raise RefusedError(b"431 Request Header Fields Too Large")
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
    # Of several such headers each may change what was said before.
    head.keep_alive = b"keep-alive" in options if not head.keep_alive else b"close" not in options
    if head.keep_alive == head.is_1_0:
        head.connection = b"connection: keep-alive\r\n" if head.is_1_0 else b"connection: close\r\n"
    else:
        head.connection = b""


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_beginning(data: bytes) -> None:
    """Refuse at once what can no longer become a request, as hyper does."""
    line, newline, rest = data.partition(b"\n")
    if newline:
        # What the target means is looked at when the head is complete.
        _split_request_line(line.removesuffix(b"\r"))
        *headers, last = rest.split(b"\n")
        name, colon, value = last.removesuffix(b"\r").partition(b":")
        if (
            any(_split_header(header.removesuffix(b"\r")) is None for header in headers)
            or name.translate(None, _TOKEN)
            or (colon and not name)
            or value.translate(None, _NOT_IN_VALUE) != value
        ):
            raise RefusedError(b"400 Bad Request")
    else:
        method, space, rest = line.partition(b" ")
        target, second, version = rest.partition(b" ")
        if (
            method.translate(None, _TOKEN)
            or (space and not method)
            or target.translate(None, _NOT_IN_TARGET) != target
            or (second and not (target and _is_utf8(target)))
            or not any((v + b"\r").startswith(version) for v in _VERSIONS)
        ):
            raise RefusedError(b"400 Bad Request")
