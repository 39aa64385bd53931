"""What a script can say: rules, answers, timing, faults, and the life of the process.

Strategy: one class per noun, each a table of its members; :func:`read` makes a checked
:class:`Script` of a plain document. Times are in seconds. Nothing here plays anything.
"""

from __future__ import annotations

from fake_shimmy.script import shapes
from fake_shimmy.script.shapes import (
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
    from re import Pattern
    from typing import Any, ClassVar

_DAY = 86_400
SECONDS = Number(0, _DAY)
COUNT = Number(1, 10**9, is_float=False)
INDEX = Number(0, 10**9, is_float=False)

ENDPOINTS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "generate": "/api/generate",
    "websocket": "/ws/generate",
}
"""The endpoints that generate, by the names that a matcher may use."""

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

PLACES = ("start", "headers", "body", "end")
"""Positions with a name: before the first byte, in the middle of the head, after the head, and
after the last token, before what closes the answer."""

INSIDES = ("character", "json", "newlines", "event")
"""Where in an event a position can be: after the first byte of its first character that has
several, in the middle of its payload, between its last two line ends, in the middle of its bytes.
"""


class Matcher(Node):
    """What a text or value must be; of several conditions all must hold."""

    contains: str | None
    matches: Pattern[str] | None
    equals: Any
    is_equality: bool
    FIELDS: ClassVar[dict[str, Field]] = {
        "contains": Field(Text(), None, "a part of the text, upper and lower case as they are"),
        "matches": Field(
            Made(Text(), lambda pattern: _pattern(pattern)),
            None,
            "a regular expression (Python's) that is found in the text",
        ),
        "equals": Field(Anything(), ..., "the whole value"),
    }

    def check(self) -> None:
        if self.contains is None and self.matches is None and self.equals is ...:
            raise ValueError("a matcher says one of: contains, matches, equals")


def _pattern(text: str) -> Pattern[str]:
    import re

    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{shapes.show(text)} is not a regular expression: {error}") from None


def _contains(value: Any) -> Matcher:
    return value if isinstance(value, Matcher) else Matcher(contains=value)


def _equals(value: Any) -> Matcher:
    return value if isinstance(value, Matcher) else Matcher(equals=value)


_TEXT_MATCHER = Made(Either((str,), Text(), shapes.of(Matcher)), _contains)
_NAME_MATCHER = Made(Either((str,), Text(), shapes.of(Matcher)), _equals)
_VALUE_MATCHER = Made(
    Either((dict,), shapes.of(Matcher), Anything()),
    _equals,
)


class When(Node):
    """Which requests a rule is for; of several conditions all must hold, none is all requests."""

    user: Matcher | None
    system: Matcher | None
    model: Matcher | None
    endpoint: str | None
    path: Matcher | None
    headers: dict[str, Matcher]
    json: dict[str, Matcher]
    FIELDS: ClassVar[dict[str, Field]] = {
        "user": Field(
            _TEXT_MATCHER, None, "the last user message, or the prompt; a string: a part of it"
        ),
        "system": Field(_TEXT_MATCHER, None, "the system message; a string: a part of it"),
        "model": Field(_NAME_MATCHER, None, "the model's name; a string: the whole name"),
        "endpoint": Field(OneOf(ENDPOINTS), None, "the endpoint, by name"),
        "path": Field(_NAME_MATCHER, None, "the path; a string: the whole path"),
        "headers": Field(Table(_TEXT_MATCHER), {}, "headers by name; a string: a part of it"),
        "json": Field(
            Table(_VALUE_MATCHER),
            {},
            "values of the body by path, such as messages[0].role or temperature; "
            "anything but an object: the whole value",
        ),
    }


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


class Position(Node):
    """A place in an answer. One of ``place``, ``tokens``, ``bytes``."""

    place: str | None
    tokens: int | None
    inside: str | None
    bytes: int | None
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


class Fault(Node):
    """Something that goes wrong at one place of an answer."""

    do: str
    at: Position
    seconds: float
    how: str | None
    status: int
    signal: str | None
    FIELDS: ClassVar[dict[str, Field]] = {
        "do": Field(OneOf(ACTIONS), "", "what happens"),
        "at": Field(_POSITION, None, "where; the default is before the first byte"),
        "seconds": Field(SECONDS, 0.0, "stall: for how long"),
        "how": Field(OneOf(GARBLES), None, "garble: what is changed"),
        "status": Field(Number(0, 255, is_float=False), 1, "exit: the exit status"),
        "signal": Field(
            Made(Text(), lambda name: _signal(name)), None, "exit: die by this signal instead"
        ),
    }

    def check(self) -> None:
        if not self.do:
            raise ValueError(f"a fault says what to do: one of {', '.join(ACTIONS)}")
        if (self.how is not None) != (self.do == "garble"):
            raise ValueError(f"how goes with garble: one of {', '.join(GARBLES)}")
        if self.at is None:
            tokens = 0 if self.do == "garble" else None
            self.at = Position(tokens=0) if tokens is not None else Position(place="start")


def _signal(name: str) -> str:
    import signal

    if name not in signal.Signals.__members__:
        raise ValueError(f"{shapes.show(name)} is not the name of a signal, such as SIGKILL")
    return name


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
        "headers": Field(
            Table(Made(Text(), lambda text: _header_value(text))), {}, "further headers"
        ),
    }

    def check(self) -> None:
        for name in self.headers:
            _header_name(name)


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{shapes.show(text)} is not a header's value")
    return text


def _header_name(name: str) -> None:
    if not name.isascii() or not name.replace("-", "a").replace("_", "a").isalnum():
        raise ValueError(f"{shapes.show(name)} is not a header's name")


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


class Exit(Node):
    """When and how the process dies by itself."""

    after_requests: int | None
    after_seconds: float | None
    status: int
    signal: str | None
    out_of_memory: bool
    FIELDS: ClassVar[dict[str, Field]] = {
        "after_requests": Field(
            INDEX, None, "when so many requests, health checks not counted, were answered"
        ),
        "after_seconds": Field(SECONDS, None, "so many seconds after it began to listen"),
        "status": Field(Number(0, 255, is_float=False), 1, "the exit status"),
        "signal": Field(Made(Text(), _signal), None, "die by this signal instead"),
        "out_of_memory": Field(
            Flag(), False, "die as a Rust program does that gets no memory: its words, then SIGABRT"
        ),
    }

    def check(self) -> None:
        if (self.after_requests is None) == (self.after_seconds is None):
            raise ValueError("exit says one of: after_requests, after_seconds")


class Refusal(Node):
    """A start that fails."""

    status: int
    stderr: str
    FIELDS: ClassVar[dict[str, Field]] = {
        "status": Field(Number(0, 255, is_float=False), 1, "the exit status"),
        "stderr": Field(Text(), "Error: refused to start, as scripted", "its last words"),
    }


_HEALTH = Either((str,), OneOf(("never", "garbage", "silent")), Items(Flag(), 1))


class Life(Node):
    """Faults for the whole life of a process."""

    refuse: Refusal | None
    start_delay: float
    healthy_after: float
    health: str | list[bool] | None
    exit: Exit | None
    deaf: bool
    log_flood: int
    list: str | None
    FIELDS: ClassVar[dict[str, Field]] = {
        "refuse": Field(shapes.of(Refusal), None, "serve exits instead of listening"),
        "start_delay": Field(SECONDS, 0.0, "seconds before serve listens"),
        "healthy_after": Field(
            SECONDS, 0.0, "for so many seconds after it listens, /health answers 503"
        ),
        "health": Field(
            _HEALTH,
            None,
            "never: /health always answers 503; garbage: with nonsense; silent: with nothing; "
            "a list of true and false: in this order, again and again",
        ),
        "exit": Field(shapes.of(Exit), None, "the process dies by itself"),
        "deaf": Field(Flag(), False, "SIGTERM is ignored"),
        "log_flood": Field(
            Number(0, 10**9, is_float=False), 0, "bytes per second written to standard output"
        ),
        "list": Field(OneOf(("garbage", "hang")), None, "what becomes of the list command"),
    }


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
