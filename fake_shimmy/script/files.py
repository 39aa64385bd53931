"""Script files, in JSON or TOML; what is wrong with one is told with its line.

Strategy: both formats become a plain document and a map from the paths in it to lines; the
document is read by its shapes, and where they refuse a value, its path leads to the line.
"""

from __future__ import annotations

import json

from fake_shimmy.script import lines, rules
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
        """From 1; None for the file as a whole."""

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
            found, where = _toml(path, text)
        else:
            found, where = _json(path, text)
    except RecursionError:
        raise ScriptFileError(path, None, "it is nested too deeply") from None
    try:
        rules.read(found)
    except ScriptError as error:
        line = lines.line_of(error.path, where)
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


def _json(file: str, text: str) -> tuple[Any, dict[Path, int]]:
    try:
        return json.loads(text), lines.of_json(text)
    except json.JSONDecodeError as error:
        raise ScriptFileError(file, error.lineno, error.msg) from None
    except ValueError as error:
        raise ScriptFileError(file, None, str(error)) from None


def _toml(file: str, text: str) -> tuple[Any, dict[Path, int]]:
    import re
    import tomllib

    try:
        document = tomllib.loads(text)
    except ValueError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        # Without a line it is the end that came too early.
        line = int(found[1]) if found else text.count("\n") + 1
        raise ScriptFileError(file, line, str(error)[: found and found.start()]) from None
    return document, lines.of_toml(text)
