"""Reading JSON the way serde_json does, complaints and their positions included.

Strategy: the usual body never comes here; it is read by the C parser of the standard library.
What that one cannot read, or what looks unusual, is read again by :class:`Reader`, which follows
serde_json byte by byte, because the texts and columns of its errors are part of the answers (seen
on 2.5.0 CPU-only, serde_json 1.0). Positions are byte columns.
"""

from __future__ import annotations

import json

from fake_shimmy import rust
from fake_shimmy.serde.jsonlexer import JsonError, Lexer, describe_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | ObjectPairs | None"

MAX_DEPTH = 128
"""Nesting that serde_json refuses."""


class ObjectPairs:
    """An object's members in order, duplicates included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Json]]) -> None:
        self.pairs = pairs


class Members(dict[str, "Json"]):
    """An object of :func:`load_strict`; ``doubled`` where a name came twice."""

    __slots__ = ("doubled",)

    def __init__(self, pairs: list[tuple[str, Json]]) -> None:
        super().__init__(pairs)
        self.doubled = len(self) != len(pairs)


def load_strict(raw: bytes) -> Json:
    """A whole document in UTF-8; raises :class:`JsonError`. Of equal names the last one counts."""
    # The other parser takes lone surrogates.
    if b"\\ud" not in raw and b"\\uD" not in raw:
        try:
            document: Json = _loads(raw.decode())
        except (ValueError, RecursionError):
            pass
        else:
            if not _is_deep(document):
                return document
    reader = Reader(raw)
    document = _plain(reader.any())
    if reader.peek() >= 0:
        raise reader.syntax("trailing characters", True)
    return document


def _plain(value: Json) -> Json:
    if isinstance(value, ObjectPairs):
        return Members([(name, _plain(member)) for name, member in value.pairs])
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH - 1):
        level = [
            member
            for outer in level
            if isinstance(outer, list | dict)
            for member in (outer if isinstance(outer, list) else outer.values())
        ]
        if not level:
            return False
    return True


def _integer(digits: str) -> int:
    number = int(digits)
    if digits == "-0" or not -(2**63) <= number < 2**64:
        raise ValueError("a float to serde_json")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), -float("inf")):
        raise ValueError("out of range")
    return number


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_loads = json.JSONDecoder(
    object_pairs_hook=Members,
    parse_int=_integer,
    parse_float=_finite,
    parse_constant=_refuse_constant,
).decode


class Reader(Lexer):
    """Values of any shape, and the pieces from which readers of a certain shape are made.

    In complaints, positive exponents of floats follow ``exponent_mark``.
    """

    def __init__(self, data: bytes, exponent_mark: str = "e+") -> None:
        super().__init__(data)
        self.exponent_mark = exponent_mark
        self.depth = MAX_DEPTH

    def colon(self) -> None:
        """Read the colon after a key."""
        byte = self.peek()
        if byte < 0:
            raise self.syntax("EOF while parsing an object", True)
        if byte != 0x3A:
            raise self.syntax("expected `:`", True)
        self.index += 1

    def next_element(self, first: bool) -> bool:
        """In an array: whether an element follows."""
        byte = self.peek()
        if byte < 0:
            raise self.syntax("EOF while parsing a list", True)
        if byte == 0x5D:
            return False
        if first:
            return True
        if byte != 0x2C:
            raise self.syntax("expected `,` or `]`", True)
        self.index += 1
        byte = self.peek()
        if byte == 0x5D:
            raise self.syntax("trailing comma", True)
        if byte < 0:
            raise self.syntax("EOF while parsing a value", True)
        return True

    def next_key(self, first: bool) -> str | None:
        """In an object: the next key, up to its closing quote."""
        self.path.append(None)
        byte = self.peek()
        if byte < 0:
            raise self.syntax("EOF while parsing an object", True)
        if byte == 0x7D:
            self.path.pop()
            return None
        if not first:
            if byte != 0x2C:
                raise self.syntax("expected `,` or `}`", True)
            self.index += 1
            byte = self.peek()
            if byte == 0x7D:
                raise self.syntax("trailing comma", True)
            if byte < 0:
                raise self.syntax("EOF while parsing a value", True)
        if byte != 0x22:
            raise self.syntax("key must be a string", True)
        key = self.string()
        self.path.pop()
        return key

    def end_list(self) -> None:
        """Read the closing bracket after the last element that was wanted."""
        byte = self.peek()
        if byte == 0x5D:
            self.index += 1
        elif byte < 0:
            raise self.syntax("EOF while parsing a list", True)
        elif byte == 0x2C:
            self.index += 1
            closes = self.peek() == 0x5D
            raise self.syntax("trailing comma" if closes else "trailing characters", True)
        else:
            raise self.syntax("trailing characters", True)

    def end_object(self) -> None:
        """Read the closing brace."""
        byte = self.peek()
        if byte == 0x7D:
            self.index += 1
        elif byte < 0:
            raise self.syntax("EOF while parsing an object", True)
        else:
            raise self.syntax("trailing comma" if byte == 0x2C else "trailing characters", True)

    def enter(self) -> None:
        """Read an opening bracket or brace."""
        self.depth -= 1
        if not self.depth:
            raise self.syntax("recursion limit exceeded", True)
        self.index += 1

    def leave(self) -> None:
        """Undo the depth of :meth:`enter`."""
        self.depth += 1

    def wrong_type(self, expected: str) -> JsonError:
        """The complaint about the value ahead, which is read as far as that needs."""
        byte = self.peek()
        if byte == 0x6E:
            self.word(b"null")
            found = "null"
        elif byte in b"tf":
            self.word(b"true" if byte == 0x74 else b"false")
            found = "boolean `true`" if byte == 0x74 else "boolean `false`"
        elif byte in b"-0123456789":
            found = describe_number(self.number(), self.exponent_mark)
        elif byte == 0x22:
            found = f"string {rust.debug(self.string())}"
        elif byte in b"[{":
            found = "sequence" if byte == 0x5B else "map"
        else:
            return self.syntax("expected value", True)
        return self.fix(self.misfit(f"invalid type: {found}, expected {expected}"))

    def any(self) -> Json:
        """Read a value of any shape; objects come as :class:`ObjectPairs`."""
        byte = self.expect_value()
        if byte == 0x22:
            return self.string()
        if byte == 0x5B:
            self.enter()
            items: list[Json] = []
            while self.next_element(not items):
                self.path.append(len(items))
                items.append(self.any())
                self.path.pop()
            self.leave()
            self.end_list()
            return items
        if byte == 0x7B:
            self.enter()
            members: list[tuple[str, Json]] = []
            while (key := self.next_key(not members)) is not None:
                self.colon()
                self.path.append(key)
                members.append((key, self.any()))
                self.path.pop()
            self.leave()
            self.end_object()
            return ObjectPairs(members)
        if byte in b"-0123456789":
            return self.number()
        for word, value in ((b"null", None), (b"true", True), (b"false", False)):
            if byte == word[0]:
                self.word(word)
                return value
        raise self.syntax("expected value", True)

    def skip(self) -> None:
        """Pass over a value of any shape and any depth."""
        enclosing: list[int] = []
        while True:
            byte = self.expect_value()
            opened = byte in b"[{"
            if opened:
                self.index += 1
                enclosing.append(byte)
            else:
                self._skip_scalar(byte)
            if not self._skip_closings(enclosing, not opened):
                return

    def _skip_scalar(self, byte: int) -> None:
        if byte == 0x22:
            self.string(validate=False)
        elif byte in b"-0123456789":
            self.number(skipped=True)
        else:
            for word in (b"null", b"true", b"false"):
                if byte == word[0]:
                    self.word(word)
                    return
            raise self.syntax("expected value", True)

    def _skip_closings(self, enclosing: list[int], accept_comma: bool) -> bool:
        """After a value or an opening: go to where the next value begins, if there is one."""
        while enclosing:
            in_list = enclosing[-1] == 0x5B
            byte = self.peek()
            if byte < 0:
                kind = "a list" if in_list else "an object"
                raise self.syntax(f"EOF while parsing {kind}", True)
            if byte == (0x5D if in_list else 0x7D):
                self.index += 1
                enclosing.pop()
                accept_comma = True
                continue
            if accept_comma:
                if byte != 0x2C:
                    raise self.syntax(f"expected `,` or `{']' if in_list else '}'}`", True)
                self.index += 1
            if not in_list:
                self._skip_key()
            return True
        return False

    def _skip_key(self) -> None:
        byte = self.peek()
        if byte < 0:
            raise self.syntax("EOF while parsing an object", True)
        if byte != 0x22:
            raise self.syntax("key must be a string", True)
        self.string(validate=False)
        self.colon()
