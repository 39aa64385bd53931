"""What a request can be made to get: `Reply`, `Fail`, and the faults, as a test writes them.

Each becomes a plain document in the vocabulary of `fake_shimmy.script`, which also checks it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias, TypedDict

Place: TypeAlias = Literal["start", "headers", "body", "end", "done", "after"]
Inside: TypeAlias = Literal["character", "json", "newlines", "event"]
Cut: TypeAlias = Literal["reset", "close", "end", "half_close"]
Damage: TypeAlias = Literal[
    "malformed_event", "truncated_json", "truncated_event", "invalid_utf8",
    "content_type", "duplicate_done", "missing_done",
]  # fmt: skip
"""How bytes can be changed; see `fake_shimmy.script.rules.GARBLES`."""
RealFailure: TypeAlias = Literal[
    "model_not_found", "load_failed", "generation_failed", "unprocessable",
    "bad_json", "unsupported_media_type", "too_large",
]  # fmt: skip
"""The failures that the real one has."""
Text: TypeAlias = str | Sequence[str]
"""A text, or its tokens."""


class Position(TypedDict, total=False):
    """Where in an answer, other than after so many tokens."""

    at: Place | None
    """A place with a name."""
    inside: Inside | None
    """With ``after_tokens``: inside the event that follows."""
    after_bytes: int | None
    """After so many bytes, those of the head included."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a position: ``after_tokens`` (perhaps ``inside`` the event that
    follows), ``after_bytes``, or ``at`` a place with a name. Without one, before the first byte.
    """

    _: KW_ONLY
    at: Place | None = None
    inside: Inside | None = None
    after_bytes: int | None = None

    def document(self) -> dict[str, Any]:
        """The fault in a script's words."""
        raise NotImplementedError


@dataclass(frozen=True)
class Drop(Fault):
    """The connection ends: torn down, or closed in order, for one direction, or with the answer
    made to look complete."""

    after_tokens: int | None = None
    how: Cut = "reset"

    def document(self) -> dict[str, Any]:
        return {"do": self.how, **_position(self)}


@dataclass(frozen=True)
class Stall(Fault):
    """Nothing comes for so many seconds, then the answer goes on."""

    seconds: float
    after_tokens: int | None = None

    def document(self) -> dict[str, Any]:
        return {"do": "stall", "seconds": self.seconds, **_position(self)}


@dataclass(frozen=True)
class Hang(Fault):
    """Nothing comes any more, and the connection stays open."""

    after_tokens: int | None = None

    def document(self) -> dict[str, Any]:
        return {"do": "hang", **_position(self)}


@dataclass(frozen=True)
class Garble(Fault):
    """Bytes are changed."""

    how: Damage
    after_tokens: int | None = None

    def document(self) -> dict[str, Any]:
        return {"do": "garble", "how": self.how, **_position(self)}


@dataclass(frozen=True)
class Crash(Fault):
    """The server's process exits. For servers of a test's own."""

    after_tokens: int | None = None
    status: int = 1
    signal: str | None = None

    def document(self) -> dict[str, Any]:
        how = {"status": self.status} if self.signal is None else {"signal": self.signal}
        return {"do": "exit", **how, **_position(self)}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When tokens come, in seconds from the complete request. All zero: at once."""

    first_token: float = 0.0
    per_token: float = 0.0
    jitter: float = 0.0
    tokens_per_second: float = 0.0

    def timing(self) -> dict[str, float]:
        """What of it was given."""
        members = ("first_token", "per_token", "jitter", "tokens_per_second")
        return {name: value for name in members if (value := getattr(self, name))}


@dataclass(frozen=True)
class ToolCall:
    """A call of one of the client's tools, which no shimmy makes."""

    name: str
    arguments: Any = None
    """A mapping, or a text that is sent as it is; None: no arguments."""
    _: KW_ONLY
    id: str | None = None
    """None: ``call_1``, ``call_2`` and so on, counted in a test."""
    whole: bool = False
    """Streamed in one event, and not in pieces."""

    def document(self) -> dict[str, Any]:
        """The call in a script's words."""
        call: dict[str, Any] = {"name": self.name}
        if self.arguments is not None:
            call["arguments"] = _plain(self.arguments)
        if self.id is not None:
            call["id"] = self.id
        return {**call, "whole": True} if self.whole else call


@dataclass(frozen=True)
class Event:
    """An event with a kind, as Anthropic and the Responses API have them."""

    data: Any
    """A text is sent as it is, anything else as JSON."""
    event: str | None = None

    def document(self) -> dict[str, Any]:
        """The event in a script's words."""
        kind = {} if self.event is None else {"event": self.event}
        return {"data": _plain(self.data), **kind}


@dataclass(frozen=True)
class Reply(Timing):
    """A text, whole or as its tokens; None is what the model says anyway.

    ``tool_calls`` to ``events`` are answers that no shimmy gives. They are marked as such in the
    journal, and ``--shimmy-strict-fidelity`` refuses them.
    """

    text: Text | None = None
    faults: Sequence[Fault | Mapping[str, Any]] = ()
    headers: Mapping[str, str] | None = None
    """Further headers; one that the fake sends anyway is replaced."""
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] = ()
    reasoning: Text | None = None
    """What the model thinks first."""
    refusal: Text | None = None
    """Instead of a text: the words of a refusal."""
    choices: Sequence[Text] = ()
    """Instead of a text: several, for requests with ``n``."""
    logprobs: bool | Sequence[float] | None = None
    """True, or the logarithm of each token's probability."""
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    """Numbers of tokens, as the route's usage object has them; in a stream they are sent if the
    request asks for them, as OpenAI does."""
    embeddings: int | Sequence[Sequence[float]] | None = None
    """A vector for each input, or a number of dimensions."""
    events: Sequence[Any] | None = None
    """The whole stream, event by event: texts, JSON values, `Event`; bytes are sent as they are."""
    expect: str | re.Pattern[str] | Mapping[str, Any] | None = None
    """What the request must be like that gets this answer: a part of its last message, or
    conditions such as ``{"tool": "21 °C"}``. Another request is refused, and the test fails."""

    def document(self) -> dict[str, Any]:
        """The answer in a script's words."""
        reply: dict[str, Any] = {}
        if self.text is not None:
            reply["reply"] = _tokens(self.text)
        if latency := self.timing():
            reply["latency"] = latency
        for name in ("headers", "reasoning", "refusal", "logprobs", "finish_reason", "usage"):
            if (value := getattr(self, name)) is not None:
                reply[name] = _plain(value)
        if self.tool_calls:
            reply["tool_calls"] = _each(self.tool_calls, lambda call: _document(call, ToolCall))
        if self.choices:
            reply["choices"] = _each(self.choices, _tokens)
        if self.embeddings is not None:
            reply["embeddings"] = _plain(self.embeddings)
        if self.events is not None:
            reply["events"] = _each(self.events, _event)
        if self.expect is not None:
            reply["expect"] = self.expect
        return {**reply, **_faults(self.faults)}


replayed = Reply()
"""In a list of answers, the recorded one, in a run that replays."""


@dataclass(frozen=True)
class Fail(Timing):
    """A status with a body of the test's choice, or one of the real one's failures by name. It
    comes when the first token would."""

    failure: int | RealFailure = 500
    body: Any = None
    """Text and bytes are sent as they are, anything else as JSON; None is an empty body."""
    headers: Mapping[str, str] | None = None
    faults: Sequence[Fault | Mapping[str, Any]] = ()

    def document(self) -> dict[str, Any]:
        """The answer in a script's words."""
        fail: Any = self.failure
        if self.body is not None or self.headers:
            fail = {"status": fail, "headers": _plain(self.headers or {})}
            if isinstance(self.body, bytes):
                fail["base64"] = b64encode(self.body).decode()
            elif self.body is not None:
                fail["body"] = self.body
        timing = {"latency": latency} if (latency := self.timing()) else {}
        return {"fail": fail, **timing, **_faults(self.faults)}


Outcome: TypeAlias = Reply | Fail | Fault | ToolCall | Text | int | Mapping[str, Any]
"""What one request gets, as a test may write it."""


def document_of(outcome: Outcome) -> dict[str, Any]:
    """An answer in a script's words: a text is a reply, a number a status."""
    if isinstance(outcome, Reply | Fail):
        return outcome.document()
    if isinstance(outcome, Fault):
        return {"faults": [outcome.document()]}
    if isinstance(outcome, ToolCall):
        return {"tool_calls": [outcome.document()]}
    if isinstance(outcome, Mapping):
        return dict(outcome)
    if isinstance(outcome, int) and not isinstance(outcome, bool):
        return {"fail": outcome}
    return {"reply": _tokens(outcome)}


def _document(value: Any, kind: type[Any]) -> Any:
    return value.document() if isinstance(value, kind) else value


def _event(event: Any) -> Any:
    if isinstance(event, Event):
        return event.document()
    if isinstance(event, bytes):
        return {"base64": b64encode(event).decode()}
    return event if isinstance(event, str) else {"data": _plain(event)}


def _plain(value: Any) -> Any:
    """Lists and dictionaries, of whatever sequences and mappings."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return value


def _each(values: Any, document: Callable[[Any], Any]) -> Any:
    """The values of a list as documents; anything else as it is, for the vocabulary to refuse."""
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return [document(value) for value in values]
    return values


def _tokens(text: Any) -> Any:
    """A text, or a list of tokens."""
    return _each(text, lambda token: token)


def _faults(faults: Sequence[Fault | Mapping[str, Any]]) -> dict[str, Any]:
    if not faults:
        return {}
    return {"faults": _each(faults, lambda fault: _document(fault, Fault))}


def _position(fault: Any) -> dict[str, Any]:
    given = {
        "tokens": fault.after_tokens,
        "inside": fault.inside,
        "bytes": fault.after_bytes,
        "place": fault.at,
    }
    at = {name: value for name, value in given.items() if value is not None}
    return {"at": at} if at else {}
