"""``pytest-shimmy``, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ports


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_shimmy.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_doctor_says_what_a_session_would_run(runtime_dir: Path) -> None:
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "server    the bundled fake of shimmy 2.5.0" in done.stdout
    assert f"runtime   {runtime_dir}" in done.stdout
    assert "ports leased now: none" in done.stdout
    assert done.stdout.endswith("a session could start\n")


def test_doctor_says_where_settings_come_from_and_which_ports_are_leased(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_MODEL", "tiny")
    with ports.lease() as lease:
        done = run("doctor", "--shimmy-max-restarts=0")
    assert "model = 'tiny'  (environment variable PYTEST_SHIMMY_MODEL)" in done.stdout
    assert "max_restarts = 0  (--shimmy-max-restarts)" in done.stdout
    assert f"ports leased now: {lease.port}" in done.stdout


def test_doctor_names_the_problem_and_exits_with_1(runtime_dir: Path) -> None:
    done = run("doctor", "--shimmy-path=/no/such/shimmy")
    assert done.returncode == 1
    assert "problem   [BINARY_NOT_FOUND] no shimmy executable at /no/such/shimmy" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_doctor_speaks_json(runtime_dir: Path) -> None:
    findings = json.loads(run("doctor", "--json", "--shimmy-require=real").stdout)
    assert findings["server"]["mode"] == "fake"
    assert findings["settings"]["require"] == {"value": ["real"], "from": "--shimmy-require"}
    assert findings["problems"] == []


def test_doctor_looks_at_an_attached_server(
    runtime_dir: Path, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = fake_server
    done = run("doctor", f"--shimmy-url={url}")
    assert done.returncode == 0
    assert f"server    attached to {url}, shimmy 2.5.0" in done.stdout
    gone = run("doctor", "--shimmy-url=http://127.0.0.1:9")
    assert gone.returncode == 1
    assert "problem   [HEALTHCHECK_FAILED] no answer from http://127.0.0.1:9" in gone.stdout


def test_a_bad_value_is_a_usage_error() -> None:
    done = run("doctor", "--shimmy-port=0")
    assert done.returncode == 2
    assert "--shimmy-port: '0' is not a port" in done.stderr


def test_help_has_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "pytest-shimmy doctor" in done.stdout
