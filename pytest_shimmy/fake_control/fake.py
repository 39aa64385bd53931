"""`FakeShimmy`: what a test tells the bundled fake, and asks it afterwards. Needs no pytest.

Strategy: each method makes one rule in the vocabulary of `fake_shimmy.script`, has it checked here
(so that a mistake names the argument), and sends it. Nothing is kept here that the fake knows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from fake_shimmy.script import rules as vocabulary

from ..errors import is_ours
from ..outcomes import (
    Crash,
    Cut,
    Drop,
    Fail,
    Fault,
    Garble,
    Hang,
    Inside,
    Outcome,
    Place,
    Reply,
    Stall,
    Text,
    document_of,
)
from .conditions import RuleConditions, WhenLike, argument_errors, when_document
from .connection import refused
from .journal import RecordedRequest
from .scripts import exits, load_script
from .session import FakeSession

__tracebackhide__ = is_ours

Faults = Sequence[Fault | Mapping[str, Any]]


class RuleOptions(RuleConditions, total=False):
    """Which requests a rule is for, and how many of them."""

    when: WhenLike | None
    """A part of the last user message, a regular expression for it, or a script's ``when``."""
    times: int | None
    """How many requests it answers; default: as often as asked, with several answers once each."""
    seconds: float | None
    """For how long after its first use."""
    chance: float
    """The share of matching requests that it takes; see `FakeSession.seed`."""
    name: str
    """How reports call it."""


class AnswerOptions(RuleOptions, total=False):
    """The same, and when tokens come, in seconds from the complete request."""

    first_token: float
    per_token: float
    jitter: float
    tokens_per_second: float


class Rule:
    """A rule that the fake follows; as a context manager it is removed at the end of the block."""

    def __init__(self, fake: FakeShimmy, id: int) -> None:
        self._fake = fake
        self.id = id

    @property
    def used(self) -> int:
        """How many requests it has answered."""
        used: int = self._counters()["used"]
        return used

    @property
    def left(self) -> int | None:
        """How many more it answers; None when there is no limit."""
        left: int | None = self._counters()["left"]
        return left

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests that it answered, oldest first."""
        return [record for record in self._fake.requests if record.rule == self.id]

    def remove(self) -> None:
        """Follow it no more."""
        self._fake.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<Rule {self.id}>"

    def _counters(self) -> dict[str, Any]:
        for rule in self._fake._counters():
            if rule["id"] == self.id:
                return rule
        raise refused(f"rule {self.id} is there no more: it was removed, or the fake was reset")


class FakeShimmy(FakeSession):
    """Scripts a fake for one API key, and reads what came with it.

    Rules are asked in the order in which they were added; the first that matches and is not used
    up answers. What no rule matches is answered as if there were none. All methods raise
    `ShimmyError` (``CONTROL_FAILED``) for what cannot be meant, and when the fake is gone.
    """

    def reply(
        self, text: Text | None, *, faults: Faults = (), **options: Unpack[AnswerOptions]
    ) -> Rule:
        """Answer with a text, or with a list of tokens."""
        return self._single("reply()", Reply(text, faults), options)

    def answers(self, outcomes: Sequence[Outcome], **options: Unpack[RuleOptions]) -> Rule:
        """Answer in this order, once each: texts, statuses, `Reply`, `Fail`, `Drop`, and so on."""
        if isinstance(outcomes, str) or not isinstance(outcomes, Sequence):
            raise refused(f"answers(): {outcomes!r} is not a list of answers")
        documents = [document_of(outcome) for outcome in outcomes]
        return self._add("answers()", {"answers": documents}, options)

    def fail(
        self,
        failure: int | str = 500,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        faults: Faults = (),
        **options: Unpack[RuleOptions],
    ) -> Rule:
        """Answer with a status, or fail as the real one does: ``model_not_found``,
        ``load_failed``, ``generation_failed``, ``unprocessable``, ``bad_json``,
        ``unsupported_media_type``, ``too_large``."""
        return self._single("fail()", Fail(failure, body, headers, faults), options)

    def drop(
        self,
        after_tokens: int | None = None,
        *,
        how: Cut = "reset",
        at: Place | None = None,
        inside: Inside | None = None,
        after_bytes: int | None = None,
        reply: Text | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Cut the connection: ``reset`` it, ``close`` it in order, ``half_close`` it, or ``end``
        the answer as if nothing were missing."""
        fault = Drop(after_tokens, how, at=at, inside=inside, after_bytes=after_bytes)
        return self._single("drop()", Reply(reply, [fault]), options)

    def stall(
        self,
        seconds: float,
        /,
        after_tokens: int | None = None,
        *,
        at: Place | None = None,
        inside: Inside | None = None,
        after_bytes: int | None = None,
        reply: Text | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Send nothing for so many seconds, then go on."""
        fault = Stall(seconds, after_tokens, at=at, inside=inside, after_bytes=after_bytes)
        return self._single("stall()", Reply(reply, [fault]), options)

    def hang(
        self,
        after_tokens: int | None = None,
        *,
        at: Place | None = None,
        inside: Inside | None = None,
        after_bytes: int | None = None,
        reply: Text | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Send nothing any more, and keep the connection open until the client leaves."""
        fault = Hang(after_tokens, at=at, inside=inside, after_bytes=after_bytes)
        return self._single("hang()", Reply(reply, [fault]), options)

    def garble(
        self,
        how: str,
        after_tokens: int | None = None,
        *,
        at: Place | None = None,
        inside: Inside | None = None,
        after_bytes: int | None = None,
        reply: Text | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Change bytes: ``malformed_event``, ``truncated_json``, ``truncated_event``,
        ``invalid_utf8``, ``content_type``, ``duplicate_done``, ``missing_done``."""
        fault = Garble(how, after_tokens, at=at, inside=inside, after_bytes=after_bytes)
        return self._single("garble()", Reply(reply, [fault]), options)

    def crash(
        self,
        after_tokens: int | None = None,
        *,
        status: int = 1,
        signal: str | None = None,
        at: Place | None = None,
        inside: Inside | None = None,
        after_bytes: int | None = None,
        reply: Text | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """End the server's process in mid-answer, with a status or by a signal ("SIGSEGV")."""
        fault = Crash(after_tokens, status, signal, at=at, inside=inside, after_bytes=after_bytes)
        return self._single("crash()", Reply(reply, [fault]), options)

    def remove(self, rule: Rule) -> None:
        """Follow a rule no more; one that is gone already is no error."""
        if any(known["id"] == rule.id for known in self._counters()):
            self._ask("remove", id=rule.id)
        self._own_rules.discard(rule.id)

    # For all requests

    def latency(
        self,
        first_token: float = 0.0,
        per_token: float = 0.0,
        jitter: float = 0.0,
        tokens_per_second: float = 0.0,
    ) -> None:
        """When tokens come in answers that have no timing of their own."""
        timing = {
            "first_token": first_token,
            "per_token": per_token,
            "jitter": jitter,
            "tokens_per_second": tokens_per_second,
        }
        self._configure("latency()", "latency", timing)

    def load_time(self, seconds: float) -> None:
        """Seconds that each model's first request takes longer, while the model loads."""
        self._configure("load_time()", "load_time", seconds)

    def serialise(self, on: bool = True) -> None:
        """Generate for one request at a time, as the real one's engine does."""
        self._configure("serialise()", "serialise", on)

    @property
    def strict(self) -> bool:
        """A request to generate that no rule matches is refused, and fails the test; and so do
        rules that were not used up."""
        return self._strict

    @strict.setter
    def strict(self, on: bool) -> None:
        self._configure("strict", "strict", on)
        self._strict = on

    def script(self, script: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Begin anew with a whole script: a mapping, or the path of a JSON or TOML file."""
        document = load_script(script)
        if "life" in document:
            raise refused(
                "script(): life: it is for a process from its start; give it to "
                "make_shimmy_server(script=…), or its members to make_shimmy_server(faults=…)."
            )
        if exits(document.get("rules", ())):
            self._want_private("script() with a fault that exits")
        self._open(document)

    # For the process

    def refuse(self, seconds: float) -> None:
        """Stop to listen for so many seconds, so that connections are refused."""
        self._want_private("refuse()")
        self._control.ask("refuse", seconds=seconds)

    def accept(self) -> None:
        """Listen again at once, after `refuse`."""
        self._control.ask("accept")

    def _single(self, method: str, outcome: Outcome, options: Mapping[str, Any]) -> Rule:
        rest = {name: value for name, value in options.items() if value is not None}
        document = document_of(outcome)
        latency = {name: rest.pop(name) for name in TIMING if name in rest}
        if latency:
            document["latency"] = latency
        return self._add(method, document, rest)

    def _add(self, method: str, document: dict[str, Any], options: Mapping[str, Any]) -> Rule:
        given = {name: value for name, value in options.items() if value is not None}
        when = given.pop("when", None)
        conditions: Any = {name: given.pop(name) for name in CONDITIONS if name in given}
        members = {name: given.pop(name) for name in RULE_MEMBERS if name in given}
        if given:
            raise TypeError(f"{method} has no argument {next(iter(given))!r}")
        document = {"when": when_document(when, conditions), **document, **members}
        with argument_errors(method, inside=("faults", 0)):
            vocabulary.read_rule(document)
        if exits([document]):
            self._want_private(method)
        rule = Rule(self, self._ask("add", rule=document)["id"])
        self._own_rules.add(rule.id)
        return rule

    def _configure(self, method: str, member: str, value: object) -> None:
        with argument_errors(method, inside=(member,)):
            vocabulary.read({member: value})
        self._ask("configure", script={member: value})

    def _want_private(self, method: str) -> None:
        if self.api_key:
            raise refused(
                f"{method}: it would end or cut off a server that other tests use too. Start one "
                "for this test alone, and tell that: make_shimmy_server().fake"
            )


CONDITIONS = tuple(RuleConditions.__annotations__)
RULE_MEMBERS = ("times", "seconds", "chance", "name")
TIMING = ("first_token", "per_token", "jitter", "tokens_per_second")
