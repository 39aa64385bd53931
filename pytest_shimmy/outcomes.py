"""What a request can be made to get: `Reply`, `Fail`, and the faults, as a test writes them.

Each becomes a plain document in the vocabulary of `fake_shimmy.script`, which also checks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeAlias

Place: TypeAlias = Literal["start", "headers", "body", "end"]
Inside: TypeAlias = Literal["character", "json", "newlines", "event"]
Cut: TypeAlias = Literal["reset", "close", "end", "half_close"]
Text: TypeAlias = str | Sequence[str]
"""A text, or its tokens."""


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
    """Bytes are changed; see `fake_shimmy.script.rules.GARBLES`."""

    how: str
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
class Reply(Timing):
    """A text, whole or as its tokens; None is what the model says anyway."""

    text: Text | None = None
    faults: Sequence[Fault | Mapping[str, Any]] = ()

    def document(self) -> dict[str, Any]:
        """The answer in a script's words."""
        reply: dict[str, Any] = {}
        if self.text is not None:
            reply["reply"] = _tokens(self.text)
        if latency := self.timing():
            reply["latency"] = latency
        return {**reply, **_faults(self.faults)}


@dataclass(frozen=True)
class Fail:
    """A status with a body of the test's choice, or one of the real one's failures by name; see
    `fake_shimmy.script.rules.REAL_FAILURES`."""

    failure: int | str = 500
    body: Any = None
    """A text is sent as it is, anything else as JSON; None is an empty body."""
    headers: Mapping[str, str] | None = None
    faults: Sequence[Fault | Mapping[str, Any]] = ()

    def document(self) -> dict[str, Any]:
        """The answer in a script's words."""
        fail: Any = self.failure
        if self.body is not None or self.headers:
            body = "" if self.body is None else self.body
            fail = {"status": fail, "body": body, "headers": dict(self.headers or {})}
        return {"fail": fail, **_faults(self.faults)}


Outcome: TypeAlias = Reply | Fail | Fault | Text | int | Mapping[str, Any]
"""What one request gets, as a test may write it."""


def document_of(outcome: Outcome) -> dict[str, Any]:
    """An answer in a script's words: a text is a reply, a number a status."""
    if isinstance(outcome, Reply | Fail):
        return outcome.document()
    if isinstance(outcome, Fault):
        return {"faults": [outcome.document()]}
    if isinstance(outcome, Mapping):
        return dict(outcome)
    if isinstance(outcome, int) and not isinstance(outcome, bool):
        return {"fail": outcome}
    return {"reply": _tokens(outcome)}


def _tokens(text: Any) -> Any:
    """A text, or a list of tokens; anything else as it is, for the vocabulary to refuse."""
    return list(text) if isinstance(text, Sequence) and not isinstance(text, str) else text


def _faults(faults: Sequence[Fault | Mapping[str, Any]]) -> dict[str, Any]:
    if not faults:
        return {}
    return {"faults": [fault.document() if isinstance(fault, Fault) else fault for fault in faults]}


def _position(fault: Any) -> dict[str, Any]:
    given = {
        "tokens": fault.after_tokens,
        "inside": fault.inside,
        "bytes": fault.after_bytes,
        "place": fault.at,
    }
    at = {name: value for name, value in given.items() if value is not None}
    return {"at": at} if at else {}
