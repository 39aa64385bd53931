"""What the processes of a run have written down, read at its end; see `parts`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .parts import HEAD, NOT_SEEN

_decode = json.JSONDecoder().raw_decode


class Exchange(NamedTuple):
    """A request and its answer. Times are microseconds after the request, but for `time`."""

    head: Mapping[str, Any]
    """The line that says who asked for what: ``session``, ``method``, ``path``, ``headers``, and
    ``server`` where it is not the one that the part is called after."""
    begin: int
    """Where in the part the request's body begins. The answer follows."""
    time: float
    """Seconds since the epoch."""
    duration: int
    ended: str
    status: int | None
    tokens: int
    kept: int
    """Bytes of the request's body that are there."""
    body_size: int
    bytes: int
    """Of the answer."""
    pieces: list[int]
    """Of each write when it left, and its bytes."""
    moments: list[int]
    """When each token left."""
    more: Mapping[str, Any] = {}
    """Of a scripted answer: ``rule_name``, ``nearest``, ``faults``."""

    @property
    def is_failed(self) -> bool:
        """Whether it was not answered well."""
        is_whole = self.ended in ("complete", NOT_SEEN)
        return not is_whole or self.status is None or self.status >= 400

    @property
    def sent(self) -> int:
        """Where the answer begins."""
        return self.begin + self.kept

    @property
    def end(self) -> int:
        return self.begin + self.kept + sum(self.pieces[1::2])


def read(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the content of every part."""
    for path in sorted(directory.glob("*.jsonl")):
        yield path.stem, path.read_bytes()


def lines(part: bytes) -> Iterator[tuple[int, dict[str, Any] | Exchange]]:
    """Where in a part each line begins, and what it says."""
    text = part.decode("latin-1")  # a character for each byte; lines themselves are ASCII
    heads: dict[Any, dict[str, Any]] = {}
    begin = 0
    while begin < len(text):
        at = begin
        # What a process has written that was killed, or had no room, may be half of it.
        try:
            line, end = _decode(text, begin)
        except ValueError:
            line, end = None, text.find("\n", begin)
            if end < 0:
                break
        begin = end + 1
        if isinstance(line, dict) and "kind" in line:
            if line["kind"] == HEAD:
                if line["name"] in heads:  # it stands there once for each process that wrote it
                    continue
                heads[line["name"]] = line
            yield at, line
        elif isinstance(line, list) and len(line) in (11, 12) and (head := heads.get(str(line[0]))):
            exchange = Exchange(head, begin, *line[1:])
            begin = exchange.end + 1
            if begin > len(text):
                break
            yield at, exchange


def exchange_at(part: bytes, at: int, heads: Mapping[str, Mapping[str, Any]]) -> Exchange:
    """The exchange whose line begins there."""
    begin = part.index(b"\n", at) + 1
    name, *values = json.loads(part[at:begin])
    return Exchange(heads[name], begin, *values)
