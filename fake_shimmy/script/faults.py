"""What can go wrong with an answer, and where in it.

Strategy: a fault is an action at a position; which actions and positions there are is a table of
words. The player knows how each is done.
"""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.shapes import (
    EXIT_STATUS,
    INDEX,
    SECONDS,
    Either,
    Field,
    Made,
    Node,
    OneOf,
    Text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

ACTIONS = ("reset", "close", "half_close", "end", "stall", "hang", "exit", "garble")
"""What a fault can do.

``reset`` tears the connection down (RST), ``close`` ends it in order in the middle of the answer
(FIN), ``half_close`` ends the server's half and keeps the other open, ``end`` completes the HTTP
answer as if nothing were missing, ``stall`` waits and goes on, ``hang`` never goes on, ``exit``
ends the process, ``garble`` changes bytes.
"""

GARBLES = (
    "malformed_event",
    "truncated_json",
    "truncated_event",
    "invalid_utf8",
    "content_type",
    "duplicate_done",
    "missing_done",
)
"""How a fault can change bytes.

``malformed_event``: the event at the position has no ``data:``. ``truncated_json``: its JSON ends
too early, its framing is right. ``truncated_event``: the body ends in order before that event's
last line end. ``invalid_utf8``: a byte of its text is 0xFF. ``content_type``: the answer's head
says ``text/html``. ``duplicate_done``, ``missing_done``: two end markers, or none.
"""

PLACES = ("start", "headers", "body", "end", "done", "after")
"""Positions with a name: before the first byte, in the middle of the head, after the head, after
the last token and before what closes the answer, after a stream's end marker and before the end of
the HTTP answer, and after the whole answer, while the connection waits for another request."""

INSIDES = ("character", "json", "newlines", "event")
"""Where in an event a position can be: after the first byte of its first character that has
several, in the middle of its payload, between its last two line ends, in the middle of its bytes.
"""


class Position(Node):
    """A place in an answer. One of ``place``, ``tokens``, ``bytes``."""

    place: str | None
    tokens: int | None
    inside: str | None
    bytes: int | None
    SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": [name]} for name in ("place", "tokens", "bytes")],
        "dependentRequired": {"inside": ["tokens"]},
    }
    FIELDS: ClassVar[dict[str, Field]] = {
        "place": Field(OneOf(PLACES), None, "a place with a name"),
        "tokens": Field(INDEX, None, "after so many tokens"),
        "inside": Field(OneOf(INSIDES), None, "with tokens: inside the event that follows"),
        "bytes": Field(INDEX, None, "after so many bytes of the answer, head included"),
    }

    def check(self) -> None:
        given = [self.place, self.tokens, self.bytes]
        if sum(each is not None for each in given) != 1:
            raise ValueError("a position says one of: place, tokens, bytes")
        if self.inside is not None and self.tokens is None:
            raise ValueError("inside goes with tokens")


_POSITION = Made(
    Either((str,), OneOf(PLACES), shapes.of(Position)),
    lambda value: Position(place=value) if isinstance(value, str) else value,
)


def _signal(name: str) -> str:
    import signal

    if name not in signal.Signals.__members__:
        raise ValueError(f"{shapes.show(name)} is not the name of a signal, such as SIGKILL")
    return name


SIGNAL = Made(Text(), _signal)


class Fault(Node):
    """Something that goes wrong at one place of an answer."""

    do: str
    at: Position
    seconds: float
    how: str | None
    status: int
    signal: str | None
    SCHEMA: ClassVar[dict[str, Any]] = {"required": ["do"]}
    FIELDS: ClassVar[dict[str, Field]] = {
        "do": Field(OneOf(ACTIONS), "", "what happens"),
        "at": Field(
            _POSITION, None, "where; default: before the first byte; garble: at the first token"
        ),
        "seconds": Field(SECONDS, 0.0, "stall: for how long"),
        "how": Field(OneOf(GARBLES), None, "garble: what is changed"),
        "status": Field(EXIT_STATUS, 1, "exit: the exit status"),
        "signal": Field(SIGNAL, None, "exit: die by this signal instead"),
    }

    def check(self) -> None:
        if not self.do:
            raise ValueError(f"a fault says what to do: one of {', '.join(ACTIONS)}")
        if (self.how is not None) != (self.do == "garble"):
            raise ValueError(f"how goes with garble: one of {', '.join(GARBLES)}")
        if self.at is None:
            self.at = Position(tokens=0) if self.do == "garble" else Position(place="start")
