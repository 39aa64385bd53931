"""Which requests a rule is for.

Strategy: a condition on a text or a value is a :class:`Matcher`, for which a plain value is a short
way to write. All are read once into what ``matching`` holds against every request.
"""

from __future__ import annotations

from operator import attrgetter

from fake_shimmy.script import matching, shapes
from fake_shimmy.script.matching import Condition, Contains, Equals, Matches, Request
from fake_shimmy.script.shapes import (
    Anything,
    Either,
    Field,
    Made,
    Node,
    OneOf,
    Table,
    Text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from re import Pattern
    from typing import Any, ClassVar

ENDPOINTS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "generate": "/api/generate",
    "websocket": "/ws/generate",
}
"""The endpoints that generate, by the names that a matcher may use."""

FACTS = ("user", "system", "tool", "last", "model", "path")
"""What a request says and a matcher may ask for by name; see `matching.Request`."""

OTHER_ENDPOINTS = {"responses": "/v1/responses", "embeddings": "/v1/embeddings"}
"""Endpoints of other servers, which no shimmy has; a rule that names one opens it."""


_NAMES = {path: name for name, path in (ENDPOINTS | OTHER_ENDPOINTS).items()}


def path_of(endpoint: str) -> str:
    """The path of an endpoint by its name."""
    return ENDPOINTS.get(endpoint) or OTHER_ENDPOINTS[endpoint]


def _pattern(text: str) -> Pattern[str]:
    import re

    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{shapes.show(text)} is not a regular expression: {error}") from None


class Matcher(Node):
    """What a text or value must be; of several conditions all must hold."""

    contains: str | None
    matches: Pattern[str] | None
    equals: Any
    SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [{"required": [name]} for name in ("contains", "matches", "equals")]
    }
    FIELDS: ClassVar[dict[str, Field]] = {
        "contains": Field(Text(), None, "a part of the text, upper and lower case as they are"),
        "matches": Field(
            Made(Text(), _pattern),
            None,
            "a regular expression (Python's) that is found in the text",
        ),
        "equals": Field(Anything(), ..., "the whole value"),
    }

    def check(self) -> None:
        if self.contains is None and self.matches is None and self.equals is ...:
            raise ValueError("a matcher says one of: contains, matches, equals")

    def conditions(self, what: str, read: Callable[[Request], Any]) -> Iterator[Condition]:
        """What it wants of the fact that ``read`` gives, which is called ``what``."""
        if self.contains is not None:
            yield Contains(what, read, self.contains)
        if self.matches is not None:
            yield Matches(what, read, self.matches)
        if self.equals is not ...:
            yield Equals(what, read, self.equals)


def _contains(value: Any) -> Matcher:
    return value if isinstance(value, Matcher) else Matcher(contains=value)


def _equals(value: Any) -> Matcher:
    return value if isinstance(value, Matcher) else Matcher(equals=value)


_TEXT_MATCHER = Made(Either((str,), Text(), shapes.of(Matcher)), _contains)
_NAME_MATCHER = Made(Either((str,), Text(), shapes.of(Matcher)), _equals)
_VALUE_MATCHER = Made(Either((dict,), shapes.of(Matcher), Anything()), _equals)


class When(Node):
    """Which requests a rule is for; of several conditions all must hold, none is all requests."""

    user: Matcher | None
    system: Matcher | None
    tool: Matcher | None
    last: Matcher | None
    model: Matcher | None
    endpoint: str | None
    path: Matcher | None
    headers: dict[str, Matcher]
    json: dict[str, Matcher]
    FIELDS: ClassVar[dict[str, Field]] = {
        "user": Field(
            _TEXT_MATCHER, None, "the last user message, or the prompt; a string: a part of it"
        ),
        "system": Field(
            _TEXT_MATCHER, None, "the system or developer message; a string: a part of it"
        ),
        "tool": Field(
            _TEXT_MATCHER,
            None,
            "the newest result of a tool; a string: a part of it; equals: the text, or the JSON "
            "value that it is",
        ),
        "last": Field(_TEXT_MATCHER, None, "the last message, of any role; a string: a part of it"),
        "model": Field(_NAME_MATCHER, None, "the model's name; a string: the whole name"),
        "endpoint": Field(OneOf((*ENDPOINTS, *OTHER_ENDPOINTS)), None, "the endpoint, by name"),
        "path": Field(_NAME_MATCHER, None, "the path; a string: the whole path"),
        "headers": Field(Table(_TEXT_MATCHER), {}, "headers by name; a string: a part of it"),
        "json": Field(
            Table(_VALUE_MATCHER),
            {},
            "values of the body by path, such as messages[0].role or temperature; "
            "anything but an object: the whole value",
        ),
    }

    conditions: tuple[Condition, ...]
    """All of it, in the order in which differences are told."""
    about_path: tuple[Condition, ...]
    """Of these what a head can tell."""

    def check(self) -> None:
        # Once, since every request is held against every rule.
        self.conditions = tuple(self._read())
        self.about_path = tuple(
            each for each in self.conditions if each.what in ("endpoint", "path")
        )

    def _read(self) -> Iterator[Condition]:
        if self.endpoint is not None:
            yield Equals("endpoint", attrgetter("path"), _Endpoint(path_of(self.endpoint)))
        values = self.__dict__
        for name in FACTS:
            matcher = values[name]
            if matcher is not None:
                yield from matcher.conditions(name, _reader(name, matcher))
        for name, matcher in self.headers.items():
            yield from matcher.conditions(f"header {name}", _header(name.lower()))
        for path, matcher in self.json.items():
            yield from matcher.conditions(f"json {path}", _at(path))

    @property
    def opens(self) -> bool:
        """Whether it is for a path of its own, which need not be one of shimmy's that generate."""
        return self.path is not None or self.endpoint in OTHER_ENDPOINTS


class _Endpoint(str):
    """The path of an endpoint, which is shown with its name."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{_NAMES[self]} ({self})"


def _reader(name: str, matcher: Matcher) -> Callable[[Request], Any]:
    """Gives the fact that is called so."""
    read = attrgetter(name)
    if name not in ("tool", "last"):
        return read
    return lambda request: matching.like(matcher.equals, read(request))


def _header(name: str) -> Callable[[Request], Any]:
    def read(request: Request) -> Any:
        values = [value for known, value in request.headers if known == name]
        return ", ".join(values) if values else matching.MISSING

    return read


def _at(path: str) -> Callable[[Request], Any]:
    return lambda request: matching.at_path(request.json, path)


ANY_REQUEST = When()

EXPECTATION = Made(
    Either((str,), Text(), shapes.of(When)),
    lambda value: When(last=Matcher(contains=value)) if isinstance(value, str) else value,
)
"""What a request must be like; a string: a part of its last message."""
