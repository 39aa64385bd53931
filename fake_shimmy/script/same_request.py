"""Which requests are the same: by method, path and body as a value, without what varies by nature.

Strategy: a request becomes one text, its identity; two are the same if their identities are equal.
Recordings are written with secrets replaced, so an identity replaces them too.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from fake_shimmy.script.timed_answer import AskedRequest

SECRET = "***"
"""Stands in requests where a secret was."""

VARIES = "<varies>"
"""Stands in identities where a text varies by nature."""

_PART = re.compile(r"\.?([^.\[\]]+)|\[(\*|-?\d{1,9})\]")


class Sameness:
    """``ignore`` are paths of members that do not count, such as ``metadata.id`` or
    ``messages[*].name``; ``varying`` and ``secret`` patterns of texts; ``secrets`` the texts
    themselves. Raises ``ValueError`` for what is no path or no pattern."""

    def __init__(
        self,
        ignore: Iterable[str] = (),
        varying: Iterable[str] = (),
        secret: Iterable[str] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        self._ignore = [json_path(path) for path in ignore]
        # The longest first, or a part of it would be left.
        texts = sorted(map(re.escape, secrets), key=len, reverse=True)
        self._secret = _any_of([*texts, *secret])
        self._varying = _any_of(varying)

    def identity(self, request: AskedRequest) -> str:
        """Equal for requests that are the same."""
        return json.dumps(self.facts(request), sort_keys=True)

    def facts(self, request: AskedRequest) -> dict[str, Any]:
        """What of a request counts, as plain values."""
        facts: dict[str, Any] = {"method": request.method, "path": self._text(request.path)}
        body = request.json
        if body is not ...:
            for path in self._ignore:
                body = _without(body, path)
            facts["json"] = self._value(body)
        elif request.text is not None:
            facts["text"] = self._text(request.text)
        elif request.base64 is not None:
            facts["base64"] = request.base64
        if request.messages:
            # The first one asks; the others come when there is an answer already.
            facts["message"] = self.message(request.messages[0])
        return facts

    def message(self, value: Any) -> Any:
        """What of a message over a WebSocket counts."""
        for path in self._ignore:
            value = _without(value, path)
        return self._value(value)

    def later_messages(self, request: AskedRequest) -> list[Any]:
        """The same of all messages but the first."""
        return [self.message(value) for value in (request.messages or ())[1:]]

    def masked(self, value: Any) -> Any:
        """A JSON value without secrets."""
        return _each_text(value, self.without_secrets)

    def without_secrets(self, text: str) -> str:
        """A text without secrets."""
        return self._secret.sub(SECRET, text)

    def _text(self, text: str) -> str:
        return self._varying.sub(VARIES, self.without_secrets(text))

    def _value(self, value: Any) -> Any:
        return _each_text(value, self._text, _number)


def read_body(body: bytes) -> dict[str, Any]:
    """The member of an :class:`AskedRequest` that says what the body is."""
    if not body:
        return {}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(body).decode()}
    value = read_json(text)
    return {"text": text} if value is ... else {"json": value}


def read_json(text: str) -> Any:
    """The value of a JSON text; ``...`` where it is none that can be written again."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        # Half of a character can be read, and not be written.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return ...
    return value


def json_path(path: str) -> list[str | int]:
    """The parts of a path such as ``messages[*].name``; raises ``ValueError``. ``*`` stands for
    every item."""
    rest = path.removeprefix("$")
    parts: list[str | int] = []
    while rest:
        found = _PART.match(rest)
        if found is None:
            break
        name, index = found.groups()
        parts.append(name if name is not None else index if index == "*" else int(index))
        rest = rest[found.end() :]
    if rest or not parts:
        raise ValueError(f"{path!r} is not a path such as metadata.id or messages[*].name")
    return parts


def _without(value: Any, path: list[str | int]) -> Any:
    """A copy of ``value`` without what is at ``path``."""
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(first, str) and first in value:
        changed = dict(value)
        if rest:
            changed[first] = _without(value[first], rest)
        else:
            del changed[first]
        return changed
    if isinstance(value, list) and (first == "*" or isinstance(first, int)):
        size = len(value)
        wanted = range(size) if first == "*" else _one(first, size)
        if not rest:
            return [each for at, each in enumerate(value) if at not in wanted]
        return [_without(each, rest) if at in wanted else each for at, each in enumerate(value)]
    return value


def _one(index: str | int, size: int) -> tuple[int, ...]:
    return (index % size,) if isinstance(index, int) and -size <= index < size else ()


def _each_text(value: Any, text: Any, number: Any = None) -> Any:
    """``value`` with all of its texts changed, and its numbers too if there is a function."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_each_text(each, text, number) for each in value]
    if isinstance(value, dict):
        return {text(name): _each_text(each, text, number) for name, each in value.items()}
    if number is not None and isinstance(value, float):
        return number(value)
    return value


def _number(value: float) -> float:
    """Numbers that are equal are written alike: JavaScript sends 1 where Python sends 1.0."""
    return int(value) if value.is_integer() else value


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    chosen = []
    for pattern in patterns:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a pattern: {error}") from None
        if compiled.match(""):
            raise ValueError(f"{pattern!r} matches the empty text, and so everything")
        chosen.append(f"(?:{pattern})")
    # What matches nothing, where there is none.
    return re.compile("|".join(chosen) or r"(?!)")


def _refuse(_: str) -> Any:
    raise ValueError
