"""What commands write for a person: labels in colour, on a terminal that wants them."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO

Colour = Literal["red", "green", "yellow"]

_CODES: dict[Colour, int] = {"red": 31, "green": 32, "yellow": 33}


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches `stream` on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")


def label(text: str, colour: Colour, stream: TextIO) -> str:
    """`text` as it is to be written to `stream`: in colour on a terminal, without ``NO_COLOR``."""
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[1;{_CODES[colour]}m{text}\x1b[0m"


def note(text: str, colour: Colour, rest: str = "") -> None:
    """A line on stderr: a label in `colour`, and `rest` after it."""
    line = label(text, colour, sys.stderr) + (f" {rest}" if rest else "")
    print(line, file=sys.stderr, flush=True)
