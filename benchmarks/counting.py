"""Instructions that a program takes, counted by valgrind.

They hardly vary, whatever else the machine does, and so does a ratio of two of them from one
machine to the next.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import pytest_run

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
