"""``pytest-shimmy``: the same parts outside pytest.

Each command is a module in `commands`, which adds its parser and runs it. Here is what they have
in common: exit codes, signals, and how errors are shown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from .commands import (
    agent,
    cassettes,
    completion,
    doctor,
    models,
    record,
    report,
    serve,
    terminal,
    verify,
)
from .commands.arguments import DEBUG, Parser
from .errors import ShimmyError

COMMANDS = (doctor, models, serve, agent, verify, record, cassettes, report, completion)

BROKEN_PIPE = 141
"""128 + SIGPIPE, on systems that have no such signal, too."""

EPILOG = """\
examples:
  pytest-shimmy doctor                    what would run, and why
  pytest-shimmy models list               the models, and the default
  pytest-shimmy serve -v                  a server until Ctrl-C
  pytest-shimmy agent run "Say hello."    one answer, as it comes
  pytest-shimmy verify                    compare the bundled fake with real ones

exit codes:
    0  success
    1  a problem: "pytest-shimmy: [CODE] ..." on stderr
    2  the command line is invalid
  129  the terminal was closed (SIGHUP)
  130  ended by Ctrl-C (SIGINT)
  141  the output was closed early, as in "| head -1"
  143  ended by SIGTERM
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Ignored already by nohup, or by a shell that starts it in the background.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a model says, or a file is called, may be more than the locale has letters for.
        sys.stdout.reconfigure(errors="replace")
    try:
        code: int = chosen.run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ShimmyError, OSError) as error:
        _show(error, debug=chosen.debug)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="pytest-shimmy",
        description="The commands of pytest-shimmy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=version("pytest-shimmy"))
    made.add_argument("--debug", action="store_true", help=DEBUG)
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    made.set_defaults(program=made)
    return made


def _end(number: int, _: FrameType | None) -> NoReturn:
    """End in order, once: a second Ctrl-C must not interrupt what the first began."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, lambda *_: None)
    sys.exit(128 + number)


def _show(error: ShimmyError | OSError, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
        if isinstance(error, ShimmyError) and error.details:
            print("details:", json.dumps(error.details, indent=2, default=str), file=sys.stderr)
    terminal.note("pytest-shimmy:", "red", str(error))


if __name__ == "__main__":
    sys.exit(main())
