"""What was sent to a client, read again: head, body, events, and when each of them left."""

from __future__ import annotations

import re
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

Pieces = Sequence[tuple[float, int]]
"""When each write left, and its bytes."""


class Answer(NamedTuple):
    """An answer as a person reads it."""

    headers: str
    text: str
    """The body; empty for a stream of events."""
    events: list[tuple[float, str]]
    """Seconds after the request, and the text of each event or WebSocket message."""


_TOKEN = re.compile(
    r'"(?:content|text|response|token|reasoning_content|arguments|partial_json)"\s*:\s*"(?!")'
)
"""A member that has a piece of a model's text."""


def token_moments(answer: Answer) -> list[float]:
    """When each event with a piece of text came."""
    return [at for at, text in answer.events if _TOKEN.search(text)]


class _Clock:
    """When the byte at an offset of what was sent left."""

    def __init__(self, pieces: Pieces) -> None:
        self._times = [at for at, _ in pieces]
        self._ends: list[int] = []
        total = 0
        for _, size in pieces:
            total += size
            self._ends.append(total)

    def at(self, offset: int) -> float:
        if not self._times:
            return 0.0
        return self._times[min(bisect_left(self._ends, offset), len(self._times) - 1)]


def read(sent: str, pieces: Pieces, status: int | None) -> Answer:
    """The answer in `sent`, base64 of the bytes that left."""
    raw, clock = b64decode(sent), _Clock(pieces)
    if status == 101:
        return Answer("", "", list(_messages(raw, clock)))
    head, gap, _ = raw.partition(b"\r\n\r\n")
    start = len(head) + len(gap)
    headers = head.decode("latin-1")
    lowered = headers.lower()
    if "transfer-encoding: chunked" in lowered:
        body, offsets = _joined(raw, start)
    else:
        body, offsets = raw[start:], None
    if "content-type: text/event-stream" not in lowered:
        return Answer(headers, body.decode("utf-8", "replace"), [])
    events = []
    begin = 0
    while begin < len(body):
        end = body.find(b"\n\n", begin)
        stop = len(body) if end < 0 else end + 2
        place = start + stop if offsets is None else _offset(offsets, stop)
        text = body[begin:stop].decode("utf-8", "replace").strip("\n")
        if text:
            events.append((clock.at(place), text))
        begin = stop
    return Answer(headers, "", events)


def _joined(raw: bytes, start: int) -> tuple[bytes, list[tuple[int, int]]]:
    """The chunks' content, and for the end of each its place in the body and in `raw`."""
    body = bytearray()
    ends = []
    while True:
        end = raw.find(b"\r\n", start)
        try:
            size = int(raw[start:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            break
        if size < 0:
            break
        start = end + 2
        body += raw[start : start + size]
        start = min(start + size, len(raw))
        ends.append((len(body), start))
        start += 2
        if not size or start >= len(raw):
            break
    return bytes(body), ends


def _offset(ends: list[tuple[int, int]], place: int) -> int:
    """Where the body's byte before `place` is in what was sent, to the end of its chunk."""
    index = bisect_left(ends, (place, 0))
    return ends[min(index, len(ends) - 1)][1] if ends else 0


def _messages(raw: bytes, clock: _Clock) -> Any:
    """The frames of a WebSocket's server: none is masked."""
    at = 0
    while at + 2 <= len(raw):
        size, begin = raw[at + 1] & 0x7F, at + 2
        if size == 126:
            size, begin = int.from_bytes(raw[begin : begin + 2]), begin + 2
        elif size == 127:
            size, begin = int.from_bytes(raw[begin : begin + 8]), begin + 8
        if raw[at] & 0x0F == 1:
            yield clock.at(begin + size), raw[begin : begin + size].decode("utf-8", "replace")
        at = begin + size
