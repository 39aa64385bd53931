"""A request's head: what hyper takes for one, and what of it matters.

Strategy: :func:`parse` reads a complete head, :func:`check_beginning` looks at an incomplete one.
What hyper accepts (any method token, bare LF, a hundred headers) and where it gives up is part of
the imitation (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

MAX_HEADERS = 100
MAX_URI = 65534
"""Longest request target in bytes."""

MAX_LENGTH = 2**64 - 3
"""Longest body that a head may announce; hyper keeps the two numbers above for itself."""

_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NOT_IN_TARGET = bytes(range(0x21)) + b"\x7f"
_NOT_IN_VALUE = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
_NOT_IN_PATH = b"<>`"
_IN_AUTHORITY = _TOKEN.translate(None, b"^`|") + b"(),:;=@[]"
_NOT_IN_QUERY = b'"<>'
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")


class RefusedError(Exception):
    """Bytes that are no request; ``status`` is the status line's rest, or nothing where hyper
    closes without a word; with bytes ``unread``, which makes the end a reset."""

    def __init__(self, status: bytes, *, unread: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.unread = unread


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
        "first",
        "headers",
        "is_1_0",
        "is_kept",
        "keep_alive",
        "method",
        "path",
        "query",
    )

    def __init__(self, method: bytes, path: bytes, is_1_0: bool) -> None:
        self.method = method
        self.path = path
        self.query = b""
        """What stands behind the path, with its question mark; only recordings ask for it."""
        self.is_1_0 = is_1_0
        self.is_kept = False
        """The next head that is alike will be this very one."""
        self.keep_alive = not is_1_0
        self.connection = b""
        self.content_type: bytes | None = None
        self.content_length = 0
        self.chunked = False
        self.expects_continue = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.first: dict[bytes, bytes] = {}
        """The first value of each header, by its name in lower case."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; ``name`` is in lower case."""
        return self.first.get(name)


# Clients repeat themselves: a head that was just read need not be read again.
_known_heads: dict[bytes, Head] = {}
_KNOWN_HEADS = 256
USUAL_SIZE = 2048
"""Bytes of a head that may be kept."""


def parse(raw: bytes) -> Head:
    """The head in ``raw``, which ends before its last LF; raises :class:`RefusedError`."""
    head = _known_heads.get(raw)
    return _parse(raw) if head is None else head


def _parse(raw: bytes) -> Head:
    lines = raw.split(b"\n")
    head = _parse_request_line(lines[0].removesuffix(b"\r"))
    _parse_headers(head, lines)
    if len(raw) <= USUAL_SIZE:
        if len(_known_heads) >= _KNOWN_HEADS:
            _known_heads.clear()
        _known_heads[raw] = head
        head.is_kept = True
    return head


def _parse_request_line(line: bytes) -> Head:
    method, target, version = _split_request_line(line)
    if len(target) > MAX_URI:
        raise RefusedError(b"414 URI Too Long")
    path, query = _parts_of(target)
    head = Head(method, path, version == b"HTTP/1.0")
    head.query = query
    return head


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


def _parts_of(target: bytes) -> tuple[bytes, bytes]:
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
    path, mark, query = target.partition(b"?")
    if path.translate(None, _NOT_IN_PATH) != path or query.translate(None, _NOT_IN_QUERY) != query:
        raise RefusedError(b"400 Bad Request")
    return path, mark + query


def _parse_headers(head: Head, lines: list[bytes]) -> None:
    if len(lines) > MAX_HEADERS + 1:
        raise RefusedError(b"431 Request Header Fields Too Large")
    length: int | None = None
    transfer: bytes | None = None
    headers = head.headers
    for line in lines[1:]:
        header = split_header(line.removesuffix(b"\r"))
        if header is None:
            raise RefusedError(b"400 Bad Request")
        name, value = header
        headers.append(header)
        head.first.setdefault(name, value)
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


def split_header(line: bytes) -> tuple[bytes, bytes] | None:
    """Name (in lower case) and value; None where the line is no header."""
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


def check_beginning(data: bytes) -> None:
    """Refuse at once what can no longer become a request, as hyper does."""
    line, newline, rest = data.partition(b"\n")
    if newline:
        # What the target means is looked at when the head is complete.
        _split_request_line(line.removesuffix(b"\r"))
        *headers, last = rest.split(b"\n")
        name, colon, value = last.removesuffix(b"\r").partition(b":")
        if (
            any(split_header(header.removesuffix(b"\r")) is None for header in headers)
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
