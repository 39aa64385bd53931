"""The arguments that the methods of `FakeShimmy` have in common, and which of them are what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..outcomes import Fault, Position, Text, ToolCall
from .conditions import RuleConditions, WhenLike

Faults = Sequence[Fault | Mapping[str, Any]]


class RuleOptions(RuleConditions, total=False):
    """Which requests a rule is for, and how many of them."""

    when: WhenLike | None
    """A part of the last user message, a regular expression for it, or a script's ``when``."""
    times: int | None
    """How many requests it answers; default: all, or with several answers one for each."""
    seconds: float | None
    """For how long after its first use."""
    chance: float
    """The share of matching requests that it takes; see `FakeSession.seed`."""
    name: str
    """How reports call it."""
    validate: bool | None
    """False: it also answers what shimmy refuses (an unknown model, no messages, a content that is
    null); None: as long as no rule of the test gives an answer that no shimmy gives."""


class TimedOptions(RuleOptions, total=False):
    """The same, and when tokens come, in seconds from the complete request."""

    first_token: float
    per_token: float
    jitter: float
    tokens_per_second: float


class AnswerOptions(TimedOptions, total=False):
    """The same, and what an answer says beside its text; see `pytest_shimmy.outcomes.Reply`. From
    ``tool_calls`` on no shimmy answers like that."""

    headers: Mapping[str, str] | None
    expect: WhenLike | None
    tool_calls: Sequence[ToolCall | Mapping[str, Any]]
    reasoning: Text | None
    refusal: Text | None
    choices: Sequence[Text]
    logprobs: bool | Sequence[float] | None
    finish_reason: str | None
    usage: Mapping[str, Any] | None


class FaultOptions(AnswerOptions, Position, total=False):
    """The same, and where in the answer to the text ``reply`` something goes wrong."""

    reply: Text | None


CONDITIONS = tuple(RuleConditions.__annotations__)
RULE_MEMBERS = ("times", "seconds", "chance", "name", "validate")
TIMING = ("first_token", "per_token", "jitter", "tokens_per_second")
SAID = (
    *("headers", "expect", "tool_calls", "reasoning", "refusal", "choices"),
    *("logprobs", "finish_reason", "usage"),
)
POSITION: tuple[Literal["at", "inside", "after_bytes"], ...] = ("at", "inside", "after_bytes")


def given_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of it was said; None is the default."""
    return {name: value for name, value in options.items() if value is not None}


def position_of(options: FaultOptions) -> Any:
    """The part that is about the position."""
    return {name: options[name] for name in POSITION if name in options}
