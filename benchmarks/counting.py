"""Instructions that a program takes, counted by valgrind.

They hardly vary, whatever else the machine does, and so does a ratio of two of them from one
machine to the next.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import pytest_run
from .bench import Bench, running
from .programs import await_health, free_port, hermetic

VALGRIND = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
TIMEOUT = 1800.0
"""Seconds for one program, which takes fifty times as long as by itself."""
COUNT = re.compile(r"I +refs: +([\d,]+)")


def environment() -> dict[str, str]:
    """In which a program takes the same instructions each time: its dictionaries are the same."""
    return {**os.environ, "PYTHONHASHSEED": "0"}


def count(command: Sequence[str], directory: Path, env: dict[str, str] | None = None) -> float:
    """Millions of them, of the program alone and not of its children. Raises `RuntimeError`."""
    run = [*VALGRIND, *command]
    return counted(pytest_run.run(run, directory, {**environment(), **(env or {})}, TIMEOUT))


def count_served(
    bench: Bench,
    command: Callable[[Bench, int], Sequence[str]],
    env: Mapping[str, str],
    use: Callable[[int], None],
) -> float:
    """Millions of them of a server on some port, which `use` is given. Raises `RuntimeError`."""
    whole = {**environment(), **hermetic(bench), **env}
    # Once as it is: byte code is written now.
    for prefix in ((), (*VALGRIND, f"--log-file={bench.directory}/%p.valgrind")):
        port = free_port()
        with running([*prefix, *command(bench, port)], whole, bench.home) as process:
            await_health(process, port)
            use(port)
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT)
    return counted((bench.directory / f"{process.pid}.valgrind").read_text())


def counted(output: str) -> float:
    """What valgrind said. Raises `RuntimeError`."""
    match = COUNT.search(output)
    if match is None:
        raise RuntimeError(f"valgrind has counted nothing:\n{output[-3000:]}")
    return int(match[1].replace(",", "")) / 1e6


def missing(directory: Path) -> str | None:
    """Why nothing can be counted here; None where it can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    try:
        count(["true"], directory)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        reason = str(error).strip().splitlines()[-1][:80] or type(error).__name__
        return f"valgrind does not work here ({reason})"
    return None
