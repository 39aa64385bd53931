"""What is said when a start fails."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from pytest_shimmy import (
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from pytest_shimmy.events import Starting
from tests.support.manager_events import LONG, Pretend, failure, failure_in_time

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")


# Failures: at once, with the right code, and with everything that helps.


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 1, 2, 101])
def test_an_exit_before_it_is_healthy_is_told_at_once(
    manager: ShimmyProcessManager, pretend: Pretend, code: int
) -> None:
    before = time.monotonic()
    error = failure(manager, pretend(["say", "hi\n"], ["complain", "oh no\n"], ["exit", code]))
    assert time.monotonic() - before < LONG / 2
    assert error.code is ShimmyErrorCode.START_FAILED
    assert f"exit code {code}" in error.message
    assert "  | hi\n" in error.message
    assert "  | oh no" in error.message
    assert f"serve --bind 127.0.0.1:{manager.port}" in error.message
    details = error.details
    assert (details["exit_code"], details["signal"]) == (code, None)
    assert 0 < details["elapsed"] < LONG / 2
    assert details["command"][1:3] == ["serve", "--bind"]
    assert sorted(details["log_tail"].splitlines()) == ["hi", "oh no"]
    json.dumps(error.to_json())


def test_a_signal_before_it_is_healthy_is_told_by_name(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    error = failure(manager, pretend(["die", 11]))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "killed by SIGSEGV" in error.message
    assert (error.details["exit_code"], error.details["signal"]) == (None, 11)
    assert "It wrote nothing." in error.message


@pytest.mark.slow
def test_a_long_output_is_shown_by_its_end(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    error = failure(manager, pretend(["flood", 1, 5000], ["exit", 1]))
    lines = [line.removeprefix("  | ") for line in error.message.splitlines()]
    assert [int(line) for line in lines if line.isdigit()] == list(
        range(5000 - ShimmyProcessDefaults.log_tail_lines, 5000)
    )
    assert f"The last {ShimmyProcessDefaults.log_tail_lines} lines it wrote" in error.message


@pytest.mark.slow
def test_usage_errors_of_the_server_are_shown(
    manager: ShimmyProcessManager, shimmy: Path | None
) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path=shimmy, args=["--port", "1"]))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert error.details["exit_code"] == 2
    assert "unexpected argument '--port' found" in error.message


@pytest.mark.slow
def test_no_models(manager: ShimmyProcessManager, shimmy: Path | None, tmp_path: Path) -> None:
    before = time.monotonic()
    error = failure(manager, ShimmyProcessOptions(shimmy_path=shimmy, cwd=tmp_path))
    assert time.monotonic() - before < 15
    assert error.code is ShimmyErrorCode.NO_MODELS
    assert error.details["exit_code"] == 1
    assert "No models available" in error.message
    assert "--shimmy-models-dir" in error.message


@pytest.mark.slow
def test_a_server_that_never_listens_is_stopped_at_the_time_out(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    options = pretend(["say", "thinking\n"], ["silent"])
    error = failure_in_time(manager, options, lambda error: "thinking" in error.message)
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    assert f"not healthy {error.details['timeout']:g} s after its start" in error.message
    assert f"health check of 127.0.0.1:{manager.port}: nothing listens there." in error.message
    assert "  | thinking" in error.message
    assert "--shimmy-start-timeout" in error.message


@pytest.mark.slow
def test_a_server_that_listens_but_never_answers_is_stopped_at_the_time_out(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    error = failure_in_time(
        manager, pretend(["mute"]), lambda error: "no answer within" in error.message
    )
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    what_happened = error.message.partition("\nCommand: ")[0]
    assert ": no answer within " in what_happened
    assert what_happened.count(str(manager.port)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("document", [{"service": "ollama"}, {"status": "ok"}, [], "shimmy"])
def test_a_server_that_answers_as_something_else_is_told_so(
    manager: ShimmyProcessManager, pretend: Pretend, document: object
) -> None:
    error = failure_in_time(
        manager,
        pretend(["serve", document]),
        lambda error: error.code is ShimmyErrorCode.HEALTHCHECK_FAILED,
    )
    assert "200, but not as shimmy" in error.message


def test_a_missing_executable_is_told_at_once(
    manager: ShimmyProcessManager, tmp_path: Path
) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path=tmp_path / "gone"))
    assert error.code is ShimmyErrorCode.BINARY_NOT_FOUND
    assert manager.port is None


def test_another_program_is_not_started(manager: ShimmyProcessManager) -> None:
    error = failure(manager, ShimmyProcessOptions(shimmy_path="/bin/true"))
    assert error.code is ShimmyErrorCode.BINARY_NOT_SHIMMY


def test_a_backend_that_cannot_be_had_starts_nothing(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    started: list[Starting] = []
    manager.on("starting", started.append)
    error = failure(manager, ShimmyProcessOptions(gpu_mode="cuda", models_dir=models_dir))
    assert error.code is ShimmyErrorCode.UNSUPPORTED_ACCEL
    assert not started


@pytest.mark.slow
def test_a_build_without_gpu_serves_who_asks_for_the_processor(
    manager: ShimmyProcessManager, models_dir: Path
) -> None:
    env = {"FAKE_SHIMMY_BUILD": "cpu-only"}
    manager.start(ShimmyProcessOptions(gpu_mode="cpu", models_dir=models_dir, env=env))
    manager.ensure_ready()


def test_a_missing_working_directory_is_named(
    manager: ShimmyProcessManager, tmp_path: Path
) -> None:
    error = failure(manager, ShimmyProcessOptions(cwd=tmp_path / "gone"))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert str(tmp_path / "gone") in error.message


@pytest.mark.parametrize("how", [{"args": ["a\0b"]}, {"env": {"A=B": "1"}}])
def test_what_the_system_cannot_pass_on_is_told(
    manager: ShimmyProcessManager, how: dict[str, object]
) -> None:
    error = failure(manager, ShimmyProcessOptions(**how))  # type: ignore[arg-type]
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "could not be started" in error.message
