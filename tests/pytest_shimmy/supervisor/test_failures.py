"""What a failure says: what happened, where we looked, what to do; and all of it as JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessDefaults, ShimmyProcessOptions
from pytest_shimmy.events import Crash
from pytest_shimmy.process.log import Log
from pytest_shimmy.process.process import ExitStatus, Process
from pytest_shimmy.supervisor.failures import (
    cannot_spawn,
    exited_early,
    not_healthy,
    restarts_exhausted,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "x.log", ShimmyProcessDefaults.log_memory)
    yield log
    log.close()


@pytest.fixture
def ended() -> Process:
    """A process that has exited with code 3; its second argument needs quotes."""
    process = Process(
        [sys.executable, "-IS", "-c", "raise SystemExit(3)"],
        env={},
        cwd=None,
        on_output=lambda *_: None,
    )
    assert process.exited.wait(60)
    return process


def checked(error: ShimmyError, code: ShimmyErrorCode) -> str:
    """The message of an error that is as it should be in every way that is common to all."""
    assert error.code is code
    assert json.loads(json.dumps(error.to_json()))["details"] == error.details
    assert error.message == error.message.strip()
    return error.message


def test_an_early_exit_shows_status_command_and_output(ended: Process, log: Log) -> None:
    log.append("loading…\nError: out of luck\n".encode())
    error = exited_early(ended, 22435, "Error: out of luck\n", log)
    message = checked(error, ShimmyErrorCode.START_FAILED)
    assert "before it was healthy: exit code 3.\n" in message
    assert f"Command: {sys.executable} -IS -c 'raise SystemExit(3)'\n" in message
    assert message.endswith("It wrote:\n  | loading…\n  | Error: out of luck")
    assert error.details["log_tail"] == "loading…\nError: out of luck\n"
    assert 0 <= error.details["elapsed"] <= time.monotonic()


def test_a_taken_port_is_named(ended: Process, log: Log) -> None:
    stderr = "Error: Address already in use (os error 98)\n"
    message = checked(exited_early(ended, 22435, stderr, log), ShimmyErrorCode.PORT_IN_USE)
    assert message.startswith("port 22435 was taken by another program.\n")


def test_the_words_of_a_server_count_on_stderr_only(ended: Process, log: Log) -> None:
    log.append(b"Error: Address already in use (os error 98)\nNo models available\n")
    checked(exited_early(ended, 22435, "", log), ShimmyErrorCode.START_FAILED)


def test_no_models_says_how_to_give_some(ended: Process, log: Log) -> None:
    error = exited_early(ended, 22435, "❌ No models available. Please:\n", log)
    message = checked(error, ShimmyErrorCode.NO_MODELS)
    assert message.endswith(
        "--shimmy-models-dir=DIRECTORY, or --shimmy-model=FILE; or have a tiny one generated: "
        "--shimmy-tiny-model."
    )


@pytest.mark.parametrize(
    ("answered", "code"),
    [(False, ShimmyErrorCode.START_TIMEOUT), (True, ShimmyErrorCode.HEALTHCHECK_FAILED)],
)
def test_a_time_out_says_what_the_last_look_saw(
    ended: Process, log: Log, answered: bool, code: ShimmyErrorCode
) -> None:
    options = ShimmyProcessOptions(health_timeout=2.5)
    error = not_healthy(ended, options, 22435, "/health answered 503", answered, log)
    message = checked(error, code)
    assert "not healthy 2.5 s after its start" in message
    assert "127.0.0.1:22435: /health answered 503.\n" in message
    assert "It wrote nothing." in message
    assert message.endswith("--shimmy-start-timeout=SECONDS.")


def test_a_network_interface_that_is_down_is_named_as_the_likely_reason(
    ended: Process, log: Log
) -> None:
    seen = f"127.0.0.1:22435: {OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))}"
    error = not_healthy(ended, ShimmyProcessOptions(), 22435, seen, False, log)
    message = checked(error, ShimmyErrorCode.START_TIMEOUT)
    assert "interface that has 127.0.0.1 seems to be down" in message
    assert "--shimmy-start-timeout" not in message


def test_only_the_last_lines_are_shown(ended: Process, log: Log) -> None:
    count = ShimmyProcessDefaults.log_tail_lines
    log.append("".join(f"line {n}\n" for n in range(count + 1)).encode())
    message = exited_early(ended, 1, "", log).message
    assert f"The last {count} lines it wrote:\n  | line 1\n" in message
    assert "line 0\n" not in message


def test_used_up_restarts_list_every_death(log: Log) -> None:
    crashes = [Crash(7, ExitStatus(None, 9), 0), Crash(8, ExitStatus(0, None), 5)]
    options = ShimmyProcessOptions(max_restarts=1)
    log.append(b"the end\n")
    error = restarts_exhausted(options, crashes, None, log)
    message = checked(error, ShimmyErrorCode.RESTARTS_EXHAUSTED)
    assert "pid 7 killed by SIGKILL, pid 8 exit code 0" in message
    assert "restarts allowed: 1" in message
    assert "  | the end" in message
    assert error.details["exits"] == ["killed by SIGKILL", "exit code 0"]

    last = ShimmyError(ShimmyErrorCode.PORT_IN_USE, "it is taken")
    message = restarts_exhausted(options, crashes, last, log).message
    assert "The last restart failed: [PORT_IN_USE] it is taken" in message


def test_a_program_that_cannot_be_spawned_is_named_with_its_directory(tmp_path: Path) -> None:
    options = ShimmyProcessOptions(cwd=tmp_path)
    error = cannot_spawn(["/x/shimmy", "serve"], options, OSError("nope"))
    message = checked(error, ShimmyErrorCode.START_FAILED)
    assert message.startswith(f"/x/shimmy could not be started in {tmp_path}: nope.\n")
    assert error.details["command"] == ["/x/shimmy", "serve"]
