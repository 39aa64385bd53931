"""Where in an answer's bytes a fault is, and what damaged bytes look like.

Strategy: pure functions over one piece of an answer: its head with what comes first, one token's
event, what closes it, or all of it. A piece knows how it is framed, so that damage to an event
leaves the chunk around it whole.
"""

from __future__ import annotations

from fake_shimmy.wire import sse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.script.rules import Fault, Position

OPENING, TOKEN, CLOSING, WHOLE = "opening", "token", "closing", "whole"
"""The kinds of pieces."""

CHUNKS, LINES, FRAMES, BODY = "chunks", "lines", "frames", "body"
"""How pieces are framed: events in HTTP chunks, bare events, WebSocket frames, one body."""

_DONE = b"data: [DONE]\n\n"
_TEXTS = (b'"content":"', b'"text":"', b'"response":"')


class Piece:
    """Bytes of an answer that belong together, ``offset`` bytes after the answer's first, when
    ``tokens`` tokens have been told."""

    __slots__ = ("data", "framing", "kind", "offset", "tokens")

    def __init__(self, data: bytes, kind: str, framing: str, offset: int, tokens: int) -> None:
        self.data = data
        self.kind = kind
        self.framing = framing
        self.offset = offset
        self.tokens = tokens

    def payload(self) -> tuple[int, int]:
        """Where the event's or body's own bytes begin and end."""
        data = self.data
        if self.kind == WHOLE:
            return _end_of_head(data), len(data)
        if self.framing == FRAMES:
            return (2 if data[1] < 126 else 4 if data[1] == 126 else 10), len(data)
        end = data.rfind(b"\n\n")
        return data.find(b"data: ") + 6, end if end > 0 else len(data)


def place(at: Position, piece: Piece) -> int | None:
    """How many bytes of ``piece`` come before the position; nothing where it is elsewhere."""
    size = len(piece.data)
    if at.bytes is not None:
        here = at.bytes - piece.offset
        return here if 0 <= here < size else None
    if at.place == "end":
        if piece.kind == CLOSING:
            return 0
        return size - 1 if piece.kind == WHOLE else None
    if at.place is not None:
        if piece.offset:
            return None
        end = _end_of_head(piece.data)
        return {"start": 0, "headers": end // 2, "body": end}[at.place]
    if at.inside is not None:
        return _inside(at, piece)
    if piece.kind == WHOLE:
        begin, end = piece.payload()
        return (begin + end) // 2 if at.tokens else begin
    is_there = piece.kind in (TOKEN, CLOSING) and piece.tokens == at.tokens
    return 0 if is_there else None


def _inside(at: Position, piece: Piece) -> int | None:
    if piece.kind not in (TOKEN, WHOLE) or piece.tokens < (at.tokens or 0):
        return None if piece.kind != WHOLE else _within(at.inside, piece)
    if at.inside != "character" and piece.tokens > (at.tokens or 0):
        return None
    return _within(at.inside, piece)


def _within(inside: str | None, piece: Piece) -> int | None:
    begin, end = piece.payload()
    if inside == "event":
        return (begin + end) // 2 if piece.kind == WHOLE else len(piece.data) // 2
    if inside == "json":
        return (begin + end) // 2
    if inside == "newlines":
        return end + 1 if piece.data[end : end + 2] == b"\n\n" else len(piece.data) - 1
    # A token without such a character leaves it to the next one that has it.
    return next((at + 1 for at in range(begin, end) if piece.data[at] >= 0xC0), None)


def garbled(fault: Fault, piece: Piece) -> bytes | None:
    """``piece`` with the fault's damage; nothing where it does not belong there."""
    how, at = fault.how, fault.at
    if how == "content_type":
        return None if piece.offset else _other_type(piece.data)
    if how in ("duplicate_done", "missing_done"):
        return _other_end(piece, 2 if how == "duplicate_done" else 0)
    wanted = at.tokens or 0
    if piece.kind not in (TOKEN, WHOLE) or (piece.kind == TOKEN and piece.tokens < wanted):
        return None
    if how == "invalid_utf8":
        return _not_utf8(piece)
    if piece.kind == TOKEN and piece.tokens > wanted:
        return None
    if piece.kind == WHOLE or piece.framing == FRAMES:
        return _shorter(piece)
    event = _event(piece)
    if how == "malformed_event":
        damaged = event.replace(b"data: ", b"dat ", 1)
    elif how == "truncated_json":
        damaged = event[: max(6, len(event) // 2)] + b"\n\n"
    else:
        damaged = event[:-1]
    return sse.frame(damaged, piece.framing == CHUNKS)


def ended(piece: Piece, at: int) -> bytes:
    """The piece's first ``at`` bytes, such that the body can end in order after them."""
    if piece.framing != CHUNKS or not at or piece.kind == OPENING:
        return piece.data[:at]
    begin = piece.data.find(b"\r\n") + 2
    return sse.frame(piece.data[begin:at], chunked=True) if at > begin else b""


def _end_of_head(data: bytes) -> int:
    end = data.find(b"\r\n\r\n")
    return 0 if end < 0 else end + 4


def _event(piece: Piece) -> bytes:
    if piece.framing != CHUNKS:
        return piece.data
    return piece.data[piece.data.find(b"\r\n") + 2 : -2]


def _other_type(data: bytes) -> bytes:
    name = b"\r\ncontent-type: "
    begin = data.find(name)
    if begin < 0:
        return data
    begin += len(name)
    return data[:begin] + b"text/html" + data[data.find(b"\r\n", begin) :]


def _other_end(piece: Piece, times: int) -> bytes | None:
    if piece.framing == FRAMES:
        return piece.data * times if piece.data.endswith(b'{"done":true}') else None
    marker = sse.frame(_DONE, piece.framing == CHUNKS)
    if piece.kind != CLOSING or marker not in piece.data:
        return None
    return piece.data.replace(marker, marker * times)


def _not_utf8(piece: Piece) -> bytes | None:
    data = piece.data
    begin, end = piece.payload()
    for text in _TEXTS:
        found = data.find(text, begin, end)
        if found >= 0:
            begin = found + len(text)
            if data[begin : begin + 1] == b'"':
                return None
            break
    return None if begin >= end else data[:begin] + b"\xff" + data[begin + 1 :]


def _shorter(piece: Piece) -> bytes:
    """Half of the payload, in a frame or head that says so."""
    begin, end = piece.payload()
    half = piece.data[begin : (begin + end) // 2]
    if piece.kind != WHOLE:
        from fake_shimmy.wire.websocket import frame

        return frame(half)
    old, new = b"content-length: %d\r\n" % (end - begin), b"content-length: %d\r\n" % len(half)
    return piece.data[:begin].replace(old, new) + half
