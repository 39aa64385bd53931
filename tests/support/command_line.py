"""What the tests of ``pytest-shimmy`` share: it runs as a process, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

CLI = [sys.executable, "-m", "pytest_shimmy.cli"]
LONG = 60.0

_Done = subprocess.CompletedProcess[str]


def fake_script(directory: Path, **script: Any) -> str:
    """The flag for a fake that follows `script`, which is put into `directory`."""
    path = directory / "script.json"
    path.write_text(json.dumps(script))
    return f"--shimmy-fake-script={path}"


@contextlib.contextmanager
def started(directory: Path, *arguments: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """The command line as a process, which has ended in the end, and left nothing.

    Its temporary files are made below `directory`; `how` is for `Popen`, and ``env`` comes on top
    of the environment.
    """
    temporary = directory / "temporary"
    temporary.mkdir(exist_ok=True)
    how["env"] = {**os.environ, "TMPDIR": str(temporary), **how.get("env", {})}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*CLI, *arguments], text=True, **{**pipes, **how}) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_until_nothing_is_left(temporary)


def run(directory: Path, *arguments: str, **how: Any) -> _Done:
    """What the command line said, when it has ended by itself."""
    text = how.pop("input", None)
    if text is not None:
        how["stdin"] = subprocess.PIPE
    with started(directory, *arguments, **how) as process:
        return ended(process, text)


def ended(process: subprocess.Popen[str], text: str | None = None) -> _Done:
    """What `process` said until its end, but not what it waited for: a busy machine decides
    whether it says that."""
    stdout, stderr = process.communicate(text, timeout=LONG)
    told = re.sub(r"(?m)^[a-z ]+ \.\.\. \d+ s\n", "", stderr or "")
    return _Done(process.args, process.returncode, stdout, told)


def said(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What the command line said in `cwd`; a traceback is no way to say it."""
    done = subprocess.run(
        [*CLI, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        cwd=cwd,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def wait_until_nothing_is_left(temporary: Path) -> None:
    """Neither a file in `temporary`, nor a process whose command line names it."""
    deadline = time.monotonic() + LONG
    while left := [*map(str, temporary.iterdir()), *_processes(str(temporary))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def _processes(name: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if name in command:
                found.append(command)
    return found
