"""What a script can say: rules, timing, and the life of the process.

Strategy: one class per noun, each a table of its members; :func:`read` makes a checked
:class:`Script` of a plain document. Times are in seconds. Nothing here plays anything.
"""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.answers import REAL_FAILURES, Answer, Event, Failure, Latency, ToolCall
from fake_shimmy.script.conditions import (
    ANY_REQUEST,
    ENDPOINTS,
    OTHER_ENDPOINTS,
    Matcher,
    When,
)
from fake_shimmy.script.faults import ACTIONS, GARBLES, INSIDES, PLACES, Fault, Position
from fake_shimmy.script.life import Exit, Life, Refusal
from fake_shimmy.script.shapes import COUNT, SECONDS, Field, Flag, Items, Node, Number, Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = [
    "ACTIONS",
    "ENDPOINTS",
    "GARBLES",
    "INSIDES",
    "OTHER_ENDPOINTS",
    "PLACES",
    "REAL_FAILURES",
    "Answer",
    "Event",
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
    "ToolCall",
    "When",
    "read",
    "read_rule",
    "read_when",
    "schema",
]

_ANSWER = shapes.of(Answer)


class Rule(Node):
    """Answers for the requests that match, in order; see ``answers``."""

    name: str
    when: When
    times: int | None
    seconds: float | None
    chance: float
    validate: bool | None
    answers: list[Answer]
    SCHEMA = Answer.SCHEMA
    FIELDS: ClassVar[dict[str, Field]] = {
        "name": Field(Text(), "", "how reports call it"),
        "when": Field(shapes.of(When), None, "which requests it is for; default: all"),
        "times": Field(
            COUNT,
            None,
            "how many requests it answers; default: all that match, or with "
            "answers: one for each, in order",
        ),
        "seconds": Field(SECONDS, None, "for how long after its first use it applies"),
        "chance": Field(Number(0, 1), 1.0, "the share of matching requests that it takes"),
        "validate": Field(
            Flag(),
            None,
            "false: it also answers requests that shimmy refuses, for an unknown model, no "
            "messages, a content that is null; default: true, unless a rule of the test gives "
            "an answer that no shimmy gives",
        ),
        "answers": Field(Items(_ANSWER, 1), [], "several answers, used in order and then again"),
        **Answer.FIELDS,
    }

    def check(self) -> None:
        values = self.__dict__
        given = {
            name: values[name]
            for name, default in Answer.DEFAULTS.items()
            if values[name] != default
        }
        if given and self.answers:
            raise ValueError("a rule has either answers or the members of one answer")
        if self.answers:
            self.times = len(self.answers) if self.times is None else self.times
        else:
            self.answers = [Answer(**given)]
        if self.when is None:
            self.when = ANY_REQUEST
        self.is_beyond = any(answer.is_beyond for answer in self.answers)
        """Whether it has answers that no shimmy gives."""


AT_ONCE = Latency()
UNEVENTFUL = Life()


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
            Number(0, 2**63 - 1, is_float=False), None, "random seed for chance and jitter"
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
            Items(shapes.of(Rule)), [], "tried in order; the first that matches answers"
        ),
        "life": Field(shapes.of(Life), None, "faults for the life of the process"),
    }

    def check(self) -> None:
        if self.latency is None:
            self.latency = AT_ONCE
        if self.life is None:
            self.life = UNEVENTFUL


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
