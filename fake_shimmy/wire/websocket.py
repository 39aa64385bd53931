"""WebSocket as shimmy speaks it: a handshake, one message in, text frames out.

Strategy: sans-IO. The handshake's checks come in the order of the real one's, with its texts.
:class:`MessageReader` finds the first message; the real one hangs up without a word on whatever
is none (a ping, a close, a bad frame), so all of that is one exception here. No close frame is
ever sent. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

import codecs

from fake_shimmy.wire import answers
from fake_shimmy.wire.steps import NoMessageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.wire.head import Head

MAX_FRAME = 16 << 20
"""Longest payload of one frame in bytes."""

MAX_MESSAGE = 64 << 20
"""Longest message in bytes."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_CONTROL = (8, 9, 10)


def refusal(head: Head) -> tuple[bytes, bytes] | None:
    """The status and text that refuse the handshake; None where it is right."""
    if head.method != b"GET":
        return b"405 Method Not Allowed", b"Request method must be `GET`"
    bad = b"400 Bad Request"
    if b"upgrade" not in _header(head, b"connection"):
        return bad, b"Connection header did not include 'upgrade'"
    if _header(head, b"upgrade") != b"websocket":
        return bad, b"`Upgrade` header did not include 'websocket'"
    if _header(head, b"sec-websocket-version") != b"13":
        return bad, b"`Sec-WebSocket-Version` header did not include '13'"
    if head.header(b"sec-websocket-key") is None:
        return bad, b"`Sec-WebSocket-Key` header missing"
    if head.is_1_0:
        text = b"WebSocket request couldn't be upgraded since no upgrade state was present"
        return b"426 Upgrade Required", text
    return None


def _header(head: Head, name: bytes) -> bytes:
    return (head.header(name) or b"").lower()


def acceptance(head: Head, date: bytes, cors: bytes) -> bytes:
    """The answer that completes the handshake."""
    return answers.switch_head(head, accept_key(head), date, cors)


def accept_key(head: Head) -> bytes:
    """What proves that the handshake's key was read."""
    import base64
    import hashlib

    key = head.header(b"sec-websocket-key") or b""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def text_frame(text: str) -> bytes:
    """``text`` as one frame from the server."""
    return frame(text.encode())


def frame(payload: bytes) -> bytes:
    """``payload``, which is meant to be text, as one frame from the server."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


class _Frame:
    """A frame's head. ``size`` is the payload's, in bytes."""

    __slots__ = ("is_final", "mask", "opcode", "reserved", "size")

    def __init__(self, first: int, size: int, mask: bytes | None) -> None:
        self.is_final = bool(first & 0x80)
        self.reserved = first & 0x70
        self.opcode = first & 0x0F
        self.size = size
        self.mask = mask


class MessageReader:
    """Reads the first message of a client, which comes out in UTF-8."""

    __slots__ = ("_decoder", "_frame", "_message", "_opcode")

    def __init__(self) -> None:
        self._frame: _Frame | None = None
        self._opcode: int | None = None
        """Of the message that has begun."""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._message = bytearray()

    def read(self, buffer: bytearray) -> bytes | None:
        """The message, or nothing until more bytes come; raises :class:`NoMessageError`."""
        while True:
            if self._frame is None:
                self._frame = _take_head(buffer)
            frame = self._frame
            if frame is None or len(buffer) < frame.size:
                return None
            payload = bytes(buffer[: frame.size])
            del buffer[: frame.size]
            self._frame = None
            self._add(frame, payload)
            if frame.is_final:
                message = bytes(self._message)
                # What is no UTF-8 in a binary message is replaced, not refused.
                return message.decode("utf-8", "replace").encode()

    def _add(self, frame: _Frame, payload: bytes) -> None:
        if frame.reserved or frame.mask is None or frame.opcode in _CONTROL:
            raise NoMessageError
        if (frame.opcode == _CONTINUATION) != (self._opcode is not None):
            raise NoMessageError
        if self._opcode is None:
            self._opcode = frame.opcode
        if len(self._message) + len(payload) > MAX_MESSAGE:
            raise NoMessageError
        piece = _unmasked(payload, frame.mask)
        self._message += piece
        if self._opcode == _TEXT:
            try:
                self._decoder.decode(piece, frame.is_final)
            except UnicodeDecodeError:
                raise NoMessageError from None


def _take_head(buffer: bytearray) -> _Frame | None:
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    size, end = second & 0x7F, 2
    if size > 125:
        end += 2 if size == 126 else 8
        if len(buffer) < end:
            return None
        size = int.from_bytes(buffer[2:end])
    mask: bytes | None = None
    if second & 0x80:
        mask = bytes(buffer[end : end + 4])
        end += 4
        if len(buffer) < end:
            return None
    frame = _Frame(first, size, mask)
    if frame.opcode not in (_CONTINUATION, _TEXT, _BINARY, *_CONTROL) or size > MAX_FRAME:
        raise NoMessageError
    del buffer[:end]
    return frame


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
