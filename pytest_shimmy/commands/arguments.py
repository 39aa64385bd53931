"""What the commands' parsers share: examples below the help, and the settings as flags."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn, TypeAlias

from .. import settings
from ..settings_table import TABLE

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add_to`` of a command is given: `add_command` makes the command's parser in it."""

DEBUG = "show the traceback and the details of an error"

SERVER = (
    *("path", "fake", "fake_version", "fake_build", "fake_script"),
    *("model", "tiny_model", "models_dir", "gpu"),
    *("port", "start_timeout", "max_restarts", "args", "env", "log_dir"),
)
"""The settings that say what is started and how; the others are about tests, or attach."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are their reason, with what was perhaps meant, and not the usage."""

    def error(self, message: str) -> NoReturn:
        from difflib import get_close_matches

        said = [f"{self.prog}: error: {message}"]
        known = {f"--shimmy-{setting.name.replace('_', '-')}" for setting in TABLE}
        for word in message.partition("unrecognized arguments: ")[2].split():
            flag = f"--shimmy-{word.partition('=')[0].removeprefix('--').removeprefix('shimmy-')}"
            word = word.partition("=")[0]
            if word in known:
                said.append(f"{word} is for pytest and other commands.")
            elif word.startswith("--") and (near := get_close_matches(flag, known, 1)):
                said.append(f"Instead of {word}, perhaps {near[0]}?")
        said.append(f"See: {self.prog} --help")
        self.exit(2, "\n".join(said) + "\n")


def add_command(
    commands: Commands, name: str, summary: str, description: str, examples: str = ""
) -> argparse.ArgumentParser:
    """A parser for the command `name`, in `commands`. `examples` are shown below its help."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Also after the command, where people add it to a line that has just failed.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
    return parser


def add_settings(parser: argparse.ArgumentParser, only: Collection[str] | None = None) -> None:
    """Give `parser` the flags of the settings in `only` (default: of all)."""
    group = parser.add_argument_group(
        "settings", "The same as for pytest; PYTEST_SHIMMY_* variables count, too."
    )
    settings.add_arguments(group.add_argument, only=only)
    parser.set_defaults(parser=parser)


def settings_of(chosen: argparse.Namespace) -> settings.Settings:
    """The settings that a parser with `add_settings` has read. A bad value ends the program, as
    other usage errors do."""
    try:
        found = settings.load(
            lambda name: getattr(chosen, name, None), lambda _: None, os.environ, Path()
        )
        return found.without_cassettes()
    except settings.BadSettingError as error:
        usage_error(chosen, str(error))


def settings_to_start(chosen: argparse.Namespace) -> settings.Settings:
    """The same, for a command that runs an executable itself."""
    found = settings_of(chosen)
    if found.mode == "attached":
        usage_error(
            chosen,
            f"this command runs an executable, and {found.sources['url']} names a server: drop it",
        )
    return found


def check_one_server(chosen: argparse.Namespace, found: settings.Settings) -> None:
    """Several backends or releases are for pytest, which repeats tests; one server has one. A usage
    error."""
    if len(found.gpu) > 1:
        usage_error(chosen, f"{found.sources['gpu']}: one server has one backend, name one")
    if len(found.fake_version) > 1:
        usage_error(
            chosen, f"{found.sources['fake_version']}: one server has one release, name one"
        )


def usage_error(chosen: argparse.Namespace, message: str) -> NoReturn:
    """End the program with exit code 2, as `argparse` does."""
    parser: argparse.ArgumentParser = chosen.parser
    parser.error(message)
