"""What one request gets: a reply, a failure, or an answer that no shimmy gives.

Strategy: an answer is one flat table of members. What it says decides whether a shimmy could give
it; the stage makes what a shimmy could not.
"""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.conditions import EXPECTATION
from fake_shimmy.script.faults import Fault
from fake_shimmy.script.shapes import (
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

    from fake_shimmy.script.conditions import When

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
        self.is_timed = bool(self.first_token or self.per_token or self.jitter)
        """Whether any token has to wait."""


_FRAMING = ("content-length", "transfer-encoding", "upgrade", "trailer")
"""Headers that say how the answer is framed; a script cannot, without being untrue."""


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{shapes.show(text)} is not a header's value")
    return text


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if not name.isascii() or not name.replace("-", "a").replace("_", "a").isalnum():
            raise ValueError(f"{shapes.show(name)} is not a header's name")
        if name.lower() in _FRAMING:
            raise ValueError(
                f"{name} says how the answer is framed, which the fake does; "
                "for wrong framing there are faults"
            )
    return {name.lower(): value for name, value in headers.items()}


_HEADERS = Made(Table(Made(Text(), _header_value)), _headers)


def _bytes(text: str) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{shapes.show(text)} is not base64: {error}") from None


_BASE64 = Made(Text(), _bytes)


class Failure(Node):
    """An answer with a status and a body of the user's choice."""

    status: int
    body: Any
    base64: bytes | None
    headers: dict[str, str]
    FIELDS: ClassVar[dict[str, Field]] = {
        "status": Field(Number(200, 599, is_float=False), 500, "the HTTP status"),
        "body": Field(
            Anything(), "", "a string is sent as it is, anything else as JSON; default: empty"
        ),
        "base64": Field(_BASE64, None, "instead of body: bytes, in base64"),
        "headers": Field(_HEADERS, {}, "further headers; one that the fake sends is replaced"),
    }

    def check(self) -> None:
        if self.base64 is not None and self.body != "":
            raise ValueError("body and base64 contradict each other: give one of them")


_FAILURE = Made(
    Either(
        (dict,),
        shapes.of(Failure),
        Either((str,), OneOf(REAL_FAILURES), Number(200, 599, is_float=False)),
    ),
    lambda value: Failure(status=value) if isinstance(value, int) else value,
)

_TOKENS = Either((str,), Text(), Items(Text()))


class ToolCall(Node):
    """A call of one of the client's tools. No shimmy makes one."""

    name: str
    arguments: Any
    id: str | None
    whole: bool
    SCHEMA: ClassVar[dict[str, Any]] = {"required": ["name"]}
    FIELDS: ClassVar[dict[str, Field]] = {
        "name": Field(Text(), "", "of the tool"),
        "arguments": Field(Anything(), {}, "an object, or a string that is sent as it is"),
        "id": Field(Text(), None, "default: call_1, call_2 and so on, counted in a session"),
        "whole": Field(Flag(), False, "streamed in one event, and not in pieces"),
    }

    def check(self) -> None:
        if not self.name:
            raise ValueError("a tool call has the name of a tool")


class Event(Node):
    """One event of a stream."""

    data: Any
    event: str | None
    raw: str | None
    base64: bytes | None
    SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": [name]} for name in ("data", "raw", "base64")]
    }
    FIELDS: ClassVar[dict[str, Field]] = {
        "data": Field(Anything(), ..., "a string is sent as it is, anything else as JSON"),
        "event": Field(Text(), None, "with data: the kind of event, as Anthropic names them"),
        "raw": Field(Text(), None, "instead: exactly these characters, such as a comment"),
        "base64": Field(_BASE64, None, "instead: exactly these bytes, in base64"),
    }

    def check(self) -> None:
        given = (self.data is not ..., self.raw is not None, self.base64 is not None)
        if sum(given) != 1:
            raise ValueError("an event says one of: data, raw, base64")
        if self.event is not None and not given[0]:
            raise ValueError("event goes with data")


_EVENT = Made(
    Either((str,), Text(), shapes.of(Event)),
    lambda value: Event(data=value) if isinstance(value, str) else value,
)
_LOGPROB = Number(-1000, 0)
_COORDINATE = Number(-1e9, 1e9)
DIMENSIONS = Number(1, 10_000, is_float=False)

BEYOND = (
    *("tool_calls", "reasoning", "refusal", "choices", "logprobs"),
    *("finish_reason", "usage", "embeddings", "events"),
)
"""Members of an answer that no shimmy gives."""


class Answer(Node):
    """What one request gets. Without a ``reply``, what the model says anyway."""

    reply: str | list[str] | None
    fail: str | Failure | None
    tool_calls: list[ToolCall]
    reasoning: str | list[str] | None
    refusal: str | list[str] | None
    choices: list[str | list[str]]
    logprobs: bool | list[float] | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    embeddings: int | list[list[float]] | None
    events: list[Event] | None
    headers: dict[str, str]
    expect: When | None
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
        "tool_calls": Field(Items(shapes.of(ToolCall), 1), [], "calls of the client's tools"),
        "reasoning": Field(_TOKENS, None, "what the model thinks first (reasoning_content)"),
        "refusal": Field(_TOKENS, None, "instead of a reply: the words of a refusal"),
        "choices": Field(Items(_TOKENS, 1), [], "instead of a reply: several, for n above 1"),
        "logprobs": Field(
            Either((bool,), Flag(), Items(_LOGPROB)),
            None,
            "true, or the logarithm of each token's probability",
        ),
        "finish_reason": Field(Text(), None, "default: stop, or tool_calls"),
        "usage": Field(
            Table(Anything()), None, "the numbers of tokens, as the route's usage object has them"
        ),
        "embeddings": Field(
            Either((int,), DIMENSIONS, Items(Items(_COORDINATE, 1), 1)),
            None,
            "a vector for each input, or a number of dimensions: the same vector for the same text",
        ),
        "events": Field(
            Items(_EVENT), None, "the whole stream, event by event; nothing else is sent"
        ),
        "headers": Field(_HEADERS, {}, "further headers; one that the fake sends is replaced"),
        "expect": Field(
            EXPECTATION,
            None,
            "what the request must be like that gets this answer, as in when; a string: a part of "
            "its last message. Another request is refused, and the test fails",
        ),
        "latency": Field(shapes.of(Latency), None, "its timing, instead of the script's"),
        "faults": Field(Items(shapes.of(Fault)), [], "what goes wrong on the way"),
    }

    def check(self) -> None:
        values = self.__dict__
        # A stream may have no events.
        said = [
            name
            for name in _SAYING
            if (value := values[name]) is not None and (value != [] or name == "events")
        ]
        self.beyond = next((name for name in said if name in BEYOND), None)
        """What it says that no shimmy says."""
        self.is_beyond = self.beyond is not None
        for name, others in _ALONE.items():
            if name in said and (other := next((o for o in said if o in others), None)):
                first, second = sorted((name, other), key=said.index)
                raise ValueError(f"{first} and {second} contradict each other: give one of them")


_SAYING = ("reply", "fail", *BEYOND)
_ALONE = {
    "fail": ("reply", *BEYOND),
    "events": ("reply", *(name for name in BEYOND if name != "events")),
    "embeddings": ("reply", *(name for name in BEYOND if name not in ("usage", "embeddings"))),
    "choices": ("reply", "refusal", "tool_calls"),
    "refusal": ("reply", "tool_calls"),
}
