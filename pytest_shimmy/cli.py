"""``pytest-shimmy``: the same parts outside pytest.

Exit codes: 0 all is well, 1 a problem was found (and said), 2 the command line was not understood.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import binary, paths, settings
from .errors import ShimmyError

EXAMPLES = """\
examples:
  pytest-shimmy doctor                        what would run, and why
  pytest-shimmy doctor --shimmy-path=shimmy   the same, for the executable on PATH
  pytest-shimmy doctor --json                 for a program to read
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        loaded = settings.load(
            lambda name: getattr(chosen, name), lambda _: None, os.environ, Path()
        )
    except settings.BadSettingError as error:
        parser.error(str(error))
    findings = examine(loaded)
    if chosen.json:
        print(json.dumps(findings, indent=2))
    else:
        print("\n".join(describe(findings)))
    return 1 if findings["problems"] else 0


def examine(chosen: settings.Settings) -> dict[str, Any]:
    """What a session with these settings would run, and what stands in its way."""
    problems: list[str] = []
    server: dict[str, Any] = {"mode": chosen.mode, "url": chosen.url}
    try:
        if chosen.mode == "attached":
            from .server import attach

            server["version"] = attach(chosen).version
        else:
            executable = (
                binary.bundled_fake(chosen.fake_version)
                if chosen.path is None
                else binary.identify(chosen.path)
            )
            server |= {"command": list(executable.command), "version": executable.version}
    except ShimmyError as error:
        problems.append(str(error))
    runtime: dict[str, Any] = {}
    try:
        runtime = {"directory": str(paths.runtime_dir()), "leased_ports": _leased_ports()}
    except ShimmyError as error:
        problems.append(str(error))
    return {
        "pytest_shimmy": version("pytest-shimmy"),
        "server": server,
        "settings": {
            name: {"value": _plain(getattr(chosen, name)), "from": source}
            for name, source in chosen.sources.items()
        },
        "runtime": runtime,
        "problems": problems,
    }


def describe(findings: dict[str, Any]) -> list[str]:
    """`examine`'s findings, for a person."""
    server, runtime = findings["server"], findings["runtime"]
    what = {
        "fake": "the bundled fake of shimmy",
        "real": "a real shimmy",
        "attached": f"attached to {server['url']}, shimmy",
    }[server["mode"]]
    lines = [
        f"pytest-shimmy {findings['pytest_shimmy']}",
        f"server    {what} {server.get('version', '(unknown)')}",
    ]
    if server["mode"] == "real" and "command" in server:
        lines.append(f"          {server['command'][0]}")
    lines.append("settings  " + ("all default" if not findings["settings"] else ""))
    for name, entry in findings["settings"].items():
        lines.append(f"          {name} = {entry['value']!r}  ({entry['from']})")
    if runtime:
        ports = ", ".join(map(str, runtime["leased_ports"])) or "none"
        lines += [f"runtime   {runtime['directory']}", f"          ports leased now: {ports}"]
    lines += [f"problem   {problem}" for problem in findings["problems"]]
    if not findings["problems"]:
        lines.append("a session could start")
    return [line.rstrip() for line in lines]


def _leased_ports() -> list[int]:
    from filelock import FileLock, Timeout

    leased = []
    for lock_file in sorted(paths.subdir("ports").glob("*.lock")):
        try:
            with FileLock(str(lock_file)).acquire(blocking=False):
                pass
        except Timeout:
            leased.append(int(lock_file.stem))
    return leased


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


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
    return parser


if __name__ == "__main__":
    sys.exit(main())
