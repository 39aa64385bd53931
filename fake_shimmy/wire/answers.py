"""The heads of answers, byte for byte as axum and hyper write them.

Strategy: one function per kind of answer, each a join of constant lines; the order of the lines is
part of the imitation (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.wire.head import Head, RefusedError


def answer(
    request: Head, status: bytes, body: bytes, date: bytes, cors: bytes, allow: bytes = b""
) -> bytes:
    """A whole answer. ``status`` is the status line's rest plus the headers that come before the
    CORS ones, which are ``cors``; ``allow`` the value of that header."""
    length = b"content-length: %d\r\n" % len(body)
    return b"".join(
        (
            b"HTTP/1.0 " if request.is_1_0 else b"HTTP/1.1 ",
            status,
            cors,
            b"allow: %b\r\n" % allow if allow else b"",
            # The length of an empty body is hyper's doing and comes last; hyper lets HEAD be.
            length + request.connection
            if body or request.method == b"HEAD"
            else request.connection + length,
            b"date: ",
            date,
            b"\r\n\r\n",
            b"" if request.method == b"HEAD" else body,
        )
    )


def no_content(request: Head, date: bytes, cors: bytes, allow: bytes = b"") -> bytes:
    """A whole answer that has no body, and no length either."""
    return b"".join(
        (
            b"HTTP/1.0 " if request.is_1_0 else b"HTTP/1.1 ",
            b"204 No Content\r\n",
            cors,
            b"allow: %b\r\n" % allow if allow else b"",
            request.connection,
            b"date: ",
            date,
            b"\r\n\r\n",
        )
    )


def cors_of(origin: bytes) -> bytes:
    """The header lines that let pages of ``origin`` read an answer (seen on 2.6.5)."""
    return (
        b"access-control-allow-origin: %b\r\n"
        b"vary: Origin\r\n"
        b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
        b"access-control-allow-headers: Content-Type, Authorization, X-Api-Key, Anthropic-Version"
        b"\r\naccess-control-max-age: 600\r\n"
    ) % origin


def stream_head(request: Head, date: bytes, cors: bytes) -> bytes:
    """The head of an event stream: chunked, or up to the end of an HTTP/1.0 connection, which
    must be cut after it whatever ``connection`` says."""
    return b"".join(
        (
            b"HTTP/1.0 " if request.is_1_0 else b"HTTP/1.1 ",
            b"200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n",
            cors,
            request.connection,
            b"" if request.is_1_0 else b"transfer-encoding: chunked\r\n",
            b"date: ",
            date,
            b"\r\n\r\n",
        )
    )


def switch_head(request: Head, accept: bytes, date: bytes, cors: bytes) -> bytes:
    """The head after which the connection is a WebSocket."""
    return b"".join(
        (
            b"HTTP/1.1 101 Switching Protocols\r\n",
            b"connection: upgrade\r\n" if request.keep_alive else request.connection,
            b"upgrade: websocket\r\nsec-websocket-accept: ",
            accept,
            b"\r\n",
            cors,
            b"date: ",
            date,
            b"\r\n\r\n",
        )
    )


def refusal(previous: Head | None, error: RefusedError, date: bytes) -> bytes:
    """Hyper's own answer to what is no request; nothing of shimmy's is in it, and the version is
    that of the ``previous`` request of the connection."""
    if not error.status:
        return b""
    is_1_0 = previous is not None and previous.is_1_0
    return b"".join(
        (
            b"HTTP/1.0 " if is_1_0 else b"HTTP/1.1 ",
            error.status,
            b"\r\n" if is_1_0 else b"\r\nconnection: close\r\n",
            b"content-length: 0\r\ndate: ",
            date,
            b"\r\n\r\n",
        )
    )
