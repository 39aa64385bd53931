"""The playing of one answer: when its pieces leave, what damages them, and what is written down.

Strategy: a generator around the answer's steps. Marks from the model layer tell tokens from the
rest. Times are kept against the moment when the request was complete, so delays do not add up, and
a delay of zero is no pause at all.
"""

from __future__ import annotations

import time

from fake_shimmy.stage import damage
from fake_shimmy.stage.damage import Piece
from fake_shimmy.stage.journal import MAX_TIMES
from fake_shimmy.wire.steps import (
    END,
    TOKEN,
    Cut,
    Exit,
    HalfClose,
    Hang,
    Pause,
    Reset,
    Sent,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from fake_shimmy.script.rules import Fault, Latency, Position
    from fake_shimmy.stage.exchange import Exchange
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.wire.steps import Step, Steps


_ENDS: dict[str, Step] = {"reset": Reset(), "close": Cut(), "half_close": HalfClose()}


def status_of(answer: bytes) -> int | None:
    """The status in an answer's first line."""
    digits = answer[9:12]
    return int(digits) if answer.startswith(b"HTTP/") and digits.isdigit() else None


class Player:
    """One answer on its way: its clock, its position, and the faults that are to come."""

    def __init__(
        self, exchange: Exchange, record: Record, latency: Latency, faults: list[Fault], use: str
    ) -> None:
        self._exchange = exchange
        self._record = record
        self._latency = latency
        self._faults = list(faults)
        self._use = use
        self._random: Random | None = None
        self._due = 0.0
        self._has_begun = False
        self._ends_early = False

    def play(self, steps: Steps) -> Iterator[Step]:
        """``steps`` as the client is to get them."""
        exchange, record = self._exchange, self._record
        is_whole = isinstance(steps, tuple)
        yield from exchange.turn()
        kind = damage.OPENING
        if is_whole:
            kind = damage.WHOLE
            yield from self._wait_for_tokens(exchange.total)
        framing = exchange.framing(is_whole)
        for step in steps:
            if isinstance(step, bytes):
                yield from self._pass(Piece(step, kind, framing, record.bytes, record.tokens))
                if record.ended is not None:
                    return
                if kind == damage.TOKEN:
                    record.tokens += 1
                    kind = damage.OPENING
            elif step is TOKEN:
                kind = damage.TOKEN
                yield from self._wait_for_tokens(1)
            elif step is END:
                kind = damage.CLOSING
            else:
                yield step
        if is_whole:
            record.tokens = exchange.total
        yield Sent(lambda: exchange.end("complete"))

    def _wait_for_tokens(self, count: int) -> Iterator[Step]:
        """The steps until the next ``count`` tokens are due."""
        record = self._record
        latency = self._latency
        for _ in range(count):
            seconds = latency.per_token if self._has_begun else latency.first_token
            self._has_begun = True
            self._due += self._interval(seconds)
            if len(record.schedule) < MAX_TIMES:
                record.schedule.append(self._due)
        if self._due:
            wait = self._due - (time.monotonic() - record.begun)
            if wait > 0:
                yield Pause(wait)
        for _ in range(count):
            if len(record.measured) < len(record.schedule):
                record.measured.append(time.monotonic() - record.begun)

    def _interval(self, seconds: float) -> float:
        jitter = self._latency.jitter
        if not jitter:
            return seconds
        if self._random is None:
            self._random = self._exchange.session.random("jitter", self._use)
        return max(0.0, seconds + self._random.uniform(-jitter, jitter))

    def _pass(self, piece: Piece) -> Iterator[Step]:
        """``piece`` with its faults."""
        record = self._record
        if record.status is None:
            record.status = status_of(piece.data)
        if not self._faults:
            record.bytes += len(piece.data)
            yield piece.data
            return
        self._garble(piece)
        sent = 0
        found = ((damage.place(fault.at, piece), fault) for fault in self._faults)
        here = [(at, fault) for at, fault in found if at is not None and fault.do != "garble"]
        for at, fault in sorted(here, key=lambda pair: pair[0]):
            self._faults.remove(fault)
            record.faults.append(_told(fault))
            is_end = fault.do == "end" and not sent
            data = damage.ended(piece, at) if is_end else piece.data[sent:at]
            if data:
                record.bytes += len(data)
                yield data
            sent = at
            yield from self._act(fault, piece)
            if record.ended is not None:
                return
        record.bytes += len(piece.data) - sent
        if piece.data[sent:]:
            yield piece.data[sent:]
        if self._ends_early:
            yield from self._end(piece)

    def _garble(self, piece: Piece) -> None:
        for fault in list(self._faults):
            damaged = damage.garbled(fault, piece) if fault.do == "garble" else None
            if damaged is not None:
                self._faults.remove(fault)
                self._record.faults.append(_told(fault))
                piece.data = damaged
                self._ends_early = fault.how == "truncated_event"

    def _act(self, fault: Fault, piece: Piece) -> Iterator[Step]:
        """The steps of a fault whose place has come."""
        exchange = self._exchange
        if fault.do == "stall":
            yield Pause(fault.seconds)
        elif fault.do == "hang":
            # The end of this is the client's.
            yield Hang()
        else:
            exchange.end("cut")
            if fault.do == "end":
                yield from self._end(piece)
            elif fault.do == "exit":
                yield Exit(_status_of_death(fault))
            else:
                yield _ENDS[fault.do]

    def _end(self, piece: Piece) -> Iterator[Step]:
        self._exchange.end("cut")
        if piece.framing == damage.CHUNKS and self._record.bytes:
            yield b"0\r\n\r\n"
        else:
            yield Cut()


def _status_of_death(fault: Fault) -> int:
    if fault.signal is None:
        return fault.status
    import signal

    return -signal.Signals[fault.signal]


def _told(fault: Fault) -> str:
    """A fault in words."""
    what = fault.do
    if fault.how is not None:
        what += f" {fault.how}"
    if fault.do == "stall":
        what += f" {fault.seconds:g} s"
    return f"{what} {_where(fault.at)}"


def _where(at: Position) -> str:
    if at.bytes is not None:
        return f"after {at.bytes} bytes"
    if at.place is not None:
        return {
            "start": "before the headers",
            "headers": "in the headers",
            "body": "after the headers",
            "end": "after the last token",
        }[at.place]
    count = f"after {at.tokens} token{'s' * (at.tokens != 1)}"
    return count if at.inside is None else f"{count}, inside the {at.inside}"
