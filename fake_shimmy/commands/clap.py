"""Reads an argument list by clap's rules and words its complaints.

Strategy: one :class:`_Level` per command on the line, walked left to right as clap does. The
order of events is part of the imitation: an option's value is judged only when the next option,
or the end, makes it complete, and a subcommand is read to its end before its parent is judged.
Seen on 2.5.0 CPU-only (clap 4.6).
"""

from __future__ import annotations

from contextlib import suppress

from fake_shimmy import rust
from fake_shimmy.commands import ansi, grammar
from fake_shimmy.commands.grammar import Command, Option
from fake_shimmy.commands.usage import (
    Ended,
    choices,
    escape_tip,
    failure,
    help_text,
    invalid_value,
    listing,
    name_tip,
    read_number,
    styled,
    unexpected,
    unrecognized,
    usage_end,
    usage_of,
    value_required,
)
from fake_shimmy.commands.usage import similar as find_similar
from fake_shimmy.commands.usage import usage as usage_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from fake_shimmy.releases import Release

    Value: TypeAlias = str | int | bool | None


class Invocation:
    """A complete command line: the command's name, its positional, every option's value."""

    __slots__ = ("command", "name", "values")

    def __init__(self, command: str, name: str | None, values: dict[str, Value]) -> None:
        self.command = command
        self.name = name
        self.values = values

    def text(self, long: str) -> str | None:
        """The value of a text option."""
        value = self.values.get(long)
        return value if isinstance(value, str) else None

    def number(self, long: str) -> int | None:
        """The value of a numeric option; its default is a text."""
        value = self.values.get(long)
        return None if value is None else int(value)

    def flag(self, long: str) -> bool:
        """Whether a flag was given."""
        return self.values.get(long) is True


def parse(program: str, release: Release, arguments: list[str]) -> Invocation:
    """Read ``arguments`` (without the program's name); raises :class:`Ended`."""
    root = _Level(grammar.root(release.missing_options), program, release.version)
    root.read(arguments, 0)
    leaf = root.child
    assert leaf is not None
    values: dict[str, Value] = {}
    for level in (root, leaf):
        for option in level.command.options:
            values.setdefault(option.long, option.default)
        # The later level wins where an option was given on both.
        values.update(level.values)
    return Invocation(leaf.command.name, leaf.positional, values)


class _Level:
    """One command on the line, with what was said to it so far."""

    def __init__(self, command: Command, path: str, version: str) -> None:
        self.command = command
        self.path = path
        self.version = version
        self.values: dict[str, Value] = {}
        self.positional: str | None = None
        self.child: _Level | None = None
        self._given: list[str] = []
        """What was given, in order: long names, and the positional's name."""
        self._pending: Option | None = None
        """The option whose value is judged next."""
        self._pending_values: list[str] = []
        self._pending_positional: str | None = None

    def read(self, arguments: list[str], start: int) -> None:
        """Read from ``start`` to the end."""
        only_positionals = False
        wants_value = False
        for index in range(start, len(arguments)):
            argument = arguments[index]
            if not only_positionals:
                if not wants_value and self._enter(arguments, index):
                    break
                if argument == "--":
                    only_positionals = True
                    continue
                if argument.startswith("--"):
                    wants_value = self._long(argument[2:], arguments[index + 1 :])
                    continue
                if argument.startswith("-") and argument != "-":
                    wants_value = self._short(argument[1:])
                    continue
                if wants_value:
                    self._pending_values.append(argument)
                    wants_value = False
                    continue
            self._plain(argument, only_positionals)
        self._settle()
        self._validate()

    def _enter(self, arguments: list[str], index: int) -> bool:
        for sub in self.command.commands:
            if sub.name == arguments[index]:
                if sub.name == "help":
                    self._help_command(arguments[index + 1 :])
                self.child = _Level(sub, f"{self.path} {sub.name}", self.version)
                self.child.read(arguments, index + 1)
                return True
        return False

    def _help_command(self, names: list[str]) -> None:
        command, path = self.command, self.path
        for name in names:
            found = next((sub for sub in command.commands if sub.name == name), None)
            if found is None:
                text, usage = unrecognized(rust.lossy(name)), usage_line(command, path)
                if command.name == "help":
                    # The help command has no --help of its own to point at.
                    raise Ended(f"{ansi.error('error:')} {text}\n\n{usage}\n")
                raise failure(text, usage)
            command, path = found, f"{path} {found.name}"
        raise Ended(help_text(command, path), 0)

    def _long(self, text: str, following: list[str]) -> bool:
        """Take ``--text``; whether its value is still to come."""
        name, equals, value = text.partition("=")
        option = self._find(name)
        if option is None:
            self._settle_quietly()
            raise self._unknown_long(rust.lossy(name), following)
        if option.value is not None:
            return self._take(option, value if equals else None)
        if equals:
            self._settle_quietly()
            raise self._unneeded_value(option, rust.lossy(value))
        self._react(option, [])
        return False

    def _short(self, letters: str) -> bool:
        """Take a bundle of short flags; whether the last one's value is still to come."""
        for position, letter in enumerate(letters):
            option = next((o for o in self.command.options if o.short == letter), None)
            if option is None:
                self._settle_quietly()
                rest = letters[position:] if not rust.is_utf8(letter) else letter
                shown = "-" + rust.lossy(rest)
                raise self._unexpected(shown, suggest_escape=bool(self.command.positional))
            if option.value is not None:
                attached = letters[position + 1 :]
                if attached.startswith("="):
                    return self._take(option, attached[1:])
                return self._take(option, attached or None)
            self._react(option, [])
        return False

    def _take(self, option: Option, value: str | None) -> bool:
        if value is not None:
            self._react(option, [value])
            return False
        self._settle()
        self._pending = option
        self._pending_values = []
        return True

    def _plain(self, argument: str, only_positionals: bool) -> None:
        if self.command.positional and self.positional is None:
            self._settle()
            self.positional = self._pending_positional = argument
            return
        self._settle_quietly()
        shown = rust.lossy(argument)
        if not self.command.commands:
            raise self._unexpected(shown)
        usage = usage_line(self.command, self.path)
        names = [sub.name for sub in self.command.commands]
        if only_positionals and argument in names:
            name, dashes = ansi.valid(shown), ansi.invalid("--")
            tip = f"subcommand '{name}' exists; to use it, remove the '{dashes}' before it"
            raise failure(unexpected(shown), usage, tip)
        similar = find_similar(shown, names)
        raise failure(unrecognized(shown), usage, name_tip("subcommand", similar))

    def _find(self, long: str) -> Option | None:
        return next((o for o in self.command.options if o.long == long), None)

    def _settle(self) -> None:
        """Judge what is pending."""
        option, self._pending = self._pending, None
        if option is not None:
            self._store(option, self._pending_values)
        name, self._pending_positional = self._pending_positional, None
        if name is not None:
            assert self.command.positional is not None
            self._require_utf8(name)
            self._given.append(self.command.positional)

    def _settle_quietly(self) -> None:
        # Another complaint is on its way and wins.
        with suppress(Ended):
            self._settle()

    def _react(self, option: Option, values: list[str]) -> None:
        self._settle()
        self._store(option, values)

    def _store(self, option: Option, values: list[str]) -> None:
        if option.kind == grammar.HELP:
            raise Ended(help_text(self.command, self.path), 0)
        if option.kind == grammar.VERSION:
            # From the program's name in the source, not from argv.
            raise Ended(f"shimmy {self.version}\n", 0)
        if option.value is not None and not values:
            raise value_required(option)
        if option.long in self.values:
            text = f"the argument '{ansi.invalid(str(option))}' cannot be used multiple times"
            raise failure(text, usage_line(self.command, self.path))
        self._given.append(option.long)
        self.values[option.long] = self._convert(option, values[0]) if values else True

    def _convert(self, option: Option, raw: str) -> Value:
        self._require_utf8(raw)
        if option.choices:
            if not raw:
                raise value_required(option)
            if raw not in option.choices:
                tip = name_tip("value", find_similar(raw, option.choices)[-1:])
                raise failure(invalid_value(raw, option), None, tip, choices(option))
            return raw
        if option.kind == grammar.TEXT:
            return raw
        reason, number = read_number(raw, option.kind)
        if reason:
            raise failure(f"{invalid_value(raw, option)}: {reason}", None)
        return number

    def _require_utf8(self, raw: str) -> None:
        if not rust.is_utf8(raw):
            text = "invalid UTF-8 was detected in one or more arguments"
            raise failure(text, usage_line(self.command, self.path))

    def _validate(self) -> None:
        command, usage = self.command, usage_line(self.command, self.path)
        if command.commands and self.child is None:
            if not self._given:
                raise Ended(help_text(command, self.path))
            names = listing("subcommands", (sub.name for sub in command.commands))
            text = f"'{ansi.invalid(self.path)}' requires a subcommand but one was not provided"
            raise failure(text, usage, "", names)
        for given in self._given:
            for pair in grammar.CONFLICTS:
                other = pair[1 - pair.index(given)] if given in pair else None
                if other in self._given:
                    raise self._conflict(given, other)
        missing = [o for o in command.options if o.required and o.long not in self.values]
        needs_name = command.positional is not None and self.positional is None
        if missing or needs_name:
            listed = [str(option) for option in missing]
            if needs_name:
                listed.append(f"<{command.positional}>")
            text = "the following required arguments were not provided:"
            usage = self._smart_usage([*self._given, *listed])
            raise failure(text, usage, "", "\n".join("  " + ansi.valid(name) for name in listed))

    def _conflict(self, given: str, other: str) -> Ended:
        first, second = (ansi.invalid(str(self._find(name))) for name in (given, other))
        text = f"the argument '{first}' cannot be used with '{second}'"
        return failure(text, self._smart_usage([name for name in self._given if name != other]))

    def _smart_usage(self, used: list[str], group: str | None = None) -> str:
        """The usage line that names only what is required and what was ``used``."""
        command = self.command
        if not used:
            return usage_line(command, self.path)
        options = [option for option in command.options if option.required]
        options += [o for name in used if (o := self._find(name)) and o not in options]
        grouped = self._group() if group is not None else []
        shown = [styled(option) for option in options if option.long not in grouped]
        if group is not None:
            shown.append(group)
        end = [] if command.positional in grouped else usage_end(command)
        return usage_of(self.path, [*dict.fromkeys(shown), *end])

    def _group(self) -> list[str]:
        """The names in the group that clap's derive makes of a command's own arguments."""
        inherited = {option.long for option in grammar.GLOBAL_OPTIONS}
        if self.command.commands:
            return [o.long for o in self.command.options if o.long in inherited]
        own = [o.long for o in self.command.options if o.long not in inherited and o.long != "help"]
        return [self.command.positional, *own] if self.command.positional else own

    def _unknown_long(self, name: str, following: list[str]) -> Ended:
        text = unexpected(f"--{name}")
        similar = find_similar(name, [option.long for option in self.command.options])
        if similar:
            tip = name_tip("argument", [f"--{similar[-1]}"])
            used = [*self._given, similar[-1]]
            return failure(text, self._smart_usage(list(dict.fromkeys(used))), tip)
        tip = ""
        best = len(following)
        for sub in self.command.commands:
            if sub.name not in following or following.index(sub.name) >= best:
                continue
            similar = find_similar(name, [option.long for option in sub.options])
            if similar:
                best = following.index(sub.name)
                tip = f"'{ansi.valid(f'{sub.name} --{similar[-1]}')}' exists"
        if not tip and self.command.positional:
            tip = escape_tip(f"--{name}")
        return failure(text, self._smart_usage(self._given), tip)

    def _unexpected(self, shown: str, suggest_escape: bool = False) -> Ended:
        tip = escape_tip(shown) if suggest_escape else ""
        return failure(unexpected(shown), usage_line(self.command, self.path), tip)

    def _unneeded_value(self, option: Option, value: str) -> Ended:
        text = (
            f"unexpected value '{ansi.invalid(value)}' for '{ansi.literal(str(option))}' found; "
            "no more were expected"
        )
        members = self._group()
        group = None
        if any(name in members for name in self._given if name != self.command.positional):
            shown = [str(self._find(name) or name) for name in members]
            group = f"<{'|'.join(shown)}>"
        return failure(text, self._smart_usage([*self._given, option.long], group))
