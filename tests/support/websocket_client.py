"""A WebSocket client that can do everything wrong, for the tests of the server's side."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.support.fake_process import Running

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HEADERS = {
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": KEY,
}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x01\x02\x03\x04"


def handshake(
    headers: dict[bytes, bytes] = HEADERS,
    *more: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
) -> bytes:
    lines = [b"%b /ws/generate %b" % (method, version)]
    lines += [b"%b: %b" % header for header in headers.items()]
    return b"\r\n".join([*lines, *more]) + b"\r\n\r\n"


def frame(
    payload: bytes,
    opcode: int = TEXT,
    final: bool = True,
    mask: bytes = MASK,
    reserved: int = 0,
) -> bytes:
    size = len(payload)
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + mixed.to_bytes(size, "big")


def texts(raw: bytes) -> list[bytes]:
    """The payloads of the text frames that a server sent, and of nothing else."""
    found = []
    while raw:
        assert raw[0] == 0x81
        size, start = raw[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(raw[2:start], "big")
        assert size < 1 << 63
        found.append(raw[start : start + size])
        raw = raw[start + size :]
    return found


def said(server: Running, *frames: bytes) -> list[bytes]:
    """What the server says after an upgrade and ``frames``, until it closes."""
    raw = server.send(handshake() + b"".join(frames))
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return texts(rest)


@contextlib.contextmanager
def upgraded(server: Running) -> Iterator[socket.socket]:
    """A connection after its upgrade."""
    with server.connect() as sock:
        sock.sendall(handshake())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        yield sock
