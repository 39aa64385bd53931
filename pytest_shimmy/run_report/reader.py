"""What the processes of a run have written down, read at its end; see `parts`."""

from __future__ import annotations

import json
import struct
from binascii import a2b_base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .answers import Writes
from .parts import HEAD, NOT_SEEN, NUMBERS

_fixed = struct.Struct(NUMBERS)
_decode = json.JSONDecoder().raw_decode
_JSON = ord("{")

Heads = Mapping[str, Mapping[str, Any]]
"""By their names the lines that say who asked for what: ``session``, ``method``, ``path``,
``headers``, and ``server`` where it is not the one that the part is called after."""


class Exchange:
    """The request and the answer whose line is at ``line`` in a part; their texts begin at
    ``begin``. Raises `LookupError`, `ValueError` or `struct.error` if it is none.

    Times are seconds after the request, but for ``time``, which is since the epoch.
    """

    def __init__(self, part: bytes, line: int, begin: int, heads: Heads) -> None:
        name, ended, packed, *more = part[line : begin - 1].split(b" ", 3)
        self.head = heads[name.decode()]
        self.ended = ended.decode()
        self.more: Mapping[str, Any] = json.loads(more[0]) if more else {}
        """Of a scripted answer: ``rule_name``, ``nearest``, ``faults``."""
        self._numbers = numbers = a2b_base64(packed)
        (
            self.time,
            self.duration,
            status,
            self.tokens,
            kept,
            self.body_size,
            self.bytes,  # of the answer
            kept_of_answer,
            self._writes,
            self._moments,
        ) = _fixed.unpack_from(numbers)
        self.status = status or None
        sent = begin + kept
        self.end = end = sent + kept_of_answer
        """Where its texts end."""
        self.body = part[begin:sent]
        self.answer = part[sent:end]
        self.is_failed = not 0 < status < 400 or self.ended not in ("complete", NOT_SEEN)
        """It was not answered well."""

    def writes(self) -> Writes:
        """What its answer was sent in."""
        count = self._writes
        values = struct.unpack_from(f">{count}f{count}I", self._numbers, _fixed.size)
        return Writes(values[:count], values[count:])

    def moments(self) -> tuple[float, ...]:
        """When each token left."""
        begin = _fixed.size + 8 * self._writes
        return struct.unpack_from(f">{self._moments}f", self._numbers, begin)


def read(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the content of every part."""
    for path in sorted(directory.glob("*.jsonl")):
        yield path.stem, path.read_bytes()


def lines(part: bytes) -> Iterator[dict[str, Any] | Exchange]:
    """What each line of a part says."""
    heads: dict[str, dict[str, Any]] = {}
    begin = 0
    while (end := part.find(b"\n", begin)) >= 0:
        at, begin = begin, end + 1
        # What a process has written that was killed, or had no room, may be half of it.
        try:
            if part[at] != _JSON:
                exchange = Exchange(part, at, begin, heads)
                if part[(end := exchange.end) : end + 1] == b"\n":
                    begin = end + 1
                    yield exchange
                continue
            line, _ = _decode(part[at:end].decode())
            kind = line["kind"]
        except (LookupError, ValueError, struct.error):
            continue
        if kind == HEAD:
            if line["name"] in heads:  # it stands there once for each process that wrote it
                continue
            heads[line["name"]] = line
        yield line
