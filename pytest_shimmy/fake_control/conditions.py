"""Which requests are meant: conditions as a test writes them, in the vocabulary of scripts.

The same words choose the requests of a rule and of an assertion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypedDict

from fake_shimmy.script import rules
from fake_shimmy.script.shapes import ScriptError, show_path

from ..errors import is_ours, misused

__tracebackhide__ = is_ours

TextCondition: TypeAlias = str | re.Pattern[str] | Mapping[str, Any]
"""A text (a part of it, or of ``model`` and ``path`` the whole), a regular expression, or
``{"contains" | "matches" | "equals": …}``."""

WhenLike: TypeAlias = TextCondition | Mapping[str, Any]
"""A part of the last user message, a regular expression for it, or a script's ``when``."""


Endpoint: TypeAlias = Literal[
    "chat", "completions", "messages", "generate", "websocket", "responses", "embeddings"
]
"""The last two no shimmy has."""


class RuleConditions(TypedDict, total=False):
    """Conditions by name; all must hold."""

    user: TextCondition
    """The last user message, or the prompt."""
    system: TextCondition
    """The system or developer message."""
    tool: TextCondition
    """The newest result of a tool; ``{"equals": …}`` may be the JSON value that it is."""
    last: TextCondition
    """The last message, of any role."""
    model: TextCondition
    endpoint: Endpoint
    """``chat``, ``completions``, ``messages``, ``generate``, ``websocket``; and, which no shimmy
    has, ``responses`` and ``embeddings``."""
    path: TextCondition
    json: Mapping[str, Any]
    """Values of the body by path: ``{"temperature": 0, "messages[0].role": "system"}``."""


class Conditions(RuleConditions, total=False):
    """The same with headers, which in a rule are those of its answer (there: ``when``)."""

    headers: Mapping[str, TextCondition]


def when_document(when: WhenLike | None, conditions: RuleConditions) -> dict[str, Any]:
    """A script's ``when``. Raises `ShimmyUsageError`."""
    document = _from_when(when)
    twice = [name for name in conditions if name in document]
    if twice:
        raise misused(f"{twice[0]} is given twice: in when, and by name. Give it once.")
    document |= {name: value for name, value in conditions.items() if value is not None}
    return {name: _plain(value) for name, value in document.items()}


def expectation(expect: WhenLike) -> Any:
    """A script's ``expect``: a text is a part of the last message."""
    if isinstance(expect, str):
        return expect
    if isinstance(expect, re.Pattern):
        return {"last": _plain(expect)}
    return when_document(expect, {})


def read_when(when: WhenLike | None, conditions: Conditions, method: str) -> rules.When:
    """The same, checked and ready to be compared with."""
    document = when_document(when, conditions)
    with argument_errors(method):
        return rules.read_when(document)


class argument_errors:  # noqa: N801 - read as a word: with argument_errors("reply()"):
    """Turn the refusal of a document into the error of `method`, by its argument's name.

    `inside` is where in the document the method's own arguments are. Not a generator, whose frames
    would be in the traceback that a test's author reads.
    """

    def __init__(self, method: str, *, inside: tuple[str | int, ...] = ()) -> None:
        self._method = method
        self._inside = inside

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, ScriptError):
            path, inside = error.path, self._inside
            if path[: len(inside)] == inside:
                path = path[len(inside) :]
            if path[:1] == ("at",) and len(path) > 1:
                path = (ARGUMENTS.get(str(path[1]), path[1]),)
            if path[:1] in (("when",), ("latency",)) and len(path) > 1:
                path = path[1:]
            where = f"{show_path(path)}: " if path else ""
            raise misused(f"{self._method}: {where}{error.reason}") from None


def in_words(document: Mapping[str, Any]) -> str:
    """Conditions as a person says them."""
    return ", ".join(f"{name} {value!r}" for name, value in document.items()) or "any request"


ARGUMENTS = {"tokens": "after_tokens", "bytes": "after_bytes", "place": "at"}
"""Members of a position, and the arguments that they come from."""

_FLAGS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x", re.ASCII: "a"}


def _from_when(when: WhenLike | None) -> dict[str, Any]:
    if when is None:
        return {}
    if isinstance(when, str | re.Pattern):
        return {"user": when}
    if isinstance(when, Mapping):
        return dict(when)
    hint = " A function cannot be sent to the server." if callable(when) else ""
    raise misused(
        f"when: {when!r} is no condition: give a part of the last user message, a compiled "
        f"regular expression, or a mapping such as {{'system': 'Be brief'}}.{hint}"
    )


def _plain(value: Any) -> Any:
    """`value` with regular expressions as scripts have them."""
    if isinstance(value, re.Pattern):
        flags = "".join(letter for flag, letter in _FLAGS.items() if value.flags & flag)
        pattern = value.pattern
        if not isinstance(pattern, str):
            raise misused(f"{value!r} is a pattern for bytes: give one for text")
        return {"matches": f"(?{flags}){pattern}" if flags else pattern}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
