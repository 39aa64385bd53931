"""Whether a request is what a matcher wants, and if not, in what it differs.

Strategy: what a matcher wants is a row of conditions, made once when it is read; what a request
does not meet is a list of differences, so that an empty list is a match and good failure texts come
for free. A :class:`Request` works its facts out when they are first asked for.
"""

from __future__ import annotations

import json
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from re import Pattern
    from typing import Any, ClassVar

MISSING: Any = ...
"""A value that is not there."""

LARGEST_BODY = 8 * 1024 * 1024
"""Bytes; what is longer is not looked into."""


class Fact:
    """A fact of a request, worked out once for all who ask: later it is found without this."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self.__doc__ = work.__doc__

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, request: Any, _: type) -> Any:
        if request is None:
            return self
        value = self._work(request)
        setattr(request, self._name, value)
        return value


class Request:
    """The facts of one request that matchers ask for."""

    def __init__(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        """Names in lower case."""
        self.body = body

    @Fact
    def json(self) -> Any:
        """The body as JSON; :data:`MISSING` where it is none."""
        return load(self.body)

    @Fact
    def model(self) -> Any:
        """The model's name."""
        return self._member("model")

    @Fact
    def user(self) -> Any:
        """The text of the last user message, else the prompt."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                content = message.get("content")
                text = content if isinstance(content, str) else _text(content)
                if text is not None:
                    return text
        return self._member("prompt")

    @Fact
    def system(self) -> Any:
        """The text of the system or developer message, else the member ``system`` or, as the
        Responses API calls it, ``instructions``."""
        for message in self.messages:
            if message.get("role") in ("system", "developer"):
                text = _text(message.get("content"))
                if text is not None:
                    return text
        found = self._member("system")
        if found is MISSING:
            return self._member("instructions")
        return _text(found) if isinstance(found, list) else found

    @Fact
    def tool(self) -> Any:
        """The newest result of a tool, as text."""
        for message in reversed(self.messages):
            found = _tool_result(message)
            if found is not None:
                return found
        return MISSING

    @Fact
    def last(self) -> Any:
        """The text of the last message, of any role, else the prompt."""
        messages = self.messages
        if not messages:
            return self._member("prompt")
        found = _tool_result(messages[-1])
        if found is None:
            found = _text(messages[-1].get("content"))
        return MISSING if found is None else found

    def is_found(self, pattern: Pattern[str], text: str) -> bool:
        """Whether ``pattern`` is found in ``text``."""
        return pattern.search(text) is not None

    def _member(self, name: str) -> Any:
        document = self.json
        return document.get(name, MISSING) if isinstance(document, dict) else MISSING

    @property
    def messages(self) -> Any:
        """The messages, or the input of the Responses API."""
        document = self.json
        messages = document.get("messages", MISSING) if isinstance(document, dict) else MISSING
        if messages is MISSING:
            messages = self._member("input")
            if isinstance(messages, str):
                return [{"role": "user", "content": messages}]
        if not isinstance(messages, list):
            return []
        if len(messages) == 1 and isinstance(messages[0], dict):
            return messages
        return [message for message in messages if isinstance(message, dict)]


def load(body: bytes) -> Any:
    """A body as JSON; :data:`MISSING` where it is none."""
    if body and len(body) <= LARGEST_BODY:
        with suppress(ValueError, RecursionError):
            return json.loads(body)
    return MISSING


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(part for part in parts if isinstance(part, str))


def _tool_result(message: dict[str, Any]) -> str | None:
    """The result of a tool that is in a message of one of the three APIs."""
    if message.get("role") == "tool":
        return _text(message.get("content"))
    if message.get("type") == "function_call_output":
        output = message.get("output")
        return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    content = message.get("content")
    for part in reversed(content) if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "tool_result":
            return _text(part.get("content"))
    return None


class Condition:
    """What one fact of a request must be; ``read`` gives the fact, ``what`` is its name."""

    __slots__ = ("read", "wanted", "what")

    verb: ClassVar[str]

    def __init__(self, what: str, read: Callable[[Request], Any], wanted: Any) -> None:
        self.what = what
        self.read = read
        self.wanted = wanted

    def is_met_by(self, request: Request) -> bool:
        """Whether the fact is what it must be."""
        raise NotImplementedError


class Contains(Condition):
    """A text has a part."""

    __slots__ = ()
    verb = "contain"

    def is_met_by(self, request: Request) -> bool:
        value = self.read(request)
        return isinstance(value, str) and self.wanted in value


class Matches(Condition):
    """A pattern is found in a text."""

    __slots__ = ()
    verb = "match"

    def is_met_by(self, request: Request) -> bool:
        value = self.read(request)
        return isinstance(value, str) and request.is_found(self.wanted, value)


class Equals(Condition):
    """A value is another."""

    __slots__ = ()
    verb = "be"

    def is_met_by(self, request: Request) -> bool:
        return _equal(self.wanted, self.read(request))


class Difference:
    """One condition that a request does not meet; made into words when they are asked for, since
    most rules are not for most requests."""

    __slots__ = ("_condition", "found")

    def __init__(self, condition: Condition, found: object) -> None:
        self._condition = condition
        self.found = found
        """:data:`MISSING` where there is none."""

    @property
    def what(self) -> str:
        """The name of the fact."""
        return self._condition.what

    @property
    def wanted(self) -> str:
        """What it should do, such as ``contain 'Hi'``."""
        verb, wanted = self._condition.verb, self._condition.wanted
        if verb == "match":
            return f"match {wanted.pattern!r}"
        return f"{verb} {_show(wanted) if verb == 'be' else repr(wanted)}"

    def __str__(self) -> str:
        found = "there is none" if self.found is MISSING else f"it is {_show(self.found)}"
        return f"{self.what} should {self.wanted}, and {found}"


def matcher(conditions: Sequence[Condition]) -> Callable[[Request], bool]:
    """Tells whether a request is what these want."""
    if len(conditions) == 1:
        return conditions[0].is_met_by
    return lambda request: all(condition.is_met_by(request) for condition in conditions)


def differences(conditions: Iterable[Condition], request: Request) -> list[Difference]:
    """In what ``request`` differs from what these want; empty when it matches."""
    return [
        Difference(condition, condition.read(request))
        for condition in conditions
        if not condition.is_met_by(request)
    ]


def like(wanted: object, value: Any) -> Any:
    """``value``; where it is the text of a JSON value and no text is wanted, that."""
    if wanted is MISSING or isinstance(wanted, str) or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _equal(wanted: object, value: object) -> bool:
    # To Python, true is 1; to JSON it is not.
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(_equal, wanted, value))
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(
            _equal(each, value[name]) for name, each in wanted.items()
        )
    return wanted == value


def at_path(document: Any, path: str) -> Any:
    """The value at a path such as ``messages[0].content`` (a leading ``$`` or ``$.`` is allowed, a
    negative index counts from the end); :data:`MISSING` where there is none."""
    value = document
    for part in path.removeprefix("$").replace("[", ".[").split("."):
        if not part:
            continue
        if part.startswith("[") and part.endswith("]"):
            digits = part[1:-1]
            if not digits.removeprefix("-").isdecimal() or not isinstance(value, list):
                return MISSING
            # No list is longer than nine digits say, and Python converts only so many.
            index = int(digits) if len(digits) < 10 else len(value)
            if not -len(value) <= index < len(value):
                return MISSING
            value = value[index]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return MISSING
    return value


def _show(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return "nested too deeply to show"
    return text if len(text) <= 200 else f"{text[:197]}…"
