"""What was asked and what became of it, in bounded memory.

Strategy: a record is filled while its answer is played, and given as JSON when asked for. Who
waits for a record is called whenever one begins or ends.
"""

from __future__ import annotations

import time
from collections import deque

from fake_shimmy.stage.patterns import LimitedRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from typing import Any

    from fake_shimmy.stage.known_head import KnownHead

MAX_RECORDS = 1000
"""Records of one journal; older ones are dropped."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of heads, bodies and times in one journal; older records are dropped."""

MAX_SENT = 1024 * 1024
"""Bytes of one answer that are kept, where they are."""

MAX_TIMES = 4096
"""Tokens of one answer whose times are kept."""


class Record(LimitedRequest):
    """A request and its answer. Times are in seconds."""

    id = 0
    rule: int | None = None
    rule_name: str | None = None
    answer: int | None = None
    unmatched = False
    """There are rules, and none of them matched."""
    nearest: object = None
    """Of an unmatched one: the nearest rule and what was different, as ``str`` has it."""
    unexpected = False
    """It is not what the answer that was its turn expects."""
    refusal: str | None = None
    """Why shimmy refuses it."""
    refused_rule: str | None = None
    """The rule that would have answered it."""
    status: int | None = None
    tokens = 0
    schedule: array[float] | tuple[float, ...] = ()
    measured: array[float] | tuple[float, ...] = ()
    duration: float | None = None
    ended: str | None = None
    """``complete``, ``client_left``, ``cut``; None while the answer is on its way."""
    faults: tuple[str, ...] = ()
    sent: tuple[list[float], list[bytes]] | None = None
    """Of each write when it left, after the request, and what; None when no report is written."""
    unfired: tuple[str, ...] = ()
    """What was scripted and did not happen, in words."""
    beyond = False
    """It got an answer that no shimmy gives."""
    _left_at = 0.0
    """When the newest bytes were given away."""

    def __init__(self, known: KnownHead, body: bytes, connection: int) -> None:
        # Not by the other constructor: there is a record of each request.
        self.method, self.path, self.headers = known.method, known.path, known.headers
        self.body = body
        self.connection = connection
        self.time = time.time()
        self.begun = time.monotonic()
        """When the request was complete."""
        self.bytes = 0
        self.weight = len(body) + known.size
        """Bytes that count against the journal's limit."""

    def sends(self, data: bytes) -> None:
        """``data`` is about to leave."""
        if not self.bytes and data[:5] == b"HTTP/":
            digits = data[9:12]
            if digits.isdigit():
                # A status that was cut is none.
                self.status = int(digits) if len(data) > 12 else None
        self._left_at = now = time.monotonic()
        if (sent := self.sent) is not None and self.bytes < MAX_SENT:
            sent[0].append(now - self.begun)
            sent[1].append(data)
        self.bytes += len(data)

    def sends_tokens(self, data: bytes, count: int) -> None:
        """``data`` is about to leave, with ``count`` tokens that are due at once."""
        self.sends(data)
        self.tokens = count
        times = count if count < MAX_TIMES else MAX_TIMES
        self.schedule = (0.0,) * times
        self.measured = (self._left_at - self.begun,) * times

    def end(self, how: str) -> None:
        """The answer is over."""
        self.ended = how
        # The client has the last bytes before this process hears that they were taken.
        over = self._left_at if how == "complete" and self._left_at else time.monotonic()
        self.duration = over - self.begun

    def document(self) -> dict[str, Any]:
        """The record as plain values."""
        return {
            "id": self.id,
            "time": self.time,
            "started": self.begun,
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "body": self.body.decode("utf-8", "surrogateescape"),
            "connection": self.connection,
            "rule": self.rule,
            "rule_name": self.rule_name,
            "answer": self.answer,
            "unmatched": self.unmatched,
            "nearest": None if self.nearest is None else str(self.nearest),
            "unexpected": self.unexpected,
            "refusal": self.refusal,
            "refused_rule": self.refused_rule,
            "status": self.status,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "schedule": list(self.schedule),
            "measured": list(self.measured),
            "duration": self.duration,
            "ended": self.ended,
            "faults": self.faults,
            "unfired": self.unfired,
            "beyond": self.beyond,
        }


class Journal:
    """The records of one session, newest last."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.dropped = 0
        self._count = 0
        self._bytes = 0
        self._listeners: list[Callable[[], None]] = []

    def add(self, record: Record) -> None:
        """Take up ``record``, and drop old ones where there is no room."""
        self._count += 1
        record.id = self._count
        self.records.append(record)
        self._bytes += record.weight
        if self._bytes > MAX_BYTES or self._count - self.dropped > MAX_RECORDS:
            self._drop()
        if self._listeners:
            self._tell()

    def ended(self, record: Record) -> None:
        """``record`` grows no more."""
        times = 8 * (len(record.schedule) + len(record.measured))
        record.weight += times
        if record.id > self.dropped:
            self._bytes += times
        if self._bytes > MAX_BYTES:
            self._drop()
        if self._listeners:
            self._tell()

    def after(self, ident: float) -> list[Record]:
        """The records with higher numbers."""
        # A copy: long requests are written down by another thread.
        return [record for record in tuple(self.records) if record.id > ident]

    def _drop(self) -> None:
        """Drop what is too much."""
        records = self.records
        while len(records) > MAX_RECORDS or (self._bytes > MAX_BYTES and len(records) > 1):
            self._bytes -= records.popleft().weight
            self.dropped += 1

    def _tell(self) -> None:
        """Call those who wait."""
        listeners, self._listeners = self._listeners, []
        for call in listeners:
            call()

    def subscribe(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, at the next change."""
        self._listeners.append(call)
