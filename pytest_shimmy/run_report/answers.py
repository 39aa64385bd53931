"""What was sent to a client, read again: head, body, and when each of its events left.

`page.html` reads answers in the same way, when they are looked at.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple


class Writes(NamedTuple):
    """What an answer was sent in."""

    moments: Sequence[float]
    """When each left, in seconds after the request."""
    sizes: Sequence[int]
    """Its bytes."""


class Answer(NamedTuple):
    """An answer as a person reads it."""

    headers: str
    text: str
    """The body; of a WebSocket a JSON list of its messages."""
    moments: list[float]
    """Seconds until each event of the body, or message of the list, was whole."""


_TOKEN = re.compile(
    r'"(?:content|text|response|token|reasoning_content|arguments|partial_json)"\s*:\s*"(?!")'
)
"""A member that has a piece of a model's text."""


def events(answer: Answer) -> list[str]:
    """The events of its body, or the messages of its list."""
    if not answer.moments:
        return []
    if not answer.headers:
        messages: list[str] = json.loads(answer.text)
        return messages
    return [text for each in answer.text.split("\n\n") if (text := each.strip("\n"))]


def token_moments(answer: Answer) -> list[float]:
    """When each event with a piece of text came."""
    pairs = zip(answer.moments, events(answer), strict=True)
    return [at for at, text in pairs if _TOKEN.search(text)]


def read(sent: bytes, writes: Writes, status: int | None) -> Answer:
    """The answer in the bytes that were `sent`."""
    if status == 101:
        messages = list(_messages(sent))
        texts = [text for _, text in messages]
        listed = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        return Answer("", listed, _moments(writes, [end for end, _ in messages]))
    head, gap, body = sent.partition(b"\r\n\r\n")
    headers = head.decode("latin-1")
    lowered = headers.lower()
    chunks: _Places | None = None
    if "transfer-encoding: chunked" in lowered:
        body, chunks = _joined(body)
    moments: list[float] = []
    if "content-type: text/event-stream" in lowered:
        ends = _ends_of_events(body)
        if chunks is not None:  # an event is whole when its last chunk is
            ends = _after(ends, chunks)
        start = len(head) + len(gap)
        moments = _moments(writes, [start + end for end in ends])
    return Answer(headers, body.decode("utf-8", "replace"), moments)


class _Places(NamedTuple):
    """Ends in one text, and what belongs to each."""

    ends: list[int]
    values: list[Any]


def _after(offsets: list[int], places: _Places) -> list[Any]:
    """For each offset the value of the first end that it does not exceed, or of the last."""
    ends, values = places
    last = len(ends) - 1
    return [values[min(bisect_left(ends, offset), last)] for offset in offsets]


def _moments(writes: Writes, ends: list[int]) -> list[float]:
    """When the bytes before each of these offsets had left."""
    if not writes.sizes:
        return [0.0] * len(ends)
    return _after(ends, _Places(list(accumulate(writes.sizes)), list(writes.moments)))


def _ends_of_events(body: bytes) -> list[int]:
    ends, end = [], 0
    for event in body.split(b"\n\n"):
        end += len(event) + 2
        if event.strip(b"\n"):
            ends.append(min(end, len(body)))
    return ends


def _joined(raw: bytes) -> tuple[bytes, _Places | None]:
    """The chunks' content, and for the end of each its place in the body and in `raw`."""
    # Nearly always no content has a line end of its own, and none was cut.
    lines = raw.split(b"\r\n")
    sizes, contents = lines[:-1:2], lines[1::2]
    lengths = list(map(len, contents))
    try:
        is_usual = [int(size, 16) for size in sizes] == lengths
    except ValueError:
        is_usual = False
    if not is_usual:
        contents, sizes = _parted(raw)
        lengths = list(map(len, contents))
    if not contents:
        return b"", None
    ends = accumulate([len(one) + each + 4 for one, each in zip(sizes, lengths, strict=True)])
    return b"".join(contents), _Places(list(accumulate(lengths)), list(ends))


def _parted(raw: bytes) -> tuple[list[bytes], list[bytes]]:
    """The content of each chunk, and the line that says its size."""
    contents, sizes = [], []
    begin = 0
    while (end := raw.find(b"\r\n", begin)) >= 0:
        line = raw[begin:end]
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            break
        if size < 0:
            break
        sizes.append(line)
        contents.append(raw[end + 2 : end + 2 + size])
        begin = end + 4 + size
        if not size:
            break
    return contents, sizes


def _messages(raw: bytes) -> Iterator[tuple[int, str]]:
    """The texts in the frames of a WebSocket's server, none of which is masked; where each ends."""
    at = 0
    while at + 2 <= len(raw):
        size, begin = raw[at + 1] & 0x7F, at + 2
        if size == 126:
            size, begin = int.from_bytes(raw[begin : begin + 2]), begin + 2
        elif size == 127:
            size, begin = int.from_bytes(raw[begin : begin + 8]), begin + 8
        if raw[at] & 0x0F == 1:
            yield begin + size, raw[begin : begin + size].decode("utf-8", "replace")
        at = begin + size
