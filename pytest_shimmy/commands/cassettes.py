"""``pytest-shimmy cassettes``: has the recorded server moved since; which recordings are unused."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Commands, add_command, add_settings, settings_of, usage_error

if TYPE_CHECKING:
    from ..cassettes.drift import Change, Tally
    from ..cassettes.folder import Folder

EXAMPLES = """\
  pytest-shimmy cassettes check tests/cassettes --shimmy-url=http://127.0.0.1:11435
  pytest-shimmy cassettes check tests/cassettes --shimmy-path=shimmy
  pytest-shimmy cassettes prune tests/cassettes --dry-run
"""

CHECKED = (
    *("path", "url", "model", "tiny_model", "models_dir"),
    *("args", "env", "start_timeout"),
)
"""The settings that say which server is asked."""


def add_to(commands: Commands) -> None:
    cassettes = add_command(
        commands, "cassettes", "check recordings against a server, or remove unused ones",
        "Recordings are made by pytest --shimmy-record=DIR.", EXAMPLES,
    )  # fmt: skip
    verbs: Commands = cassettes.add_subparsers(metavar="COMMAND", required=True)
    check = add_command(
        verbs, "check", "compare a server's answers with the recordings",
        "Send the recorded requests, and compare the structure of the answers. A new member is\n"
        "reported. A missing one, another type, status or framing is a failure: exit code 1.",
        EXAMPLES,
    )  # fmt: skip
    check.add_argument("folder", metavar="DIR", type=Path)
    check.add_argument("--json", action="store_true", help="print JSON")
    add_settings(check, CHECKED)
    check.set_defaults(run=_check)
    prune = add_command(
        verbs, "prune", "remove the recordings that no test uses",
        "Runs the whole suite on its recordings, and removes those that it did not use, if it\n"
        "passed.",
        EXAMPLES,
    )  # fmt: skip
    prune.add_argument("folder", metavar="DIR", type=Path)
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    prune.add_argument(
        "--pytest", metavar="ARGS", default="", help="further arguments of pytest, quoted"
    )
    prune.set_defaults(run=_prune)


def _folder(chosen: argparse.Namespace) -> Folder:
    from ..cassettes.folder import Folder

    if not chosen.folder.is_dir():
        usage_error(chosen, f"there is no folder {chosen.folder}")
    return Folder(chosen.folder)


def _check(chosen: argparse.Namespace) -> int:
    from ..cassettes.drift import Tally, check
    from ..cassettes.recorder_process import RecorderProcess
    from .temporary_server import running

    folder, settings = _folder(chosen), settings_of(chosen)
    if settings.mode == "fake":
        usage_error(chosen, "name the server: --shimmy-path=EXECUTABLE, or --shimmy-url=URL")
    found: dict[Change, list[str]] = {}
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as directory:
        key = dict(settings.env).get("SHIMMY_API_KEY")
        recorder = RecorderProcess("127.0.0.1", Path(directory, "recorder.log"), key)
        try:
            if settings.url is not None:
                recorder.use(settings.url)
                for name, change in check(folder, recorder.address, tally):
                    found.setdefault(change, []).append(name)
            else:
                with running(settings) as server:
                    recorder.use(server.url or "")
                    for name, change in check(folder, recorder.address, tally):
                        found.setdefault(change, []).append(name)
        finally:
            recorder.stop()
    if chosen.json:
        changes = [{**change._asdict(), "cassettes": names} for change, names in found.items()]
        print(json.dumps({"changes": changes}, indent=2))
    else:
        _show(found, tally)
    return int(any(change.is_failure for change in found))


def _show(found: dict[Change, list[str]], tally: Tally) -> None:
    for change, names in sorted(found.items(), key=lambda each: not each[0].is_failure):
        mark = "CHANGED" if change.is_failure else "new"
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"{mark:8}{change.request}: {change.what}  ({names[0]}{more})")
    left_out = f"; not compared (WebSockets, cut off): {tally.left_out}" if tally.left_out else ""
    verdict = "the recorded structure" if not found else "what changed is above"
    print(f"answers compared: {tally.compared}{left_out}; {verdict}")


def _prune(chosen: argparse.Namespace) -> int:
    from ..cassettes.run import USAGE

    folder = _folder(chosen)
    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as directory:
        told = Path(directory, "used.json")
        command = [sys.executable, "-m", "pytest", "-q", f"--shimmy-replay={chosen.folder}"]
        command += shlex.split(chosen.pytest)
        environ = {**os.environ, USAGE: str(told)}
        code = subprocess.run(command, env=environ, check=False).returncode
        used = json.loads(told.read_bytes()) if told.exists() else {}
    if code:
        print(f"Nothing was removed, because the tests did not pass (exit code {code}).")
        return 1
    word = "unused" if chosen.dry_run else "removed"
    count = 0
    for name in [*folder.names()]:
        cassette = folder.read(name)
        if cassette is None:  # removed since the names were listed
            continue
        exchanges = cassette.exchanges
        kept = [exchanges[number] for number in used.get(name, ()) if number < len(exchanges)]
        left_out = len(exchanges) - len(kept)
        if name in used and not left_out:
            continue
        count += 1
        if kept:
            print(f"{word}  {left_out} of {len(exchanges)} exchanges in {folder.file(name)}")
        else:
            print(f"{word}  {folder.file(name)}")
        if chosen.dry_run:
            continue
        if kept:
            folder.write(name, cassette._replace(exchanges=kept))
        else:
            folder.remove(name)
    if not count:
        print("Each recorded exchange is used.")
    return 0
