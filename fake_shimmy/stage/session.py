"""What one test process has scripted, and what it has been asked.

Strategy: a session has its own copy of the base script's counters, so no session sees another.
Chance and jitter grow from the seed, the rule and the count of uses, so they do not depend on the
order in which concurrent requests are played.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from collections import deque

from fake_shimmy.script.matching import differences, matcher
from fake_shimmy.stage.journal import Journal
from fake_shimmy.stage.patterns import LimitedRequest
from fake_shimmy.wire.steps import Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from random import Random
    from typing import Any

    from fake_shimmy.script.matching import Difference
    from fake_shimmy.script.rules import Answer, Latency, Rule, Script
    from fake_shimmy.stage.exchange_log import ExchangeLog
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.stage.known_head import KnownHead
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.shared_journal import SharedJournal
    from fake_shimmy.wire.steps import Step


class RuleState:
    """A rule and how far it is used up."""

    __slots__ = (
        *("asked", "conditions", "ends", "first_used", "id", "is_for", "name", "rule", "slow"),
        "used",
    )

    def __init__(self, rule: Rule, ident: int) -> None:
        self.rule = rule
        self.conditions = rule.when.conditions
        self.is_for = matcher(self.conditions)
        """Whether a request is what it wants."""
        self.id = ident
        self.name = rule.name or f"rule {ident}"
        """How reports call it."""
        self.used = 0
        self.asked = 0
        """How often chance was asked."""
        self.first_used: float | None = None
        self.slow: str | None = None
        """Its regular expression that took too long; it is asked no more."""
        self.ends = rule.times is not None or rule.seconds is not None
        """It may be over at some time."""

    @property
    def left(self) -> int | None:
        """How many more requests it answers; None where there is no limit."""
        return None if self.rule.times is None else self.rule.times - self.used

    def is_over(self, now: float) -> bool:
        """Whether it answers nothing any more."""
        if self.first_used is None:
            return self.slow is not None
        rule = self.rule
        return (
            self.slow is not None
            or (rule.times is not None and self.used >= rule.times)
            or (rule.seconds is not None and now > self.first_used + rule.seconds)
        )

    def document(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "id": self.id,
            "name": self.name,
            "used": self.used,
            "left": self.left,
            "slow": self.slow,
        }


class Nearest:
    """What was nearest to being matched; made into words when they are asked for."""

    __slots__ = ("_missed", "_text")

    def __init__(self, text: str, missed: Sequence[Difference] = ()) -> None:
        self._text = text
        self._missed = missed

    def __str__(self) -> str:
        return self._text + "; ".join(map(str, self._missed))


class Choice:
    """The answer that a request gets: the ``number``-th use of a rule. ``missed`` is in what the
    request is not as the answer expects, so that it does not get it."""

    __slots__ = ("answer", "index", "missed", "number", "state")

    def __init__(
        self, state: RuleState, answer: Answer, index: int, missed: list[Difference]
    ) -> None:
        self.state = state
        self.answer = answer
        self.index = index
        self.missed = missed
        self.number = state.used

    def complaint(self) -> Nearest:
        """What was missed."""
        return Nearest(f"{self.state.name}, answer {self.index + 1}: ", self.missed)


class Session:
    """The script, the counters and the journal of one ``key``. What ends is also written to
    ``log``, if there is one, and what begins and ends is told to ``shared``."""

    def __init__(
        self,
        base: Script,
        script: Script,
        key: str = "",
        log: ExchangeLog | None = None,
        shared: SharedJournal | None = None,
    ) -> None:
        own = script is not base
        self.seed = _first(script.seed, base.seed)
        if self.seed is None:
            self.seed = int.from_bytes(os.urandom(4))
        self.is_random = False
        """Whether the seed has mattered."""
        self.strict = script.strict or base.strict
        self.latency: Latency = script.latency if script.latency.is_timed else base.latency
        self.load_time = script.load_time or base.load_time
        self.serialise = script.serialise or base.serialise
        self.journal = Journal()
        self.strays_before = 0
        """How many requests without a session had come to the server before this one began."""
        self.replay: Replay | None = None
        """The recordings that answer where no rule does; None: the application does."""
        self._key = key
        self._log = log
        self._shared = shared
        # Long bodies are looked into aside, by another thread.
        self._lock = allocate_lock()
        self._next_id = 1
        self._calls = 0
        self.rules: list[RuleState] = []
        """In the order in which they are asked: those of the base script last."""
        self.opening: list[RuleState] = []
        """Those for paths that shimmy need not have."""
        self.lenient: list[RuleState] = []
        """Those that answer what shimmy refuses."""
        self._loaded: dict[str, float] = {}
        self._generating: object | None = None
        self._queue: deque[Callable[[], None]] = deque()
        own_rules = [RuleState(rule, self._new_id()) for rule in (script.rules if own else ())]
        self._own_count = len(own_rules)
        self._set_rules(own_rules + [RuleState(rule, self._new_id()) for rule in base.rules])

    def next_call(self) -> int:
        """The number of the next call of a tool, from 1."""
        self._calls += 1
        return self._calls

    def answers_refused(self, known: KnownHead) -> bool:
        """Whether a rule may answer a request for that path although shimmy refuses it."""
        return _may_answer(self.lenient, known)

    def opens(self, known: KnownHead) -> bool:
        """Whether a rule may answer a request for that path although shimmy has no such route."""
        return _may_answer(self.opening, known)

    def add(self, rule: Rule) -> int:
        """Ask ``rule`` after the session's others; returns its number."""
        state = RuleState(rule, self._new_id())
        at = self._own_count
        self._own_count += 1
        self._set_rules([*self.rules[:at], state, *self.rules[at:]])
        return state.id

    def remove(self, ident: int) -> bool:
        """Ask a rule no more; whether there was one."""
        own = self.rules[: self._own_count]
        kept = [state for state in own if state.id != ident]
        base = self.rules[self._own_count :]
        self._own_count = len(kept)
        self._set_rules(kept + base)
        return len(kept) < len(own)

    def configure(self, script: Script, given: set[str]) -> None:
        """Take over the members of ``script`` that were ``given``."""
        for name in given & {"strict", "latency", "load_time", "serialise"}:
            setattr(self, name, getattr(script, name))

    def choose(self, request: LimitedRequest, rules: list[RuleState]) -> Choice | None:
        """The answer for ``request``, which is thereby used, of these ``rules``."""
        with self._lock:
            now = time.monotonic()
            request.slow = None
            for state in rules:
                if state.ends and state.is_over(now):
                    continue
                is_match = state.is_for(request)
                if request.slow is not None:
                    # Its own test is told; the others are to wait for it no more.
                    state.slow, request.slow = request.slow, None
                    state.ends = True
                rule = state.rule
                if not is_match or (rule.chance < 1 and not self._happens(state)):
                    continue
                answers = rule.answers
                index = state.used % len(answers)
                answer = answers[index]
                expected = answer.expect
                missed = [] if expected is None else differences(expected.conditions, request)
                if not missed:
                    state.used += 1
                    if state.first_used is None:
                        state.first_used = now
                return Choice(state, answer, index, missed)
        return None

    def first_match(self, request: LimitedRequest) -> str | None:
        """The rule that would answer ``request``, chance aside."""
        now = time.monotonic()
        for state in self.rules:
            if not state.is_over(now) and state.is_for(request):
                return state.name
        return None

    def nearest(self, request: LimitedRequest) -> Nearest:
        """The rule that ``request`` misses by least, and by what."""
        if not self.rules:
            return Nearest("there is no rule")
        found = [
            (
                state,
                [] if state.slow is not None else differences(state.conditions, request),
            )
            for state in self.rules
        ]
        state, missed = min(found, key=_number_of_differences)
        if state.slow is not None:
            return Nearest(f"{state.name}: to search for {state.slow!r} took too long")
        if missed:
            return Nearest(f"{state.name}: ", missed)
        is_over = state.is_over(time.monotonic())
        reason = "is used up" if is_over else "did not happen by chance"
        return Nearest(f"{state.name} matches, but {reason}")

    def begin(self, record: Record) -> None:
        """Take up ``record`` in the journal."""
        if self._log is not None:
            record.sent = ([], [])
        with self._lock:
            self.journal.add(record)
            if self._shared is not None:
                self._shared.begin(self)

    def end(self, record: Record, who: object) -> None:
        """The answer of ``record`` is over, and ``who`` generates no more."""
        if self._generating is who:
            self._end_turn()
        with self._lock:
            self.journal.ended(record)
            if self._shared is not None:
                self._shared.end(self, record.document())
            if self._log is not None:
                self._log.write(self._key, record)
                record.sent = None  # the journal keeps records, and needs no answers

    def random(self, *what: object) -> Random:
        """Chance for one purpose, the same whenever the seed is."""
        from random import Random

        self.is_random = True
        return Random(":".join(map(str, (self.seed, *what))))

    def load_until(self, model: str) -> float:
        """When ``model`` is loaded, of the monotonic clock; its first request begins the load."""
        return self._loaded.setdefault(model, time.monotonic() + self.load_time)

    def take_turn(self, who: object) -> Generator[Step, None, bool]:
        """The steps until ``who`` may generate; whether it had to wait."""
        has_waited = False
        while self._generating is not None and self._generating is not who:
            has_waited = True
            yield Wait(self._queue.append)
        self._generating = who
        return has_waited

    def _end_turn(self) -> None:
        """Let those who wait generate."""
        self._generating = None
        # All of them: the first to come may have left. They queue again in the same order.
        queue, self._queue = self._queue, deque()
        for call in queue:
            call()

    def _set_rules(self, rules: list[RuleState]) -> None:
        """Ask these rules. What can be said of them without a request is found out here."""
        self.rules = rules
        # Who scripts answers that no shimmy gives tests code for another server.
        validates = not any(state.rule.is_beyond for state in rules)
        self.opening = [state for state in rules if state.rule.when.opens]
        self.lenient = [
            state
            for state in rules
            if not (validates if state.rule.validate is None else state.rule.validate)
        ]

    def _happens(self, state: RuleState) -> bool:
        state.asked += 1
        return self.random("chance", state.id, state.asked).random() < state.rule.chance

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def _number_of_differences(found: tuple[RuleState, list[Difference]]) -> int:
    return len(found[1])


def _may_answer(rules: list[RuleState], known: KnownHead) -> bool:
    """Whether any of these may be for a request with that head."""
    request = LimitedRequest(known.method, known.path, known.headers, b"")
    return any(matcher(state.rule.when.about_path)(request) for state in rules)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
