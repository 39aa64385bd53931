"""``pytest-shimmy record``: what a real shimmy does, written down for ``verify``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import Commands, add_command

EXAMPLES = """\
  pytest-shimmy record --shimmy-path=shimmy --output=mine.json
"""


def add_to(commands: Commands) -> None:
    record = add_command(
        commands,
        "record",
        "record what a real shimmy does, for verify",
        "Run every check on an executable, twice, and record the answers.",
        EXAMPLES,
    )
    record.add_argument("--shimmy-path", metavar="PATH", required=True, help="the executable")
    record.add_argument(
        "--output", metavar="FILE", type=Path, help="default: RELEASE-BUILD.json, in this folder"
    )
    record.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from ..contract import command

    return command.record(chosen.shimmy_path, chosen.output)
