"""mypy, as a consumer's project runs it on its own tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from filelock import FileLock

import dev

CACHE = dev.cache() / "mypy" / "consumer"


def run_mypy(directory: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of the files in `directory`: a line for each error, and nothing else."""
    options = ["--strict", "--config-file=", "--no-error-summary", "--no-pretty"]
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two at a time would read openai's types twice, which takes half a minute.
    with FileLock(CACHE / "lock"):
        return subprocess.run(
            [sys.executable, "-m", "mypy", *options, "--cache-dir", str(CACHE), "."],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
