"""What clap prints: help, usage lines, complaints with their tips.

Strategy: layout only. Which complaint it is, ``clap`` decides; here are its words and
where the empty lines go. Seen on 2.5.0 CPU-only (clap 4.6).
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.commands import ansi, grammar
from fake_shimmy.commands.grammar import Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SIMILAR = 0.7
"""Jaro similarity above which clap suggests a name."""


class Ended(Exception):  # noqa: N818 - help is no error
    """Parsing ended with a text to print: help and version on stdout with status 0, else 2.

    The text carries terminal styles; see :mod:`fake_shimmy.commands.ansi`.
    """

    def __init__(self, text: str, status: int = 2) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def help_text(command: Command, path: str) -> str:
    """The help of ``command``, which was called by ``path``."""
    parts = [command.about, "", usage(command, path), ""]
    if command.name == "help":
        parts += [ansi.heading("Arguments:"), "  [COMMAND]...  Print help for the subcommand(s)"]
        return "\n".join(parts) + "\n"
    if command.commands:
        width = max(len(sub.name) for sub in command.commands)
        parts.append(ansi.heading("Commands:"))
        for sub in command.commands:
            padding = " " * (width - len(sub.name))
            parts.append(f"  {ansi.literal(sub.name)}{padding}  {sub.about}")
        parts.append("")
    if command.positional:
        parts += [ansi.heading("Arguments:"), f"  <{command.positional}>  ", ""]
    width = max(len(str(option)) for option in command.options)
    parts.append(ansi.heading("Options:"))
    for option in command.options:
        short = ansi.literal(f"-{option.short}") + ", " if option.short else "    "
        padding = " " * (width - len(str(option)))
        parts.append(f"  {short}{styled(option)}{padding}  {_help_tail(option)}")
    return "\n".join(parts) + "\n"


def _help_tail(option: Option) -> str:
    tail = [option.help] if option.help else []
    if option.default is not None:
        tail.append(f"[default: {option.default or rust.debug('')}]")
    if option.choices:
        tail.append(f"[possible values: {', '.join(option.choices)}]")
    return " ".join(tail)


def styled(option: Option) -> str:
    """The option as it stands in help and usage lines."""
    name = ansi.literal(f"--{option.long}")
    return name if option.value is None else f"{name} <{option.value}>"


def usage(command: Command, path: str) -> str:
    """The usage line of ``command``, which was called by ``path``."""
    if command.name == "help":
        return usage_of(path, ["[COMMAND]..."])
    required = [styled(option) for option in command.options if option.required]
    return usage_of(path, ["[OPTIONS]", *required, *usage_end(command)])


def usage_of(path: str, parts: Iterable[str]) -> str:
    """The usage line with these ``parts``."""
    return " ".join([ansi.heading("Usage:"), ansi.literal(path), *parts])


def usage_end(command: Command) -> list[str]:
    """What a usage line ends with: the positional, or the command's place."""
    if command.positional:
        return [f"<{command.positional}>"]
    return ["<COMMAND>"] if command.commands else []


def failure(text: str, usage: str | None, tip: str = "", detail: str = "") -> Ended:
    """An error as clap lays it out."""
    parts = [f"{ansi.error('error:')} {text}" + (f"\n{detail}" if detail else "")]
    if tip:
        parts.append(f"  {ansi.valid('tip:')} {tip}")
    if usage is not None:
        parts.append(usage)
    parts.append(f"For more information, try '{ansi.literal('--help')}'.")
    return Ended("\n\n".join(parts) + "\n")


def value_required(option: Option) -> Ended:
    """The complaint about an option without its value."""
    text = f"a value is required for '{ansi.invalid(str(option))}' but none was supplied"
    return failure(text, None, "", choices(option))


def invalid_value(raw: str, option: Option) -> str:
    """How the complaint about a value begins."""
    return f"invalid value '{ansi.invalid(raw)}' for '{ansi.literal(str(option))}'"


def choices(option: Option) -> str:
    """The line of possible values, if only some are possible."""
    return listing("possible values", option.choices) if option.choices else ""


def listing(what: str, names: Iterable[str]) -> str:
    """The line below a complaint that lists what there is."""
    return f"  [{what}: {', '.join(map(ansi.valid, names))}]"


def unexpected(argument: str) -> str:
    """The complaint about an argument that is unknown here."""
    return f"unexpected argument '{ansi.invalid(argument)}' found"


def unrecognized(name: str) -> str:
    """The complaint about a command that does not exist."""
    return f"unrecognized subcommand '{ansi.invalid(name)}'"


def escape_tip(argument: str) -> str:
    """How to pass what looks like an option as a value."""
    escaped = ansi.valid(f"-- {argument}")
    return f"to pass '{ansi.invalid(argument)}' as a value, use '{escaped}'"


def name_tip(what: str, names: list[str]) -> str:
    """The tip that names a similar argument; empty when there is none."""
    if not names:
        return ""
    listed = ", ".join(f"'{ansi.valid(name)}'" for name in names)
    return (
        f"a similar {what} exists: {listed}"
        if len(names) == 1
        else f"some similar {what}s exist: {listed}"
    )


def read_number(raw: str, kind: str) -> tuple[str, int]:
    """What Rust says against ``raw`` as a number (empty if it is one), and the number."""
    ranged = kind == grammar.U32
    # A ranged number is read as an i64 first and compared afterwards.
    low, high = (-(2**63), 2**63 - 1) if ranged else (0, 2**64 - 1)
    if not raw:
        return "cannot parse integer from empty string", 0
    signs = "+-" if ranged else "+"
    digits = raw[1:] if raw[0] in signs else raw
    if not (digits.isascii() and digits.isdigit()):
        return "invalid digit found in string", 0
    # The interpreter refuses to convert thousands of digits; twenty-one are too many anyway.
    number = int(
        raw[0] + digits.lstrip("0")[:21] if raw[0] in "+-" else digits.lstrip("0")[:21] or 0
    )
    if number > high:
        return "number too large to fit in target type", 0
    if number < low:
        return "number too small to fit in target type", 0
    if ranged and not 0 <= number < 2**32:
        return f"{number} is not in 0..=4294967295", 0
    return "", number


def similar(name: str, candidates: Iterable[str]) -> list[str]:
    """The candidates that are similar enough, the most similar last."""
    scored = [(jaro(name, candidate), candidate) for candidate in candidates]
    close = [pair for pair in scored if pair[0] > SIMILAR]
    return [candidate for _, candidate in sorted(close, key=lambda pair: pair[0])]


def jaro(first: str, second: str) -> float:
    """The Jaro similarity of two strings, 0 to 1."""
    if not first and not second:
        return 1.0
    if not first or not second:
        return 0.0
    reach = max(0, max(len(first), len(second)) // 2 - 1)
    taken = [False] * len(second)
    matched: list[str] = []
    for index, char in enumerate(first):
        for other in range(max(0, index - reach), min(len(second), index + reach + 1)):
            if not taken[other] and second[other] == char:
                taken[other] = True
                matched.append(char)
                break
    if not matched:
        return 0.0
    counterpart = [char for char, used in zip(second, taken, strict=True) if used]
    moved = sum(a != b for a, b in zip(matched, counterpart, strict=True)) / 2
    count = len(matched)
    return (count / len(first) + count / len(second) + (count - moved) / count) / 3
