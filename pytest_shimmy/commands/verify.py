"""``pytest-shimmy verify``: a shimmy, or the bundled fake, against recordings of real ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import Commands, add_command

EXAMPLES = """\
  pytest-shimmy verify                          the bundled fake, against every recording
  pytest-shimmy verify --shimmy-path=shimmy     this shimmy, against the nearest recording
"""


def add_to(commands: Commands) -> None:
    verify = add_command(
        commands,
        "verify",
        "compare a shimmy, or the bundled fake, with recordings of real ones",
        "Repeat the recorded checks on an executable, and show what it answers differently.\n"
        "Without a path, the bundled fake is compared with every recording.\n"
        "Exit code 1 means that something differs.",
        EXAMPLES,
    )
    verify.add_argument(
        "--shimmy-path", metavar="PATH", help="an executable to check, or a recording (.json)"
    )
    verify.add_argument(
        "--release", metavar="X.Y.Z", help="compare with the recording of this release"
    )
    verify.add_argument(
        "--build", choices=["default", "cpu-only"], help="compare with the recording of this build"
    )
    verify.add_argument(
        "--recording", metavar="FILE", type=Path, help="compare with this recording instead"
    )
    verify.add_argument(
        "-k", dest="only", metavar="WORDS", help="only checks whose name has all these words"
    )
    verify.add_argument("--all", action="store_true", help="print every difference in full")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from ..contract import command

    return command.verify(
        path=chosen.shimmy_path,
        release=chosen.release,
        build=chosen.build,
        recording=chosen.recording,
        words=chosen.only,
        everything=chosen.all,
        as_json=chosen.json,
    )
