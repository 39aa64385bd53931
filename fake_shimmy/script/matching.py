"""Whether a request is what a matcher wants, and if not, in what it differs.

Strategy: a matcher returns the list of differences, so that an empty list is a match and good
failure texts come for free. A :class:`Request` works its facts out when they are first asked for.
"""

from __future__ import annotations

import json
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern
    from typing import Any

    from fake_shimmy.script.conditions import Matcher, When

MISSING: Any = ...
"""A value that is not there."""

LARGEST_BODY = 8 * 1024 * 1024
"""Bytes; what is longer is not looked into."""


class Request:
    """The facts of one request that matchers ask for."""

    __slots__ = ("_document", "_facts", "_is_read", "body", "headers", "method", "path")

    def __init__(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        """Names in lower case."""
        self.body = body
        self._document: Any = MISSING
        self._is_read = False
        self._facts: dict[str, Any] = {}

    def fact(self, name: str) -> Any:
        """What the property `name` says, worked out once for all rules."""
        if name not in self._facts:
            self._facts[name] = getattr(self, name)
        return self._facts[name]

    @property
    def json(self) -> Any:
        """The body as JSON; :data:`MISSING` where it is none."""
        if not self._is_read:
            self._is_read = True
            if self.body and len(self.body) <= LARGEST_BODY:
                with suppress(ValueError, RecursionError):
                    self._document = json.loads(self.body)
        return self._document

    @property
    def model(self) -> Any:
        """The model's name."""
        return self._member("model")

    @property
    def user(self) -> Any:
        """The text of the last user message, else the prompt."""
        texts = self._texts("user")
        return texts[-1] if texts else self._member("prompt")

    @property
    def system(self) -> Any:
        """The text of the system or developer message, else the member ``system`` or, as the
        Responses API calls it, ``instructions``."""
        texts = self._texts("system", "developer")
        if texts:
            return texts[0]
        found = self._member("system")
        if found is MISSING:
            return self._member("instructions")
        return _text(found) if isinstance(found, list) else found

    @property
    def tool(self) -> Any:
        """The newest result of a tool, as text."""
        for message in reversed(self._messages()):
            found = _tool_result(message)
            if found is not None:
                return found
        return MISSING

    @property
    def last(self) -> Any:
        """The text of the last message, of any role, else the prompt."""
        messages = self._messages()
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

    def _texts(self, *roles: str) -> list[str]:
        return [
            text
            for message in self._messages()
            if message.get("role") in roles
            if (text := _text(message.get("content"))) is not None
        ]

    def _messages(self) -> list[dict[str, Any]]:
        """The messages, or the input of the Responses API."""
        messages = self._member("messages")
        if messages is MISSING:
            messages = self._member("input")
            if isinstance(messages, str):
                return [{"role": "user", "content": messages}]
        if not isinstance(messages, list):
            return []
        return [message for message in messages if isinstance(message, dict)]


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


class Difference:
    """One thing in which a request is not what was wanted; made into words when they are asked
    for, since most rules are not for most requests."""

    __slots__ = ("_verb", "_wanted", "found", "what")

    def __init__(self, what: str, verb: str, wanted: object, found: object) -> None:
        self.what = what
        self.found = found
        """:data:`MISSING` where there is none."""
        self._verb = verb
        self._wanted = wanted

    @property
    def wanted(self) -> str:
        """What it should do, such as ``contain 'Hi'``."""
        is_whole = self._verb == "be"
        return f"{self._verb} {_show(self._wanted) if is_whole else repr(self._wanted)}"

    def __str__(self) -> str:
        found = "there is none" if self.found is MISSING else f"it is {_show(self.found)}"
        return f"{self.what} should {self.wanted}, and {found}"


class _Endpoint(str):
    """The name of an endpoint, which is shown with its path."""

    __slots__ = ()

    def __repr__(self) -> str:
        from fake_shimmy.script.conditions import path_of

        return f"{self} ({path_of(self)})"


def differences(when: When, request: Request) -> list[Difference]:
    """How ``request`` differs from what ``when`` wants; empty when it matches."""
    found: list[Difference] = []
    if when.endpoint is not None:
        from fake_shimmy.script.conditions import path_of

        path = path_of(when.endpoint)
        if request.path != path:
            found.append(Difference("endpoint", "be", _Endpoint(when.endpoint), request.path))
    for name, matcher in when.asked:
        value = request.fact(name)
        if name in ("tool", "last"):
            value = _like(matcher.equals, value)
        found += compare(matcher, value, name, request)
    for name, matcher in when.headers.items():
        values = [value for known, value in request.headers if known == name.lower()]
        value = ", ".join(values) if values else MISSING
        found += compare(matcher, value, f"header {name}", request)
    for path, matcher in when.json.items():
        found += compare(matcher, at_path(request.json, path), f"json {path}", request)
    return found


def compare(matcher: Matcher, value: Any, what: str, request: Request) -> list[Difference]:
    """In what ``value``, which is of ``request``, is not what ``matcher`` wants."""
    found = []
    if matcher.contains is not None and not (isinstance(value, str) and matcher.contains in value):
        found.append(Difference(what, "contain", matcher.contains, value))
    if matcher.matches is not None and not (
        isinstance(value, str) and request.is_found(matcher.matches, value)
    ):
        found.append(Difference(what, "match", matcher.matches.pattern, value))
    if matcher.equals is not MISSING and not _equal(matcher.equals, value):
        found.append(Difference(what, "be", matcher.equals, value))
    return found


def _like(wanted: object, value: Any) -> Any:
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
