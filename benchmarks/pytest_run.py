"""Run pytest in a process of its own, with exactly the plugins that are wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from .bench import PATIENCE


def plugins() -> set[str]:
    """Names of the pytest plugins that are installed."""
    return {entry.name for entry in entry_points(group="pytest11")}


def command(wanted: Sequence[str], *arguments: str) -> list[str]:
    """pytest as a user runs it, plugins found by their entry points, minus those not wanted."""
    others = sorted(plugins() - set(wanted))
    blocked = [word for name in others for word in ("-p", f"no:{name}")]
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *blocked, *arguments]


def run(
    command: Sequence[str], directory: Path, env: dict[str, str], timeout: float = PATIENCE
) -> str:
    """Run it to its end; returns the output. Raises `RuntimeError` unless all tests passed."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output[-3000:]}")
    return output
