"""What a script can say: rules, answers, timing, faults, and the life of the process.

Strategy: one class per noun, each a table of its members; :func:`read` makes a checked
:class:`Script` of a plain document. Times are in seconds. Nothing here plays anything.
"""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.conditions import ENDPOINTS, Matcher, When
from fake_shimmy.script.faults import ACTIONS, GARBLES, INSIDES, PLACES, Fault, Position
from fake_shimmy.script.life import Exit, Life, Refusal
from fake_shimmy.script.shapes import (
    COUNT,
    SECONDS,
    Anything,
    Either,
    Field,
    Flag,
    Items,
    Made,
    Node,
    Number,
    OneOf,
    Table,
    Text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = [
    "ACTIONS",
    "ENDPOINTS",
    "GARBLES",
    "INSIDES",
    "PLACES",
    "REAL_FAILURES",
    "Answer",
    "Exit",
    "Failure",
    "Fault",
    "Latency",
    "Life",
    "Matcher",
    "Node",
    "Position",
    "Refusal",
    "Rule",
    "Script",
    "When",
    "read",
    "read_rule",
    "read_when",
    "schema",
]

REAL_FAILURES = (
    "model_not_found",
    "load_failed",
    "generation_failed",
    "unprocessable",
    "bad_json",
    "unsupported_media_type",
    "too_large",
)
"""Failures that the real one has: told by each endpoint in its own way, as the release does it."""


class Latency(Node):
    """When tokens are sent, counted from the complete request. All zero: at once."""

    first_token: float
    per_token: float
    jitter: float
    tokens_per_second: float
    FIELDS: ClassVar[dict[str, Field]] = {
        "first_token": Field(SECONDS, 0.0, "seconds to the first token"),
        "per_token": Field(SECONDS, 0.0, "seconds between two tokens"),
        "jitter": Field(
            SECONDS, 0.0, "each of these times is longer or shorter by up to so many seconds"
        ),
        "tokens_per_second": Field(Number(0, 10**6), 0.0, "another way to say per_token"),
    }

    def check(self) -> None:
        if self.tokens_per_second:
            if self.per_token:
                raise ValueError("per_token and tokens_per_second say the same: give one of them")
            self.per_token = 1 / self.tokens_per_second

    @property
    def is_timed(self) -> bool:
        """Whether any token has to wait."""
        return bool(self.first_token or self.per_token or self.jitter)


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{shapes.show(text)} is not a header's value")
    return text


def _header_name(name: str) -> None:
    if not name.isascii() or not name.replace("-", "a").replace("_", "a").isalnum():
        raise ValueError(f"{shapes.show(name)} is not a header's name")


class Failure(Node):
    """An answer with a status and a body of the user's choice."""

    status: int
    body: Any
    headers: dict[str, str]
    FIELDS: ClassVar[dict[str, Field]] = {
        "status": Field(Number(200, 599, is_float=False), 500, "the HTTP status"),
        "body": Field(
            Anything(), "", "a string is sent as it is, anything else as JSON; default: empty"
        ),
        "headers": Field(Table(Made(Text(), _header_value)), {}, "further headers"),
    }

    def check(self) -> None:
        for name in self.headers:
            _header_name(name)


_FAILURE = Made(
    Either(
        (dict,),
        shapes.of(Failure),
        Either((str,), OneOf(REAL_FAILURES), Number(200, 599, is_float=False)),
    ),
    lambda value: Failure(status=value) if isinstance(value, int) else value,
)

_TOKENS = Either((str,), Text(), Items(Text()))


class Answer(Node):
    """What one request gets. Without a ``reply``, what the model says anyway."""

    reply: str | list[str] | None
    fail: str | Failure | None
    latency: Latency | None
    faults: list[Fault]
    SCHEMA: ClassVar[dict[str, Any]] = {"not": {"required": ["reply", "fail"]}}
    FIELDS: ClassVar[dict[str, Field]] = {
        "reply": Field(_TOKENS, None, "the text, or the list of its tokens"),
        "fail": Field(
            _FAILURE,
            None,
            "instead of a reply: a status, one of the real one's failures by name, "
            "or an object with status, body, headers",
        ),
        "latency": Field(shapes.of(Latency), None, "its timing, instead of the script's"),
        "faults": Field(Items(shapes.of(Fault)), [], "what goes wrong on the way"),
    }

    def check(self) -> None:
        if self.fail is not None and self.reply is not None:
            raise ValueError("reply and fail contradict each other: give one of them")


_ANSWER = shapes.of(Answer)


class Rule(Node):
    """Answers for the requests that match, in order; see ``answers``."""

    name: str
    when: When
    times: int | None
    seconds: float | None
    chance: float
    answers: list[Answer]
    SCHEMA = Answer.SCHEMA
    FIELDS: ClassVar[dict[str, Field]] = {
        "name": Field(Text(), "", "how reports call it"),
        "when": Field(shapes.of(When), None, "which requests it is for; default: all"),
        "times": Field(
            COUNT,
            None,
            "how many requests it answers; default: as often as asked, or with "
            "answers: once each, in order",
        ),
        "seconds": Field(SECONDS, None, "for how long after its first use it is asked"),
        "chance": Field(Number(0, 1), 1.0, "the share of matching requests that it takes"),
        "answers": Field(Items(_ANSWER, 1), [], "several answers, used in order and then again"),
        **Answer.FIELDS,
    }

    def check(self) -> None:
        given = {name: getattr(self, name) for name in Answer.FIELDS}
        is_inline = any(given[name] != Answer.FIELDS[name].default for name in given)
        if is_inline and self.answers:
            raise ValueError("a rule has either answers or the members of one answer")
        if self.answers:
            self.times = len(self.answers) if self.times is None else self.times
        else:
            self.answers = [Answer(**given)]
        if self.when is None:
            self.when = When()


class Script(Node):
    """A whole script."""

    seed: int | None
    strict: bool
    latency: Latency
    load_time: float
    serialise: bool
    rules: list[Rule]
    life: Life
    FIELDS: ClassVar[dict[str, Field]] = {
        "seed": Field(
            Number(0, 2**63 - 1, is_float=False), None, "what chance and jitter grow from"
        ),
        "strict": Field(
            Flag(), False, "a request to generate that no rule matches is refused with status 400"
        ),
        "latency": Field(shapes.of(Latency), None, "the timing of answers that have none"),
        "load_time": Field(
            SECONDS, 0.0, "seconds that each model's first request takes longer, while it loads"
        ),
        "serialise": Field(Flag(), False, "one generation at a time, as on the real one's engine"),
        "rules": Field(
            Items(shapes.of(Rule)), [], "asked in order; the first that matches answers"
        ),
        "life": Field(shapes.of(Life), None, "faults for the life of the process"),
    }

    def check(self) -> None:
        if self.latency is None:
            self.latency = Latency()
        if self.life is None:
            self.life = Life()


def read(document: object) -> Script:
    """The script in a plain document; raises :class:`shapes.ScriptError`."""
    script: Script = shapes.of(Script).read(document, ())
    return script


def read_rule(document: object) -> Rule:
    """One rule; raises :class:`shapes.ScriptError`."""
    rule: Rule = shapes.of(Rule).read(document, ())
    return rule


def read_when(document: object) -> When:
    """Conditions alone; raises :class:`shapes.ScriptError`."""
    when: When = shapes.of(When).read(document, ())
    return when


def schema() -> dict[str, Any]:
    """The JSON Schema of scripts."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A script for fake-shimmy",
        **shapes.of(Script).schema(),
    }
