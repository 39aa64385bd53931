"""In which line of a JSON or TOML text each of its values stands.

Strategy: both readers walk over a text that a parser of the standard library has taken, so they
only follow its brackets and strings, and never judge it. A value's path leads to its line.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fake_shimmy.script.shapes import Path


def of_json(text: str) -> dict[Path, int]:
    """The lines of a text that is JSON. What a script cannot mean is refused with a
    ``JSONDecodeError``: a name given twice, and numbers that are none."""
    reader = _JsonReader(text)
    reader.skip()
    reader.value(())
    return reader.lines


def of_toml(text: str) -> dict[Path, int]:
    """The lines of a text that is TOML."""
    reader = _TomlReader(text)
    reader.read()
    return reader.lines


def line_of(path: Path, where: dict[Path, int]) -> int:
    """The line of a value, or of the nearest around it whose line is known."""
    while path and path not in where:
        path = path[:-1]
    return where.get(path, 1)


class _Reader:
    """A cursor; ``lines`` grows as values are met."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._line, self._counted = 1, 0

    def note(self, path: Path) -> None:
        """The value at ``path`` begins here."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        self.lines.setdefault(path, self._line)

    def ahead(self, what: str) -> bool:
        """Whether ``what`` comes next."""
        return self.text.startswith(what, self.at)

    def skip(self) -> None:
        """Pass white space, commas and comments, of which JSON has none."""
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n,#":
            if self.ahead("#"):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                self.at += 1

    def more(self, end: str) -> bool:
        """Whether there is more before the bracket that ends this; passes the bracket."""
        self.skip()
        if not self.ahead(end):
            return True
        self.at += 1
        return False


class _JsonReader(_Reader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._scan = json.JSONDecoder(parse_constant=self._refuse).raw_decode

    def value(self, path: Path) -> None:
        self.note(path)
        if self.ahead("{"):
            self._members(path)
        elif self.ahead("["):
            self._items(path)
        else:
            self.at = self._scan(self.text, self.at)[1]

    def _members(self, path: Path) -> None:
        self.at += 1
        names = set()
        while self.more("}"):
            name, end = self._scan(self.text, self.at)
            if name in names:
                raise json.JSONDecodeError(f"the name {name!r} is given twice", self.text, self.at)
            names.add(name)
            self.at = self.text.index(":", end) + 1
            self.skip()
            self.value((*path, name))

    def _items(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.more("]"):
            self.value((*path, index))
            index += 1

    def _refuse(self, name: str) -> Any:
        raise json.JSONDecodeError(f"{name} is not a number", self.text, self.at)


class _TomlReader(_Reader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._counts: dict[Path, int] = {}
        """The newest index of every array of tables."""

    def read(self) -> None:
        table: Path = ()
        self.skip()
        while self.at < len(self.text):
            if self.ahead("["):
                table = self._header()
            else:
                self._pair(table)
            self.skip()

    def _header(self) -> Path:
        is_item = self.ahead("[[")
        self.at += 2 if is_item else 1
        self.skip()
        *outer, last = self._keys("]")
        path: Path = ()
        for key in outer:
            path = (*path, key)
            if path in self._counts:
                path = (*path, self._counts[path])
        path = (*path, last)
        if is_item:
            index = self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, index)
        self.note(path)
        self.at += 2 if is_item else 1
        return path

    def _pair(self, table: Path) -> None:
        start = self.at
        keys = self._keys("=")
        end, self.at = self.at, start
        for count in range(1, len(keys) + 1):
            self.note((*table, *keys[:count]))
        self.at = end + 1
        self.skip()
        self._value((*table, *keys))

    def _keys(self, end: str) -> list[str]:
        """Dotted keys, up to the character that ends them."""
        import tomllib

        start = self.at
        while not self.ahead(end):
            self._scalar(f" \t.{end}")
            while self.text[self.at] in " \t.":
                self.at += 1
        keys = []
        value: Any = tomllib.loads(f"{self.text[start : self.at]} = 0")
        while isinstance(value, dict):
            [(key, value)] = value.items()
            keys.append(key)
        return keys

    def _value(self, path: Path) -> None:
        self.note(path)
        if self.ahead("{"):
            self.at += 1
            while self.more("}"):
                self._pair(path)
        elif self.ahead("["):
            self.at += 1
            index = 0
            while self.more("]"):
                self._value((*path, index))
                index += 1
        else:
            self._scalar(",]}#\n")

    def _scalar(self, ends: str) -> None:
        """Pass a string, or what is written bare up to one of ``ends``."""
        for quote in ('"""', "'''", '"', "'"):
            if self.ahead(quote):
                self._string(quote)
                return
        while self.at < len(self.text) and self.text[self.at] not in ends:
            self.at += 1

    def _string(self, quote: str) -> None:
        # "" is an empty string, and no beginning of a longer one.
        self.at += len(quote)
        while not self.ahead(quote):
            self.at += 2 if self.ahead("\\") and quote[0] == '"' else 1
        self.at += len(quote)
        # A long string may end in up to two quotes of its own.
        while len(quote) == 3 and self.ahead(quote[0]):
            self.at += 1
