"""Shapes of values in a script: each reads a value or refuses it, and tells its JSON Schema.

Strategy: a script is a document of plain values; a shape is a small object that checks one value
and makes of it what the player wants. The same shapes give the schema that ships with the project,
so that what is read and what is documented cannot differ.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, ClassVar, TypeAlias

    Path: TypeAlias = tuple[str | int, ...]


class ScriptError(ValueError):
    """An invalid script. ``path`` leads to the value, ``reason`` says what is wrong."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{show_path(self.path)}: {self.reason}"


def show_path(path: Path) -> str:
    """``rules[2].when.user``; ``script`` for the whole."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "script"


class Shape:
    """What a value may be."""

    name = "a value"
    """What an error calls it."""

    def read(self, value: object, path: Path) -> Any:
        """The value, checked; raises :class:`ScriptError`."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        raise NotImplementedError

    def refused(self, value: object, path: Path) -> ScriptError:
        """The error about a value that is not of this shape."""
        return ScriptError(path, f"{show(value)} is not {self.name}")


class Text(Shape):
    """A string."""

    name = "a string"

    def read(self, value: object, path: Path) -> str:
        if not isinstance(value, str):
            raise self.refused(value, path)
        _check_text(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class Number(Shape):
    """A number between two limits, both allowed; a whole one unless ``is_float``."""

    def __init__(self, least: float, most: float, *, is_float: bool = True) -> None:
        self.least = least
        self.most = most
        self.is_float = is_float
        what = "a number" if is_float else "a whole number"
        self.name = f"{what} from {least} to {most}"

    def read(self, value: object, path: Path) -> Any:
        kinds = (int, float) if self.is_float else (int,)
        # A comparison with NaN is false, and true is an int to Python.
        if (
            isinstance(value, bool)
            or not isinstance(value, kinds)
            or not self.least <= value <= self.most
        ):
            raise self.refused(value, path)
        return float(value) if self.is_float else value

    def schema(self) -> dict[str, Any]:
        kind = "number" if self.is_float else "integer"
        return {"type": kind, "minimum": self.least, "maximum": self.most}


SECONDS = Number(0, 86_400)
COUNT = Number(1, 10**9, is_float=False)
INDEX = Number(0, 10**9, is_float=False)
EXIT_STATUS = Number(0, 255, is_float=False)


class Flag(Shape):
    """True or false."""

    name = "true or false"

    def read(self, value: object, path: Path) -> bool:
        if not isinstance(value, bool):
            raise self.refused(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class OneOf(Shape):
    """One of a few words."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.name = f"one of: {', '.join(self.words)}"

    def read(self, value: object, path: Path) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise self.refused(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Anything(Shape):
    """Any JSON value."""

    name = "a JSON value"

    def __init__(self, depth: int = 100) -> None:
        self.depth = depth
        """How deeply it may be nested."""

    def read(self, value: object, path: Path) -> Any:
        if isinstance(value, list | dict):
            if not self.depth:
                raise ScriptError(path, "it is nested too deeply")
            inner = Anything(self.depth - 1)
            return (Items(inner) if isinstance(value, list) else Table(inner)).read(value, path)
        if not isinstance(value, str | int | float | bool | None):
            raise self.refused(value, path)
        if isinstance(value, str):
            _check_text(value, path)
        return value

    def schema(self) -> dict[str, Any]:
        return {}


class Items(Shape):
    """A list of values of one shape."""

    name = "a list"

    def __init__(self, item: Shape, least: int = 0) -> None:
        self.item = item
        self.least = least

    def read(self, value: object, path: Path) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise self.refused(value, path)
        if len(value) < self.least:
            raise ScriptError(path, f"at least {self.least} expected, {len(value)} given")
        return [self.item.read(each, (*path, index)) for index, each in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        return {**schema, "minItems": self.least} if self.least else schema


class Table(Shape):
    """An object with names of the user's choice and values of one shape."""

    name = "an object"

    def __init__(self, item: Shape) -> None:
        self.item = item

    def read(self, value: object, path: Path) -> dict[str, Any]:
        members = _members(self, value, path)
        return {name: self.item.read(each, (*path, name)) for name, each in members.items()}

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.item.schema()}


class Either(Shape):
    """One of two shapes, told apart by the value's type."""

    def __init__(self, types: tuple[type, ...], first: Shape, second: Shape) -> None:
        self.types = types
        self.first = first
        self.second = second
        self.name = f"{first.name} or {second.name}"

    def read(self, value: object, path: Path) -> Any:
        if isinstance(value, self.types):
            return self.first.read(value, path)
        try:
            return self.second.read(value, path)
        except ScriptError as error:
            is_of_neither = error.reason == self.second.refused(value, path).reason
            raise (self.refused(value, path) if is_of_neither else error) from None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.first.schema(), self.second.schema()]}


class Made(Shape):
    """What a function makes of a value of another shape; it may raise ``ValueError``."""

    def __init__(self, shape: Shape, make: Callable[[Any], Any]) -> None:
        self.shape = shape
        self.make = make
        self.name = shape.name

    def read(self, value: object, path: Path) -> Any:
        checked = self.shape.read(value, path)
        try:
            return self.make(checked)
        except ScriptError:
            raise
        except ValueError as error:
            raise ScriptError(path, str(error)) from None

    def schema(self) -> dict[str, Any]:
        return self.shape.schema()


class Field:
    """A member of a :class:`Node`: its shape, what it is when not given, and what it means."""

    __slots__ = ("default", "help", "shape")

    def __init__(self, shape: Shape, default: object, help: str) -> None:
        self.shape = shape
        self.default = default
        self.help = help


class Node:
    """An object of a script, with the members that ``FIELDS`` names."""

    FIELDS: ClassVar[Mapping[str, Field]] = {}
    SCHEMA: ClassVar[Mapping[str, Any]] = {}
    """What JSON Schema can say of the contradictions that :meth:`check` refuses."""

    DEFAULTS: ClassVar[dict[str, object]] = {}
    """What members are that are not given."""

    def __init_subclass__(cls) -> None:
        cls.DEFAULTS = {name: field.default for name, field in cls.FIELDS.items()}

    def __init__(self, **values: object) -> None:
        self.__dict__.update(self.DEFAULTS, **values)
        self.check()

    def check(self) -> None:
        """Raise ``ValueError`` where members contradict each other."""


class Nodes(Shape):
    """An object that becomes a node of a class."""

    name = "an object"

    def __init__(self, node: type[Node]) -> None:
        self.node = node

    def read(self, value: object, path: Path) -> Any:
        fields = self.node.FIELDS
        values: dict[str, object] = {}
        for name, member in _members(self, value, path).items():
            if name not in fields:
                known = ", ".join(fields)
                raise ScriptError((*path, name), f"there is no such member; there are: {known}")
            values[name] = fields[name].shape.read(member, (*path, name))
        try:
            return self.node(**values)
        except ScriptError:
            raise
        except ValueError as error:
            raise ScriptError(path, str(error)) from None

    def schema(self) -> dict[str, Any]:
        members = {
            name: {"description": field.help, **field.shape.schema()}
            for name, field in self.node.FIELDS.items()
        }
        schema = {"type": "object", "properties": members, "additionalProperties": False}
        return {**schema, **self.node.SCHEMA}


def of(node: type[Node]) -> Nodes:
    """The shape of a node class."""
    return Nodes(node)


def _members(shape: Shape, value: object, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise shape.refused(value, path)
    for name in value:
        if not isinstance(name, str):
            raise ScriptError(path, f"{show(name)} is not a name")
        _check_text(name, path)
    return value


def _check_text(text: str, path: Path) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ScriptError(path, f"{show(text)} has half a character (a lone surrogate)") from None


def show(value: object) -> str:
    """A value as an error names it, in short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
