"""Script files, in JSON or TOML; what is wrong with one is told with its line.

Strategy: both formats become a plain document and a map from the paths in it to lines; the
document is read by its shapes, and where they refuse a value, its path leads to the line.
"""

from __future__ import annotations

import json

from fake_shimmy.script import rules
from fake_shimmy.script.shapes import ScriptError, show_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fake_shimmy.script.shapes import Path


class ScriptFileError(ScriptError):
    """A script file that cannot be used; the text names file, line and reason."""

    def __init__(self, file: str, line: int | None, reason: str, path: Path = ()) -> None:
        super().__init__(path, reason)
        self.file = file
        self.line = line
        """From 1; nothing where the file as a whole is meant."""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        what = f"{show_path(self.path)}: " if self.path else ""
        return f"{where}: {what}{self.reason}"


def load(path: str) -> rules.Script:
    """The script in a ``.json`` or ``.toml`` file; raises :class:`ScriptFileError`."""
    return rules.read(document(path))


def document(path: str) -> dict[str, Any]:
    """The same as a plain document, of which is known that it is a script."""
    text = _text(path)
    try:
        if path.endswith(".toml"):
            found, lines = _toml(path, text)
        else:
            found, lines = _json(path, text)
    except RecursionError:
        raise ScriptFileError(path, None, "it is nested too deeply") from None
    try:
        rules.read(found)
    except ScriptError as error:
        line = _line_of(error.path, lines)
        raise ScriptFileError(path, line, error.reason, error.path) from None
    checked: dict[str, Any] = found
    return checked


def _text(path: str) -> str:
    if not path.endswith((".json", ".toml")):
        raise ScriptFileError(path, None, "a script is a .json or a .toml file")
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ScriptFileError(path, None, f"it cannot be read: {reason}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScriptFileError(path, line, "it is not UTF-8") from None


def _line_of(path: Path, lines: dict[Path, int]) -> int:
    """The line of a value, or of the nearest around it whose line is known."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _json(file: str, text: str) -> tuple[Any, dict[Path, int]]:
    try:
        document = json.loads(text)
        reader = _JsonReader(text)
        reader.value(reader.skip(0), ())
    except json.JSONDecodeError as error:
        raise ScriptFileError(file, error.lineno, error.msg) from None
    return document, reader.lines


class _JsonReader:
    """Finds the line of every value in a text that is known to be JSON, and refuses what JSON
    allows and a script does not mean: a name twice, and numbers that are none."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._scan = json.JSONDecoder(parse_constant=self._refuse).raw_decode
        self._line, self._counted = 1, 0
        self._at = 0

    def value(self, at: int, path: Path) -> int:
        """Read the value at ``at``; returns where it ends."""
        self._at = at
        self.lines[path] = self._line_at(at)
        first = self._text[at]
        if first == "{":
            return self._members(at + 1, path)
        if first == "[":
            return self._items(at + 1, path)
        return self._scan(self._text, at)[1]

    def skip(self, at: int) -> int:
        """The next place that is no white space."""
        while self._text[at] in " \t\r\n":
            at += 1
        return at

    def _members(self, at: int, path: Path) -> int:
        names = set()
        while self._text[at := self.skip(at)] != "}":
            at = self.skip(at + 1) if self._text[at] == "," else at
            name, end = self._scan(self._text, at)
            if name in names:
                raise json.JSONDecodeError(f"the name {name!r} is given twice", self._text, at)
            names.add(name)
            # Past the colon.
            at = self.value(self.skip(self.skip(end) + 1), (*path, name))
        return at + 1

    def _items(self, at: int, path: Path) -> int:
        index = 0
        while self._text[at := self.skip(at)] != "]":
            at = self.skip(at + 1) if self._text[at] == "," else at
            at = self.value(at, (*path, index))
            index += 1
        return at + 1

    def _line_at(self, at: int) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def _refuse(self, name: str) -> Any:
        raise json.JSONDecodeError(f"{name} is not a number", self._text, self._at)


def _toml(file: str, text: str) -> tuple[Any, dict[Path, int]]:
    import re
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        # Without a line it is the end that came too early.
        line = int(found[1]) if found else text.count("\n") + 1
        reason = str(error)[: found.start()].rstrip() if found else str(error)
        raise ScriptFileError(file, line, reason) from None
    return document, _toml_lines(text)


def _toml_lines(text: str) -> dict[Path, int]:
    """The lines of tables and keys; what stands in one line with its key is found by the key."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            name = stripped.partition("#")[0].strip()
            is_item = name.startswith("[[")
            keys = _toml_keys(name.strip("[]"))
            if keys is None:
                continue
            table = _resolved(keys[:-1], counts)
            last = (*table, keys[-1])
            if is_item:
                counts[last] = counts.get(last, -1) + 1
                table = (*last, counts[last])
            else:
                table = (*last, counts[last]) if last in counts else last
            lines.setdefault(table, number)
        else:
            keys = _toml_keys(stripped.partition("=")[0]) if "=" in stripped else None
            for end in range(len(keys or ())):
                lines.setdefault((*table, *(keys or ())[: end + 1]), number)
    return lines


def _resolved(keys: list[str], counts: dict[Path, int]) -> Path:
    """Keys as a path, through the newest item of every array of tables."""
    path: Path = ()
    for key in keys:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path])
    return path


def _toml_keys(dotted: str) -> list[str] | None:
    import tomllib

    try:
        value: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return None
    keys = []
    while isinstance(value, dict):
        [(key, value)] = value.items()
        keys.append(key)
    return keys
