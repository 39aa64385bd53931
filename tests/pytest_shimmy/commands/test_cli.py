"""``pytest-shimmy``, as a process."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_shimmy.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_bad_value_is_a_usage_error() -> None:
    done = run("doctor", "--shimmy-port=0")
    assert done.returncode == 2
    assert "--shimmy-port: '0' is not a port" in done.stderr


def test_help_has_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "pytest-shimmy doctor" in done.stdout
