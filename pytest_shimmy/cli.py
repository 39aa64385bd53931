"""``pytest-shimmy``: the same parts outside pytest.

Exit codes: 0 all is well, 1 a problem was found (and said), 2 the command line was not understood.
Each command is a function that takes the parsed arguments and gives the exit code.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from . import settings
from .errors import ShimmyError

EXAMPLES = """\
examples:
  pytest-shimmy doctor                        what would run, and why
  pytest-shimmy doctor --shimmy-path=shimmy   the same, for the executable on PATH
  pytest-shimmy verify                        the bundled fake against what real ones did
  pytest-shimmy verify --shimmy-path=shimmy   has this shimmy changed?
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    # So that whatever is open is closed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        code: int = chosen.run(chosen)
    except ShimmyError as error:
        print(f"pytest-shimmy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


def _doctor(chosen: argparse.Namespace) -> int:
    from . import doctor

    try:
        loaded = settings.load(
            lambda name: getattr(chosen, name), lambda _: None, os.environ, Path()
        )
    except settings.BadSettingError as error:
        chosen.parser.error(str(error))
    findings = doctor.examine(loaded)
    if chosen.json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(doctor.describe(findings)))
    return 1 if findings["problems"] else 0


def _verify(chosen: argparse.Namespace) -> int:
    from .contract import session

    return session.verify(
        path=chosen.shimmy_path,
        release=chosen.release,
        build=chosen.build,
        recording=chosen.recording,
        words=chosen.only,
        everything=chosen.all,
        as_json=chosen.json,
    )


def _record(chosen: argparse.Namespace) -> int:
    from .contract import session

    return session.record(chosen.shimmy_path, chosen.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-shimmy",
        description="The parts of pytest-shimmy, outside pytest.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("pytest-shimmy"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="say what a session would run, and why",
        description="Say what a session would run, and why. Flags are those of pytest; "
        "PYTEST_SHIMMY_* variables are read too.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    settings.add_arguments(doctor.add_argument)
    doctor.set_defaults(run=_doctor, parser=doctor)
    _add_verify(commands)
    _add_record(commands)
    return parser


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify",
        help="compare a shimmy, or the bundled fake, with recordings of real ones",
        description="Do what was done to real executables when they were recorded, and say what "
        "comes out differently. Without a path, the bundled fake is compared with every "
        "recording. Exit code 1 means that something differs.",
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
    verify.set_defaults(run=_verify)


def _add_record(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    record = commands.add_parser(
        "record",
        help="record what a real shimmy does, for verify",
        description="Do every check to an executable, twice, and write down what came back.",
    )
    record.add_argument("--shimmy-path", metavar="PATH", required=True, help="the executable")
    record.add_argument(
        "--output", metavar="FILE", type=Path, help="default: RELEASE-BUILD.json, in this folder"
    )
    record.set_defaults(run=_record)


if __name__ == "__main__":
    sys.exit(main())
