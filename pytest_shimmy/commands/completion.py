"""``pytest-shimmy completion SHELL``: a script that completes this command line, by shtab."""

from __future__ import annotations

import argparse

from ..errors import ShimmyError, ShimmyErrorCode
from .arguments import Commands, add_command

SHELLS = ("bash", "zsh", "tcsh")
"""Those that shtab writes scripts for."""

EXAMPLES = """\
  eval "$(pytest-shimmy completion bash)"       in this bash
  pytest-shimmy completion zsh > ~/.zfunc/_pytest-shimmy
"""


def add_to(commands: Commands) -> None:
    completion = add_command(
        commands,
        "completion",
        "print a script that completes this command line in a shell",
        "Print a script that completes this command line in a shell. fish is not among them:\n"
        "shtab, which writes the scripts, does not know it.\n"
        'Needs shtab: pip install "pytest-shimmy[completion]"',
        EXAMPLES,
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell to write for")
    completion.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        raise ShimmyError(
            ShimmyErrorCode.CLIENT_MISSING,
            f"completion scripts are written by shtab, which cannot be imported: {error}.\n"
            'Install it: pip install "pytest-shimmy[completion]"',
        ) from error
    print(shtab.complete(chosen.program, chosen.shell))
    return 0
