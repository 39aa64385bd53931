"""The playing of one answer: when its pieces leave, what damages them, and what is written down.

Strategy: a generator around the answer's steps. Marks from the model layer tell tokens from the
rest. Times are kept against the moment when the request was complete, so delays do not add up, and
a delay of zero is no pause at all.
"""

from __future__ import annotations

import time
from array import array

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
    Upgrade,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from random import Random

    from fake_shimmy.script.rules import Fault, Latency, Position
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.steps import Step, Steps


class Player:
    """One answer on its way: its clock, its position, and the faults that are to come."""

    def __init__(self, request: ScriptedRequest, latency: Latency) -> None:
        self._request = request
        self._record = record = request.record
        record.schedule = self._schedule = array("d")
        record.measured = self._measured = array("d")
        self._latency = latency
        self._faults = list(request.faults)
        self._random: Random | None = None
        self._due = 0.0
        self._has_begun = False

    def play(self, steps: Steps) -> Iterator[Step]:
        """``steps`` as the client is to get them."""
        return self._guarded(self._play(steps))

    def _guarded(self, played: Iterator[Step]) -> Iterator[Step]:
        try:
            yield from played
        except Exception:
            # What the real one does not survive either.
            self._request.end("cut")
            raise

    def _play(self, steps: Steps) -> Iterator[Step]:
        request = self._request
        is_whole = isinstance(steps, tuple)
        self._due = yield from request.turn()
        kind = damage.OPENING
        if is_whole:
            kind = damage.WHOLE
            for _ in range(request.total):
                self._schedule_token()
            if not request.total and request.failure is not None:
                # A failure comes when the first token would.
                self._due += self._interval(self._latency.first_token)
            if (wait := self._time_left()) > 0:
                yield Pause(wait)
        yield from self._pass_on(steps, kind, is_whole)

    def _pass_on(self, steps: Steps, kind: str, is_whole: bool) -> Iterator[Step]:
        record = self._record
        framing = self._request.framing(is_whole)
        for step in steps:
            if isinstance(step, bytes):
                if self._faults:
                    piece = Piece(step, kind, framing, record.bytes, record.tokens)
                    if (yield from self._pass(piece)):
                        return
                else:
                    yield self._counted(step, kind)
                if kind == damage.TOKEN:
                    kind = damage.OPENING
            elif step is TOKEN:
                kind = damage.TOKEN
                self._schedule_token()
                if self._due and (wait := self._time_left()) > 0:
                    yield Pause(wait)
            elif step is END:
                kind = damage.CLOSING
            elif isinstance(step, Cut):
                # Either all was said, or the real one gives up here.
                is_over = kind == damage.CLOSING or (is_whole and record.bytes)
                how = "complete" if is_over else "cut"
                yield self._last_note(how)
                yield step
                return
            elif isinstance(step, Upgrade):
                yield self._interrupted(step)
                return
            else:
                yield step
        yield self._last_note("complete")

    def _interrupted(self, step: Upgrade) -> Upgrade:
        """The rest of the answer waits for what the client says."""

        def go_on(message: bytes) -> Steps:
            rest = step.answer(message)
            if self._due:
                self._due = time.monotonic() - self._record.begun
            return self._guarded(self._pass_on(rest, damage.OPENING, is_whole=False))

        return Upgrade(step.read, go_on)

    def _counted(self, data: bytes, kind: str) -> bytes:
        """``data``, which completes a piece of that kind."""
        record = self._record
        record.sends(data)
        count = self._request.total if kind == damage.WHOLE else int(kind == damage.TOKEN)
        if count:
            record.tokens += count
            room = MAX_TIMES - len(self._measured)
            if room > 0:
                now = time.monotonic() - record.begun
                self._measured.extend([now] * min(count, room))
        return data

    def _schedule_token(self) -> None:
        """Say when the next token is due."""
        latency = self._latency
        seconds = latency.per_token if self._has_begun else latency.first_token
        self._has_begun = True
        self._due += self._interval(seconds) if latency.jitter else seconds
        if len(self._schedule) < MAX_TIMES:
            self._schedule.append(self._due)

    def _time_left(self) -> float:
        return self._due - (time.monotonic() - self._record.begun)

    def _interval(self, seconds: float) -> float:
        jitter = self._latency.jitter
        if not jitter:
            return seconds
        if self._random is None:
            self._random = self._request.session.random("jitter", self._request.use)
        return max(0.0, seconds + self._random.uniform(-jitter, jitter))

    def _pass(self, piece: Piece) -> Generator[Step, None, bool]:
        """``piece`` with its faults; whether they ended the answer."""
        record = self._record
        self._garble(piece)
        ending, is_closing = self._end_early(piece)
        sent = 0
        for at, fault in self._due_in(piece):
            self._faults.remove(fault)
            record.faults += (_told(fault),)
            if at > sent:
                yield self._sent(piece, sent, at)
                sent = at
            if fault.do == "stall":
                yield Pause(fault.seconds)
            elif fault.do == "hang":
                # The end of this is the client's.
                yield Hang()
            else:
                yield self._last_note("complete" if fault.at.place == "after" else "cut")
                yield _step_of(fault)
                return True
        if ending is None:
            if sent < len(piece.data) or not piece.data:
                yield self._sent(piece, sent, len(piece.data))
            return False
        self._faults.remove(ending)
        record.faults += (_told(ending),)
        rest = piece.data[sent:]
        record.sends(rest)
        if rest:
            yield rest
        yield self._last_note("cut")
        if is_closing:
            yield Cut()
        return True

    def _sent(self, piece: Piece, begin: int, end: int) -> bytes:
        """A part of ``piece``, which is counted with its last byte."""
        data = piece.data[begin:end]
        if end == len(piece.data):
            return self._counted(data, piece.kind)
        self._record.sends(data)
        return data

    def _last_note(self, how: str) -> Step:
        """The end of the answer; what has not happened by now does not."""
        self._record.unfired += (*map(_told, self._faults),)
        return self._note_of_end(how)

    def _note_of_end(self, how: str) -> Step:
        return Sent(lambda: self._request.end(how))

    def _garble(self, piece: Piece) -> None:
        for fault in [fault for fault in self._faults if fault.do == "garble"]:
            damaged = damage.garbled(fault, piece)
            if damaged is not None:
                self._faults.remove(fault)
                self._record.faults += (_told(fault),)
                piece.data = damaged

    def _end_early(self, piece: Piece) -> tuple[Fault | None, bool]:
        """The fault by which the answer ends in ``piece``, which then is its last one, and
        whether the connection ends with it."""
        found = ((damage.place_of_end(fault, piece), fault) for fault in self._faults)
        ends = [(at, fault) for at, fault in found if at is not None]
        if not ends:
            return None, False
        at, fault = min(ends, key=_where_in_piece)
        piece.data, is_closing = damage.ended(piece, at)
        return fault, is_closing

    def _due_in(self, piece: Piece) -> list[tuple[int, Fault]]:
        """What else happens in ``piece``, in the order of the places."""
        found = (
            (damage.place(fault.at, piece), fault)
            for fault in self._faults
            if fault.do not in ("garble", "end")
        )
        return sorted(((at, each) for at, each in found if at is not None), key=_where_in_piece)


def _where_in_piece(found: tuple[int, Fault]) -> int:
    return found[0]


def _step_of(fault: Fault) -> Step:
    """The step of a fault that ends an answer."""
    if fault.do == "exit":
        return Exit(_status_of_death(fault))
    steps: dict[str, Step] = {"reset": Reset(), "close": Cut(), "half_close": HalfClose()}
    return steps[fault.do]


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
            "done": "after the end marker",
            "after": "after the answer",
        }[at.place]
    count = f"after {at.tokens} token{'s' * (at.tokens != 1)}"
    return count if at.inside is None else f"{count}, inside the {at.inside}"
