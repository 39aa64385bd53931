"""The bytes of a stream: events framed in any way that server-sent events allow.

Strategy: what is unusual is a set of flags, so that a failure shrinks to the flags that it needs.
Every event knows where it ends in the body, so that a cut at any byte knows what was said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntFlag
from itertools import islice
from typing import NamedTuple

from .events import Event


class Style(IntFlag):
    """What no shimmy does to the events of a stream, and a proxy or another server may."""

    PLAIN = 0
    CRLF = 1
    """Lines end in CR LF."""
    NO_SPACE = 2
    """``data:{…}`` without the space."""
    COMMENTS = 4
    """A comment before each event, as servers send to keep a connection open."""
    FIELDS = 8
    """Each event has an ``id`` and a ``retry`` too."""
    SPREAD = 16
    """JSON is spread over several lines of ``data:``."""
    MARK = 32
    """The body begins with a byte order mark."""


class Framed(NamedTuple):
    """An event's bytes."""

    data: bytes
    text: str
    """What it adds to the text that a client shows."""


def framed(events: Sequence[Event], style: Style) -> list[Framed]:
    """Each event's bytes, comments before it included."""
    if style is Style.PLAIN:
        return [Framed(_plain(event), event.text) for event in events]
    end = "\r\n" if style & Style.CRLF else "\n"
    is_tight, has_comments, has_fields, is_spread = (
        bool(style & each) for each in (Style.NO_SPACE, Style.COMMENTS, Style.FIELDS, Style.SPREAD)
    )
    found = []
    for number, event in enumerate(events):
        lines = [": keep-alive", ""] if has_comments else []
        if has_fields:
            lines += [f"id: {number}", "retry: 1000"]
        if event.name is not None:
            lines.append(f"event: {event.name}")
        data = event.data
        if is_spread and data.startswith("{"):
            data = "{\n" + data[1:]
        # A space at the beginning of data can only follow one that is none.
        field = "data:" if is_tight and not data.startswith(" ") else "data: "
        lines += [field + line for line in data.split("\n")]
        text = end.join([*lines, "", ""])
        if style & Style.MARK and not number:
            text = "\ufeff" + text
        found.append(Framed(text.encode(), event.text))
    return found


def _plain(event: Event) -> bytes:
    """As shimmy frames it."""
    name = f"event: {event.name}\n" if event.name is not None else ""
    lines = event.data.replace("\n", "\ndata: ")
    return f"{name}data: {lines}\n\n".encode()


_INSIDE_CHARACTER = re.compile(rb"[\x80-\xbf]")
# Each branch begins with a letter, which is what lets it pass over long texts quickly.
_ELSEWHERE = re.compile(rb'\r(?<!\n\r)(?=\n)|\n(?=\r?\n)|dat(?=a:)|\[DO(?=NE\])|\{|"(?=\})')
_ENOUGH = 500
"""Places of a kind; a huge token has thousands inside its characters."""


def places(body: bytes) -> list[int]:
    """Offsets in a body at which a reader is easily wrong: first those inside a character of
    several bytes; then inside the end of a line or of an event, inside a field's name, inside the
    end marker, after the beginning and before the end of an object.

    They are counted, and a count means the same in a shorter body as long as what comes before is
    of another kind: so a failure shrinks.
    """
    inside = [each.start() for each in islice(_INSIDE_CHARACTER.finditer(body), _ENOUGH)]
    return inside + [each.end() for each in islice(_ELSEWHERE.finditer(body), _ENOUGH)]


def cut(body: bytes, offsets: Sequence[int]) -> list[bytes]:
    """The body in pieces that end at these offsets; none is empty."""
    ends = sorted({offset for offset in offsets if 0 < offset < len(body)})
    starts = [0, *ends]
    return [body[start:end] for start, end in zip(starts, [*ends, len(body)], strict=True) if body]


def told_within(events: Sequence[Framed], size: int) -> str:
    """The text of the events of which everything but the last line ends is in the first `size`
    bytes."""
    said, start = "", 0
    for event in events:
        if start + len(event.data.rstrip(b"\r\n")) > size:
            break
        said += event.text
        start += len(event.data)
    return said


def whole_from(events: Sequence[Framed]) -> int:
    """From how many bytes on the end of the last event, which says that all is said, is there."""
    before = sum(len(event.data) for event in events[:-1])
    return before + len(events[-1].data.rstrip(b"\r\n"))


def shortened(events: Sequence[Framed], size: int) -> list[Framed]:
    """The events, as far as the first `size` bytes go."""
    found = []
    for event in events:
        if size <= 0:
            break
        found.append(event._replace(data=event.data[:size]))
        size -= len(event.data)
    return found
