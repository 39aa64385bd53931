"""Terminal styles: clap's codes, when they are wanted, and how they are taken out again.

Strategy: text is always made with its codes and stripped at the end where no colours are wanted, as
the real one does. So codes that came in with an argument disappear by the same rules (seen on
2.5.0 CPU-only, clap 4.6 with anstream 1.0).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_RESET = "\x1b[0m"
_GROUND, _ESCAPE, _SEQUENCE, _STRING = range(4)
_WHITE_SPACE = "\t\n\x0c\r "


def heading(text: str) -> str:
    """``Usage:`` and the headings of a help text."""
    return f"\x1b[1m\x1b[4m{text}{_RESET}"


def error(text: str) -> str:
    """The word that opens a complaint."""
    return f"\x1b[1m\x1b[31m{text}{_RESET}"


def literal(text: str) -> str:
    """What is to be typed as it stands."""
    return f"\x1b[1m{text}{_RESET}"


def valid(text: str) -> str:
    """What would have been right."""
    return f"\x1b[32m{text}{_RESET}"


def invalid(text: str) -> str:
    """What was wrong."""
    return f"\x1b[33m{text}{_RESET}"


def wanted(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether clap colours what it writes to ``descriptor``."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE"):
        return True
    if environ.get("CLICOLOR") == "0" or not os.isatty(descriptor):
        return False
    return "CLICOLOR" in environ or "CI" in environ or environ.get("TERM", "dumb") != "dumb"


def strip(text: str) -> str:
    """``text`` without escape sequences and without control characters that are no white space."""
    kept: list[str] = []
    state = _GROUND
    for char in text:
        if state == _GROUND:
            if char == "\x1b":
                state = _ESCAPE
            elif char > "\x7f" or " " <= char < "\x7f" or char in _WHITE_SPACE:
                kept.append(char)
            continue
        if state != _STRING and char < " " and char in _WHITE_SPACE:
            # White space inside a sequence is carried out, and ends the sequence.
            kept.append(char)
            state = _GROUND
            continue
        state = _after(state, char)
    return "".join(kept)


def _after(state: int, char: str) -> int:
    """The state after ``char`` inside an escape sequence."""
    if char == "\x1b":
        return _ESCAPE
    if char in "\x18\x1a" or (state == _STRING and char == "\x07"):
        return _GROUND
    if state == _ESCAPE and char == "[":
        return _SEQUENCE
    if state == _ESCAPE and char in "PX]^_":
        return _STRING
    if state == _ESCAPE and "0" <= char <= "~":
        return _GROUND
    if state == _SEQUENCE and "@" <= char <= "~":
        return _GROUND
    return state
