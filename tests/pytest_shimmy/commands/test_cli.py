"""``pytest-shimmy``, as a process."""

from __future__ import annotations

import subprocess
import sys

import pytest


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["agent", "run", "--model", "nope", "Hi."],
            "pytest-shimmy: error: unrecognized arguments: --model Hi.\n"
            "Instead of --model, perhaps --shimmy-model?\nSee: pytest-shimmy --help\n",
        ),
        (
            ["serve", "--shimmy-record=there"],
            "pytest-shimmy: error: unrecognized arguments: --shimmy-record=there\n"
            "--shimmy-record is for pytest and other commands.\nSee: pytest-shimmy --help\n",
        ),
        (
            ["doctor", "--shimmy-gpu=nope"],
            "pytest-shimmy doctor: error: --shimmy-gpu: 'nope' is not one of: auto, cpu, cuda, "
            "vulkan, opencl, metal, mlx\nSee: pytest-shimmy doctor --help\n",
        ),
        (
            ["doctor", "--qqqqqqqqqqqqqqq"],
            "pytest-shimmy: error: unrecognized arguments: --qqqqqqqqqqqqqqq\n"
            "See: pytest-shimmy --help\n",
        ),
    ],
)
def test_a_usage_error_is_its_reason_and_what_was_perhaps_meant(
    arguments: list[str], said: str
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_help_has_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "pytest-shimmy doctor" in done.stdout
