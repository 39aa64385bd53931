"""Rust structs out of JSON, the way serde derives their readers.

Strategy: a struct is a table of fields, each with a reader that complains in serde's words; the
functions here read any such table, from an object or from a sequence of its fields in order, and
word the rejections of a whole body as axum does. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from fake_shimmy.serde.jsonbody import ObjectPairs, Reader
from fake_shimmy.serde.jsonlexer import JsonError, describe_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from fake_shimmy.serde.jsonbody import Json

    Field: TypeAlias = Callable[[Reader], Any]


class RejectedError(Exception):
    """A body that is refused before the application sees it."""

    def __init__(self, status: bytes, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Struct:
    """A Rust struct. ``fields`` are in the order of declaration, which a sequence follows.

    An object must have the ``required`` ones, a sequence the ``positional`` ones as well: options
    that have no default of their own.
    """

    __slots__ = ("fields", "name", "positional", "required")

    def __init__(
        self,
        name: str,
        fields: dict[str, Field],
        required: tuple[str, ...],
        positional: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.fields = fields
        self.required = required
        self.positional = positional

    def read(self, reader: Reader) -> dict[str, Any]:
        """The fields that are there."""
        byte = reader.expect_value()
        if byte not in b"[{":
            raise reader.wrong_type(f"struct {self.name}")
        is_object = byte == 0x7B
        end = reader.end_object if is_object else reader.end_list
        reader.enter()
        try:
            values = _members(reader, self) if is_object else _elements(reader, self)
        except JsonError as error:
            # Serde looks for the end even then, and takes its place from there.
            depth = len(reader.path)
            try:
                end()
            except JsonError:
                del reader.path[depth:]
            raise reader.fix(error) from None
        reader.leave()
        end()
        return values


def read_body(body: bytes, field: Field, exponent_mark: str = "e+") -> Any:
    """What ``field`` reads in ``body``; whatever follows it is not looked at.

    Raises :class:`RejectedError`; see :class:`Reader` for the mark.
    """
    try:
        return field(Reader(body, exponent_mark))
    except JsonError as error:
        if error.is_data:
            text = f"Failed to deserialize the JSON body into the target type: {error}"
            raise RejectedError(b"422 Unprocessable Entity", text) from None
        text = f"Failed to parse the request body as JSON: {error}"
        raise RejectedError(b"400 Bad Request", text) from None


def read_document(document: bytes, field: Field, exponent_mark: str = "e+") -> Any:
    """What ``field`` reads in ``document``, and nothing may follow. Raises :class:`JsonError`."""
    reader = Reader(document, exponent_mark)
    value = field(reader)
    if reader.peek() >= 0:
        raise reader.syntax("trailing characters", True)
    return value


def _members(reader: Reader, struct: Struct) -> dict[str, Any]:
    values: dict[str, Any] = {}
    fields = struct.fields
    first = True
    while (key := reader.next_key(first)) is not None:
        first = False
        field = fields.get(key)
        if field is not None and key in values:
            raise reader.misfit(f"duplicate field `{key}`")
        reader.colon()
        reader.path.append(key)
        if field is None:
            reader.skip()
        else:
            values[key] = field(reader)
        reader.path.pop()
    for name in struct.required:
        if name not in values:
            raise reader.misfit(f"missing field `{name}`")
    return values


def _elements(reader: Reader, struct: Struct) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for position, (key, field) in enumerate(struct.fields.items()):
        if not reader.next_element(position == 0):
            if key not in struct.required and key not in struct.positional:
                break
            count = len(struct.fields)
            elements = f"{count} element{'s' if count > 1 else ''}"
            text = f"invalid length {position}, expected struct {struct.name} with {elements}"
            raise reader.misfit(text)
        reader.path.append(position)
        values[key] = field(reader)
        reader.path.pop()
    return values


def anything(reader: Reader) -> Json:
    """A value of any shape."""
    return reader.any()


def string(reader: Reader) -> str:
    """A ``String``."""
    if reader.expect_value() != 0x22:
        raise reader.wrong_type("a string")
    return reader.string()


def boolean(reader: Reader) -> bool:
    """A ``bool``."""
    byte = reader.expect_value()
    if byte not in b"tf":
        raise reader.wrong_type("a boolean")
    reader.word(b"true" if byte == 0x74 else b"false")
    return byte == 0x74


def f32(reader: Reader) -> float:
    """An ``f32``; what it cannot hold becomes infinite there, and is not checked."""
    if reader.expect_value() not in b"-0123456789":
        raise reader.wrong_type("f32")
    return float(reader.number())


def usize(reader: Reader) -> int:
    """A ``usize`` of 64 bits."""
    return _integer(reader, "usize", 0, 2**64 - 1)


def i32(reader: Reader) -> int:
    """An ``i32``."""
    return _integer(reader, "i32", -(2**31), 2**31 - 1)


def _integer(reader: Reader, name: str, smallest: int, largest: int) -> int:
    if reader.expect_value() not in b"-0123456789":
        raise reader.wrong_type(name)
    number = reader.number()
    if isinstance(number, float):
        raise reader.fix(_unexpected(reader, "type", number, name))
    if not smallest <= number <= largest:
        raise reader.fix(_unexpected(reader, "value", number, name))
    return number


def _unexpected(reader: Reader, what: str, number: int | float, name: str) -> JsonError:
    shown = describe_number(number, reader.exponent_mark)
    return reader.misfit(f"invalid {what}: {shown}, expected {name}")


def optional(field: Field) -> Field:
    """An ``Option``."""

    def read(reader: Reader) -> Any:
        if reader.peek() == 0x6E:
            reader.word(b"null")
            return None
        return field(reader)

    return read


def sequence(field: Field) -> Field:
    """A ``Vec``."""

    def read(reader: Reader) -> list[Any]:
        if reader.expect_value() != 0x5B:
            raise reader.wrong_type("a sequence")
        reader.enter()
        items: list[Any] = []
        while reader.next_element(not items):
            reader.path.append(len(items))
            items.append(field(reader))
            reader.path.pop()
        reader.leave()
        reader.end_list()
        return items

    return read


def messages(name: str, content: Field) -> Field:
    """A ``Vec`` of the struct ``name``, a role and a ``content``, as (role, text) pairs."""
    struct = Struct(name, {"role": string, "content": content}, ("role", "content"))

    def message(reader: Reader) -> tuple[str, str]:
        fields = struct.read(reader)
        return fields["role"], fields["content"]

    return sequence(message)


def text_or(name: str, text_of: Callable[[Json], str | None]) -> Field:
    """The untagged enum ``name``: a string, or something of which ``text_of`` makes one."""

    def read(reader: Reader) -> str:
        value = reader.any()
        text = value if isinstance(value, str) else text_of(value)
        if text is None:
            raise reader.misfit(f"data did not match any variant of untagged enum {name}")
        return text

    return read


def buffered(value: Json, names: tuple[str, ...]) -> dict[str, Json] | None:
    """The fields ``names`` of a value that serde read before it knew the type; None where the
    value is no such struct."""
    if isinstance(value, ObjectPairs):
        pairs = [(name, member) for name, member in value.pairs if name in names]
        members = dict(pairs)
        return members if len(members) == len(pairs) else None
    if isinstance(value, list):
        return dict(zip(names, value, strict=True)) if len(value) == len(names) else None
    return value if isinstance(value, dict) else None
