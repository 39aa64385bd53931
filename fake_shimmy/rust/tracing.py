"""Log lines: what ``RUST_LOG`` lets through, and how an event is written.

Strategy: directives as tracing-subscriber's EnvFilter reads them, kept most specific first, so the
first one that matches an event decides. shimmy opens no spans of its own, so directives about spans
and about values of fields are read, checked and without effect. Seen on 2.5.0 and 1.8.1
(tracing-subscriber 0.3).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Fields: TypeAlias = tuple[tuple[str, str], ...]

OFF, ERROR, WARN, INFO, DEBUG, TRACE = range(6)
"""Levels, from the one that lets nothing through to the one that lets everything through."""

_NAMES = ("OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_SHOWN = ("", "ERROR", " WARN", " INFO", "DEBUG", "TRACE")
_COLOURS = ("", "31", "33", "32", "34", "35")
_BAD_LEVEL = (
    'error parsing level filter: expected one of "off", "error", "warn", "info", "debug", '
    '"trace", or a number 0-5'
)
_BAD_DIRECTIVE = "invalid filter directive"


class DirectiveError(Exception):
    """A directive that is none; the text is the reason."""


class Directive:
    """One directive: events of ``target`` that have the ``fields``, up to ``level``.

    ``static`` is whether it says something about events at all.
    """

    __slots__ = ("fields", "level", "static", "target")

    def __init__(
        self,
        level: int,
        target: str | None = None,
        fields: tuple[str, ...] = (),
        static: bool = True,
    ) -> None:
        self.level = level
        self.target = target
        self.fields = fields
        self.static = static


class Filter:
    """Which events are written."""

    __slots__ = ("_directives", "_level", "complaints")

    def __init__(self, text: str = "") -> None:
        """``text`` is a comma list of directives; without a valid one ERROR is let through."""
        self.complaints: list[str] = []
        """Lines for stderr about the directives that were ignored."""
        found: list[Directive] = []
        for part in text.split(","):
            try:
                if part:
                    found.append(_directive(part))
            except DirectiveError as error:
                self.complaints.append(f"ignoring `{part}`: {error}")
        # Of directives about the same thing the last one counts.
        distinct = {(d.target, d.fields): d for d in found if d.static}
        self._directives = sorted(distinct.values(), key=_specificity, reverse=True)
        if not found:
            self._directives = [Directive(ERROR)]
        self._level = max((d.level for d in self._directives), default=OFF)

    def enabled(self, level: int, target: str, fields: Fields = ()) -> bool:
        """Whether an event of ``target`` with these ``fields`` is written."""
        if level > self._level:
            return False
        names = {"message", *(name for name, _ in fields)}
        for directive in self._directives:
            if target.startswith(directive.target or "") and names.issuperset(directive.fields):
                return level <= directive.level
        return False


class Tracer:
    """Where events go: through a filter, as lines, to ``write``.

    ``clock`` gives Unix nanoseconds.
    """

    def __init__(
        self,
        filter: Filter,
        colours: bool,
        clock: Callable[[], int],
        write: Callable[[str], None],
    ) -> None:
        self._filter = filter
        self._colours = colours
        self._clock = clock
        self._write = write

    def wants(self, level: int, target: str) -> bool:
        """Whether an event without fields would be written."""
        return self._filter.enabled(level, target)

    def event(
        self, level: int, target: str, message: str, fields: Fields = (), span: str = ""
    ) -> None:
        """Write an event, if it is wanted; ``span`` is what was going on, if that has a name."""
        if self._filter.enabled(level, target, fields):
            self._write(line(self._clock(), level, target, message, fields, self._colours, span))


def line(
    now: int,
    level: int,
    target: str,
    message: str,
    fields: Fields = (),
    colours: bool = False,
    span: str = "",
) -> str:
    """The line of an event at ``now`` (Unix nanoseconds)."""
    import time

    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    stamp = f"{second}.{now // 1000 % 1_000_000:06}Z"
    shown, separator = _SHOWN[level], ":"
    if colours:
        stamp, target, separator = _dimmed(stamp), _dimmed(target), _dimmed(":")
        shown = f"\x1b[{_COLOURS[level]}m{shown}\x1b[0m"
    parts = [f"{stamp} {shown}"]
    if span:
        parts.append(f"\x1b[1m{span}\x1b[0m{separator}" if colours else f"{span}:")
    parts.append(f"{target}{separator} {_sanitized(message)}")
    for name, value in fields:
        parts.append(f"\x1b[3m{name}\x1b[0m{_dimmed('=')}{value}" if colours else f"{name}={value}")
    return " ".join(parts)


def colours(environ: Mapping[str, str], stdout_is_terminal: bool) -> bool:
    """Whether log lines are coloured."""
    from fake_shimmy import rust

    # An unreadable value of NO_COLOR or TERM counts as unset.
    if not stdout_is_terminal or rust.variable(environ, "NO_COLOR") is not None:
        return False
    return (rust.variable(environ, "TERM") or "dumb") != "dumb"


def _dimmed(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"


def _sanitized(message: str) -> str:
    """The message without characters that a terminal obeys."""
    if message.isprintable():
        return message
    return "".join(map(_sanitized_char, message))


def _sanitized_char(char: str) -> str:
    if char in "\x07\x08\x0c\x1b\x7f":
        return f"\\x{ord(char):02x}"
    return f"\\u{{{ord(char):x}}}" if "\x80" <= char <= "\x9f" else char


def _specificity(directive: Directive) -> tuple[int, int]:
    target = directive.target
    return (-1 if target is None else len(target.encode()), len(directive.fields))


def _directive(text: str) -> Directive:
    """Read ``level``, ``target``, ``target=level`` or ``target[span{field=value}]=level``."""
    trimmed = text.strip()
    if not trimmed:
        raise DirectiveError(_BAD_DIRECTIVE)
    first = trimmed[0]
    if first not in "[-:_" and not first.isalnum():
        raise DirectiveError(_BAD_DIRECTIVE)
    ends = [at for at in (trimmed.find("="), trimmed.find("[")) if at >= 0]
    if not ends:
        level = _level(text)
        return Directive(TRACE, text) if level is None else Directive(level)
    # The real one measures the trimmed text and cuts the untrimmed one, so a blank before a
    # directive shifts everything, and one after it belongs to the level.
    target, rest = text[: min(ends)], trimmed[min(ends) :]
    fields: tuple[str, ...] = ()
    is_static = True
    if rest[0] == "[":
        fields, is_static, rest = _span(rest)
    level = _required_level(text[len(trimmed) - len(rest) + 1 :]) if rest else TRACE
    return Directive(level, target, fields, is_static)


def _span(text: str) -> tuple[tuple[str, ...], bool, str]:
    """Read ``[span{field=value}]``: fields, whether it asks for nothing else, what follows."""
    name, braces, fields_text = text[1:].partition("{")
    if not braces or "]" in name:
        _, closed, rest = text.partition("]")
        if not closed or rest[:1] not in ("", "="):
            raise DirectiveError(_BAD_DIRECTIVE)
        return (), False, rest
    # A bracket inside the braces is part of a value.
    field, closed, rest = fields_text.partition("}")
    if not closed or not field:
        raise DirectiveError(_BAD_DIRECTIVE)
    field, has_value = _field(field)
    if not rest.startswith("]") or rest[1:2] not in ("", "="):
        raise DirectiveError(_BAD_DIRECTIVE)
    return (field,), not has_value and not name, rest[1:]


def _field(text: str) -> tuple[str, bool]:
    """A field's name, and whether a value is asked for. The value is a regular expression."""
    import re
    import warnings

    name, has_value, value = text.partition("=")
    if has_value:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(value.partition("=")[0])
        except (re.error, OverflowError, RecursionError):
            raise DirectiveError("invalid field filter: error building NFA") from None
    return name, bool(has_value)


def _required_level(text: str) -> int:
    if not text:
        return TRACE
    level = _level(text)
    if level is None:
        raise DirectiveError(_BAD_LEVEL)
    return level


def _level(text: str) -> int | None:
    """The level that ``text`` names, by word or number."""
    digits = text.removeprefix("+").lstrip("0")
    number = text.removeprefix("+")
    if number.isascii() and number.isdigit() and digits in ("", "1", "2", "3", "4", "5"):
        return int(digits or 0)
    name = text.upper() if text.isascii() else ""
    return _NAMES.index(name) if name in _NAMES else None
