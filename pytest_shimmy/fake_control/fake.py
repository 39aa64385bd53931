"""`FakeShimmy`: what a test tells the bundled fake, and asks it afterwards. Needs no pytest.

Strategy: each method makes one rule in the vocabulary of `fake_shimmy.script`, has it checked here
(so that a mistake names the argument), and sends it. Nothing is kept here that the fake knows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, Unpack, get_args, overload

from fake_shimmy.script import rules as vocabulary
from fake_shimmy.script.shapes import SECONDS

from ..errors import UnknownArgumentError, is_ours, misused
from ..outcomes import (
    Crash,
    Cut,
    Damage,
    Drop,
    Fail,
    Fault,
    Garble,
    Hang,
    Outcome,
    RealFailure,
    Reply,
    Stall,
    Text,
    ToolCall,
    document_of,
)
from .conditions import argument_errors, expectation, when_document
from .connection import refused
from .journal import RecordedRequest
from .rule_options import (
    CONDITIONS,
    POSITION,
    RULE_MEMBERS,
    SAID,
    TIMING,
    AnswerOptions,
    FaultOptions,
    Faults,
    RuleOptions,
    TimedOptions,
    given_of,
    position_of,
)
from .scripts import check_fidelity, exits, load_script
from .session import FakeSession, judges

__tracebackhide__ = is_ours


class Playable(Protocol):
    """What can be played: it says with which script."""

    def script(self) -> Mapping[str, Any]:
        """The script."""


class Rule:
    """A rule that the fake follows; as a context manager it is removed at the end of the block."""

    def __init__(self, fake: FakeShimmy, id: int) -> None:
        self._fake = fake
        self.id = id
        """Its number in the session; `RecordedRequest.rule` names it."""

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
        """Remove it from the fake."""
        self._fake.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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

    Rules are tried in the order in which they were added; the first that matches and is not used
    up answers. What no rule matches is answered as if there were none. All methods raise
    `ShimmyUsageError` for invalid arguments, and `ShimmyError` (``CONTROL_FAILED``) when the
    fake is gone.
    """

    def reply(
        self, text: Text | None = None, *, faults: Faults = (), **options: Unpack[AnswerOptions]
    ) -> Rule:
        """Answer with a text, or with a list of tokens; and with what else a model can say."""
        return self._single("reply()", {"text": text, "faults": faults}, options)

    def tool_call(
        self,
        name: str,
        arguments: Any = None,
        /,
        *,
        id: str | None = None,
        whole: bool = False,
        faults: Faults = (),
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Call one of the client's tools, which no shimmy does; for several at once there is
        ``reply(tool_calls=[…])``, for a conversation ``answers([ToolCall(…), "text"])``."""
        calls = [ToolCall(name, arguments, id=id, whole=whole)]
        return self._single("tool_call()", {"tool_calls": calls, "faults": faults}, options)

    def embeddings(
        self,
        vectors: int | Sequence[Sequence[float]] = 8,
        *,
        faults: Faults = (),
        **options: Unpack[AnswerOptions],
    ) -> Rule:
        """Answer ``/v1/embeddings``, which no shimmy has: with these vectors, or so many
        dimensions, where the same text has the same vector, and texts that share words are near
        each other."""
        self._elsewhere(options, "embeddings")
        return self._single("embeddings()", {"embeddings": vectors, "faults": faults}, options)

    def events(
        self, events: Sequence[Any], *, faults: Faults = (), **options: Unpack[AnswerOptions]
    ) -> Rule:
        """Answer with these events and nothing else: texts, JSON values, `Event`; bytes are sent
        as they are. A token, to timing and faults, is an event."""
        return self._single("events()", {"events": events, "faults": faults}, options)

    def answers(self, outcomes: Sequence[Outcome], **options: Unpack[RuleOptions]) -> Rule:
        """Answer in this order, once each: texts, statuses, `ToolCall`, `Reply`, `Fail`, `Drop`,
        and so on."""
        if isinstance(outcomes, str) or not isinstance(outcomes, Sequence):
            raise misused(f"answers(): {outcomes!r} is not a list of answers")
        documents = [document_of(outcome) for outcome in outcomes]
        return self._add("answers()", {"answers": documents}, options)

    def fail(
        self,
        failure: int | RealFailure = 500,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        faults: Faults = (),
        **options: Unpack[TimedOptions],
    ) -> Rule:
        """Answer with a status, or fail as the real one does: ``model_not_found``,
        ``load_failed``, ``generation_failed``, ``unprocessable``, ``bad_json``,
        ``unsupported_media_type``, ``too_large``. A failure comes when the first token would."""
        rest = given_of(options)
        timing: Any = {name: rest.pop(name) for name in TIMING if name in rest}
        outcome = Fail(failure, body, headers, faults, **timing)
        return self._add("fail()", document_of(outcome), rest)

    def drop(
        self,
        after_tokens: int | None = None,
        *,
        how: Cut = "reset",
        **options: Unpack[FaultOptions],
    ) -> Rule:
        """Cut the connection: ``reset`` it, ``close`` it in order, ``half_close`` it, or ``end``
        the answer as if nothing were missing."""
        if how not in get_args(Cut):
            raise misused(f"drop(): how: {how!r} is not one of: {', '.join(get_args(Cut))}")
        return self._fault("drop()", Drop(after_tokens, how, **position_of(options)), options)

    def stall(
        self,
        seconds: float,
        /,
        after_tokens: int | None = None,
        **options: Unpack[FaultOptions],
    ) -> Rule:
        """Send nothing for so many seconds, then go on."""
        return self._fault("stall()", Stall(seconds, after_tokens, **position_of(options)), options)

    def hang(self, after_tokens: int | None = None, **options: Unpack[FaultOptions]) -> Rule:
        """Send nothing any more, and keep the connection open until the client leaves."""
        return self._fault("hang()", Hang(after_tokens, **position_of(options)), options)

    def garble(
        self, how: Damage, after_tokens: int | None = None, **options: Unpack[FaultOptions]
    ) -> Rule:
        """Change bytes: ``malformed_event``, ``truncated_json``, ``truncated_event``,
        ``invalid_utf8``, ``content_type``, ``duplicate_done``, ``missing_done``."""
        return self._fault("garble()", Garble(how, after_tokens, **position_of(options)), options)

    @overload
    def crash(
        self,
        after_tokens: int | None = None,
        *,
        status: int | None = None,
        **options: Unpack[FaultOptions],
    ) -> Rule: ...
    @overload
    def crash(
        self,
        after_tokens: int | None = None,
        *,
        signal: str,
        **options: Unpack[FaultOptions],
    ) -> Rule: ...
    def crash(
        self,
        after_tokens: int | None = None,
        *,
        status: int | None = None,
        signal: str | None = None,
        **options: Unpack[FaultOptions],
    ) -> Rule:
        """End the server's process in mid-answer, with a status (default: 1) or by a signal
        ("SIGSEGV")."""
        if status is not None and signal is not None:
            raise misused("crash(): status and signal contradict each other: give one of them")
        fault = Crash(after_tokens, 1 if status is None else status, signal, **position_of(options))
        return self._fault("crash()", fault, options)

    def remove(self, rule: Rule) -> None:
        """Remove a rule. One that is removed already is no error."""
        if not isinstance(rule, Rule):
            raise misused(f"remove(): {rule!r} is not a rule, as reply() and the others return it")
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
        """Timing of tokens, in seconds, for answers that have none of their own."""
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
        """Reset, then follow a whole script: a mapping, or the path of a JSON or TOML file."""
        self._follow("script()", load_script(script))

    def play(self, played: Playable) -> Rule:
        """Begin anew with what a strategy gave (see `pytest_shimmy.strategies`), for the requests
        that come from now on; the rule has what became of it."""
        script = getattr(played, "script", None)
        if not callable(script):
            raise misused(f"play(): {played!r} was not made by a strategy")
        self._follow("play()", script())  # what is wrong with one of another origin, the fake says
        return Rule(self, 1)

    def _follow(self, method: str, document: Mapping[str, Any]) -> None:
        if self.strict_fidelity:
            check_fidelity(method, vocabulary.read(dict(document)).rules)
        if "life" in document:
            raise misused(
                f"{method}: life: it is for a process from its start; give it to "
                "make_shimmy_server(script=…), or its members to make_shimmy_server(faults=…)."
            )
        if exits(document.get("rules", ())):
            self._want_private(f"{method} with a fault that exits")
        self._open(document)

    # For the process

    def refuse(self, seconds: float) -> None:
        """Refuse new connections for this many seconds."""
        self._want_private("refuse()")
        with argument_errors("refuse()"):
            SECONDS.read(seconds, ("seconds",))
        self._control.ask("refuse", seconds=seconds)

    def accept(self) -> None:
        """Listen again at once, after `refuse`."""
        self._control.ask("accept")

    def _fault(self, method: str, fault: Fault, options: FaultOptions) -> Rule:
        rest = {name: value for name, value in options.items() if name not in POSITION}
        return self._single(method, {"text": rest.pop("reply", None), "faults": [fault]}, rest)

    def _single(self, method: str, says: Mapping[str, Any], options: Mapping[str, Any]) -> Rule:
        """One answer that `says` this, with what of it is among the options."""
        rest = given_of(options)
        more = {name: rest.pop(name) for name in (*TIMING, *SAID) if name in rest}
        twice = [name for name in more if name in says]
        if twice:
            raise misused(f"{method}: {twice[0]} is given twice")
        return self._add(method, Reply(**says, **more).document(), rest)

    def _elsewhere(self, options: Any, endpoint: str) -> None:
        """The rule is for an endpoint of its own, unless it says where it is."""
        if not ({"endpoint", "path", "when"} & given_of(options).keys()):
            options["endpoint"] = endpoint

    def _add(self, method: str, document: dict[str, Any], options: Mapping[str, Any]) -> Rule:
        given = given_of(options)
        when = given.pop("when", None)
        conditions: Any = {name: given.pop(name) for name in CONDITIONS if name in given}
        members = {name: given.pop(name) for name in RULE_MEMBERS if name in given}
        if given:
            raise UnknownArgumentError(f"{method} has no argument {next(iter(given))!r}")
        document = {**document, **members}
        if asked := when_document(when, conditions):
            document["when"] = asked
        for answer in (document, *document.get("answers", ())):
            if "expect" in answer:
                answer["expect"] = expectation(answer["expect"])
        with argument_errors(method, inside=("faults", 0)):
            checked = vocabulary.read_rule(document)
        if self.strict_fidelity:
            check_fidelity(method, [checked])
        if exits([document]):
            self._want_private(method)
        rule = Rule(self, self._added(document))
        self._own_rules.add(rule.id)
        self._judges = self._judges or judges([document])
        return rule

    def _configure(self, method: str, member: str, value: object) -> None:
        with argument_errors(method, inside=(member,)):
            vocabulary.read({member: value})
        self._ask("configure", script={member: value})

    def _want_private(self, method: str) -> None:
        if self.api_key:
            raise misused(
                f"{method}: it would end or cut off a server that other tests use too. Start one "
                "for this test alone, and tell that: make_shimmy_server().fake"
            )
