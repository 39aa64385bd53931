"""What a suite says of its cassettes, in one file: which parts of requests vary, what is secret."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from fake_shimmy.script.same_request import Sameness

from ..errors import ShimmyError, ShimmyErrorCode

FILE = "cassettes.toml"
"""Its name, in the folder of the cassettes. It need not be there."""


class Rules(NamedTuple):
    """The members of the file, all lists of strings."""

    ignore: tuple[str, ...] = ()
    """Members of request bodies that do not count: ``metadata.id``, ``messages[*].name``."""
    varying: tuple[str, ...] = ()
    """Regular expressions for texts in requests that differ from run to run."""
    secret: tuple[str, ...] = ()
    """Regular expressions for what must never be in a cassette."""

    def sameness(self, secrets: tuple[str, ...] = ()) -> Sameness:
        """Which requests are the same; `secrets` are texts that stand masked in cassettes."""
        return Sameness(*self, secrets=secrets)


def read_rules(folder: Path) -> Rules:
    """The rules of the cassettes in `folder`. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
    path = folder / FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Rules()
    except (OSError, ValueError) as error:
        raise invalid(path, str(error)) from None
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in Rules._fields:
            raise invalid(path, f"there is no {name!r}; there are: {', '.join(Rules._fields)}")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise invalid(path, f"{name} is a list of strings")
        values[name] = tuple(value)
    rules = Rules(**values)
    try:
        rules.sameness()
    except ValueError as error:
        raise invalid(path, str(error)) from None
    return rules


def invalid(path: Path, reason: str, line: int | None = None) -> ShimmyError:
    """The error for a file that cannot be used, because of what is in that `line` of it."""
    where = str(path) if line is None else f"{path}, line {line}"
    return ShimmyError(ShimmyErrorCode.CASSETTE_INVALID, f"{where}: {reason}", {"path": str(path)})
