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
_LAST_CHUNK = b"0\r\n\r\n"
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

    @property
    def head_end(self) -> int:
        """Where the answer's head ends; 0 in a piece that has none."""
        if self.offset or self.framing == FRAMES:
            return 0
        end = self.data.find(b"\r\n\r\n")
        return 0 if end < 0 else end + 4

    def payload(self) -> tuple[int, int]:
        """Where the event's or body's own bytes begin and end."""
        data = self.data
        if self.kind == WHOLE:
            return self.head_end, len(data)
        if self.framing == FRAMES:
            return (2 if data[1] < 126 else 4 if data[1] == 126 else 10), len(data)
        end = data.rfind(b"\n\n")
        return data.find(b"data: ") + 6, end if end > 0 else len(data)


def place(at: Position, piece: Piece) -> int | None:
    """How many bytes of ``piece`` come before the position; None where it is elsewhere."""
    if at.bytes is not None:
        here = at.bytes - piece.offset
        return here if 0 <= here < len(piece.data) else None
    if at.place is not None:
        return _named(at.place, piece)
    wanted = at.tokens or 0
    if at.inside is not None:
        # A token without such a character leaves it to the next one that has it.
        is_late = at.inside == "character" and piece.tokens > wanted
        is_there = piece.kind == TOKEN and (piece.tokens == wanted or is_late)
        return _within(at.inside, piece) if is_there or piece.kind == WHOLE else None
    if piece.kind == WHOLE:
        begin, end = piece.payload()
        return (begin + end) // 2 if wanted else begin
    return 0 if piece.kind in (TOKEN, CLOSING) and piece.tokens == wanted else None


def _named(name: str, piece: Piece) -> int | None:
    if name in ("end", "done", "after"):
        size = len(piece.data)
        if piece.kind == WHOLE:
            return size - 1 if name == "end" else size
        if piece.kind != CLOSING:
            return None
        is_chunked = name == "done" and piece.framing == CHUNKS
        return 0 if name == "end" else size - len(_LAST_CHUNK) if is_chunked else size
    if piece.offset:
        return None
    end = piece.head_end
    return {"start": 0, "headers": end // 2, "body": end}[name]


def _within(inside: str, piece: Piece) -> int | None:
    begin, end = piece.payload()
    if inside == "event":
        return (begin + end) // 2 if piece.kind == WHOLE else len(piece.data) // 2
    if inside == "json":
        return (begin + end) // 2
    if inside == "newlines":
        return end + 1 if piece.data[end : end + 2] == b"\n\n" else len(piece.data) - 1
    return next((at + 1 for at in range(begin, end) if piece.data[at] >= 0xC0), None)


def place_of_end(fault: Fault, piece: Piece) -> int | None:
    """Where in ``piece`` the answer ends in order because of the fault; None where it goes on.
    A truncated event is such an end."""
    if fault.do == "end":
        return place(fault.at, piece)
    if fault.how != "truncated_event" or not _is_hit(fault, piece):
        return None
    is_event = piece.kind == TOKEN and piece.framing != FRAMES
    return _within("newlines" if is_event else "json", piece)


def ended(piece: Piece, at: int) -> tuple[bytes, bool]:
    """The piece, such that the answer ends in order after its first ``at`` bytes, and whether
    the connection has to be closed for that."""
    data, begin = piece.data, piece.head_end
    if at < max(begin, not piece.offset):
        return data[:at], True
    if piece.framing == CHUNKS:
        return data[:begin] + _first_bytes(data[begin:], at - begin) + b"0\r\n\r\n", False
    if piece.kind == WHOLE and piece.framing == BODY:
        return _with_payload(piece, data[begin:at]), False
    if piece.framing == FRAMES:
        begin = piece.payload()[0]
        return _with_payload(piece, data[begin:at]) if at > begin else b"", True
    return data[:at], True


def _first_bytes(chunks: bytes, at: int) -> bytes:
    """What the first ``at`` bytes of ``chunks`` hold, in whole chunks."""
    kept, position = b"", 0
    while position < at:
        begin = chunks.find(b"\r\n", position) + 2
        end = begin + int(chunks[position : begin - 2], 16)
        if at <= begin or begin == end:
            break
        kept += sse.frame(chunks[begin : min(at, end)], chunked=True)
        position = end + 2
    return kept


def garbled(fault: Fault, piece: Piece) -> bytes | None:
    """``piece`` with the fault's damage; None where it does not belong there."""
    how = fault.how
    if how == "content_type":
        return _other_type(piece)
    if how in ("duplicate_done", "missing_done"):
        return _other_end(piece, 2 if how == "duplicate_done" else 0)
    if how == "truncated_event" or not _is_hit(fault, piece):
        return None
    if how == "invalid_utf8":
        return _not_utf8(piece)
    if piece.kind == WHOLE or piece.framing == FRAMES:
        begin, end = piece.payload()
        return _with_payload(piece, _half(piece.data[begin:end]))
    event = _event(piece)
    if how == "malformed_event":
        damaged = b"dat " + event.removeprefix(b"data: ").replace(b"\ndata: ", b"\ndat ")
    else:
        damaged = b"data: " + _half(event[6:-2]) + b"\n\n"
    return sse.frame(damaged, piece.framing == CHUNKS)


def _is_hit(fault: Fault, piece: Piece) -> bool:
    """Whether it is this piece whose bytes are to be damaged."""
    wanted = fault.at.tokens or 0
    if piece.kind != TOKEN:
        return piece.kind == WHOLE
    # A token without text leaves it to the next one that has some.
    return piece.tokens == wanted or (fault.how == "invalid_utf8" and piece.tokens > wanted)


def _half(payload: bytes) -> bytes:
    """The first half, such that characters stay whole."""
    return payload[: len(payload) // 2].decode("utf-8", "ignore").encode()


def _event(piece: Piece) -> bytes:
    if piece.framing != CHUNKS:
        return piece.data
    return piece.data[piece.data.find(b"\r\n") + 2 : -2]


def _other_type(piece: Piece) -> bytes | None:
    name = b"\r\ncontent-type: "
    data = piece.data
    begin = data.find(name, 0, piece.head_end)
    if begin < 0:
        return None
    begin += len(name)
    return data[:begin] + b"text/html" + data[data.find(b"\r\n", begin) :]


def _other_end(piece: Piece, times: int) -> bytes | None:
    if piece.kind != CLOSING:
        return None
    if piece.framing == FRAMES:
        return piece.data * times
    marker = sse.frame(_DONE, piece.framing == CHUNKS)
    return piece.data.replace(marker, marker * times) if marker in piece.data else None


def _not_utf8(piece: Piece) -> bytes | None:
    data = piece.data
    begin, end = piece.payload()
    for text in _TEXTS:
        found = data.find(text, begin, end)
        if found >= 0:
            begin = found + len(text)
            break
    first = data[begin : begin + 1]
    if begin >= end or first in (b'"', b"\n"):
        return None
    # Half of an escape sequence would be broken JSON as well.
    size = 2 if first == b"\\" else 1
    return data[:begin] + b"\xff" * size + data[begin + size :]


def _with_payload(piece: Piece, payload: bytes) -> bytes:
    """Another payload, in a frame or after a head that says its size."""
    if piece.framing == FRAMES:
        from fake_shimmy.wire.websocket import frame

        return frame(payload)
    begin, end = piece.payload()
    old, new = b"content-length: %d\r\n" % (end - begin), b"content-length: %d\r\n" % len(payload)
    return piece.data[:begin].replace(old, new) + payload
