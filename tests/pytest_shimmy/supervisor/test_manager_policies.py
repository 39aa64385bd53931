"""`ShimmyProcessManager`: how often what is tried, as its options say."""

from __future__ import annotations

import os
import signal
import socket
import sys

import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    events,
)
from pytest_shimmy.supervisor import ports
from tests.support.manager_events import LONG, Pretend, Recorder, failure, pid_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.usefixtures("quick_restarts"),
]


# Restarts


@pytest.mark.slow
def test_counted_since_ready_a_server_that_comes_back_may_die_for_ever(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"], max_restarts=1, restarts_counted="since_ready"))
    for life in (1, 2, 3, 4):
        recorder.wait_for("ready", life)
        os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("ready", 5)
    heard = [payload for name, payload in recorder.events if name == "restarting"]
    assert [(each.attempt, each.limit, each.delay) for each in heard] == [(1, 1, 0.01)] * 4
    assert (manager.restarts, manager.restarts_since_ready) == (4, 0)


@pytest.mark.slow
def test_counted_since_ready_those_in_a_row_are_limited(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    options = pretend(
        ["serve"], again=[["exit", 9]], max_restarts=2, restarts_counted="since_ready"
    )
    manager.start(options)
    recorder.wait_for("ready")
    os.kill(pid_of(manager), signal.SIGKILL)
    error = recorder.wait_for("error").error
    assert error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    heard = [payload for name, payload in recorder.events if name == "restarting"]
    assert [each.error.code for each in heard] == ["CRASHED", "START_FAILED"]
    assert [each.attempt for each in heard] == [1, 2]
    assert (manager.restarts, manager.restarts_since_ready) == (2, 2)


# The first start


def test_a_first_start_that_fails_is_tried_again_where_that_is_asked_for(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    options = pretend(["exit", 3], again=[["serve"]], retry_first_start=True)
    manager.start(options)
    manager.ensure_ready(LONG)
    restarting = recorder.wait_for("restarting")
    assert (restarting.crash, restarting.attempt) == (None, 1)
    assert restarting.error.code is ShimmyErrorCode.START_FAILED
    assert "exit code 3" in restarting.error.message
    assert recorder.names() == ["starting", "restarting", "starting", "ready"]
    assert [recorder.wait_for("starting", each).attempt for each in (1, 2)] == [1, 2]
    (exited,) = [each for _, each in recorder.events if isinstance(each, events.Exited)]
    assert (exited.exit, exited.expected) == ((3, None), False)
    assert (manager.restarts, manager.crashes) == (1, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "patience", "code"),
    [(["exit", 3], LONG, "START_FAILED"), (["silent"], 0.2, "START_TIMEOUT")],
)
def test_a_first_start_that_goes_on_failing_ends_with_its_own_error(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    steps: list[object],
    patience: float,
    code: str,
) -> None:
    options = pretend(steps, retry_first_start=True, max_restarts=2, health_timeout=patience)
    assert failure(manager, options).code == code
    tried = ["starting", "restarting"] * 2 + ["starting", "error"]
    assert recorder.names() == tried
    ended = [each.expected for _, each in recorder.events if isinstance(each, events.Exited)]
    assert ended == [code == "START_TIMEOUT"] * 3


def test_a_first_start_that_fails_is_told_at_once_by_default(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    assert failure(manager, pretend(["exit", 3])).code is ShimmyErrorCode.START_FAILED
    assert recorder.names() == ["starting", "error"]


def test_what_cannot_get_better_is_not_tried_again(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    options = pretend(["serve"], retry_first_start=True, gpu_mode="mlx")
    assert failure(manager, options).code is ShimmyErrorCode.UNSUPPORTED_ACCEL
    assert recorder.names() == ["error"]


def test_a_stop_during_the_pause_before_the_next_try_ends_it(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", LONG)
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff_max", LONG)
    manager.start(pretend(["exit", 3], retry_first_start=True))
    recorder.wait_for("restarting")
    manager.stop()
    assert (manager.state, manager.error) == ("idle", None)


# Ports


def test_one_port_attempt_is_that_port_or_none(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    with ports.lease() as lease:
        wanted = lease.port
    with socket.create_server(("127.0.0.1", wanted)):
        error = failure(manager, pretend(["serve"], preferred_port=wanted, port_attempts=1))
        assert error.code is ShimmyErrorCode.PORT_IN_USE
        assert f"tried 1, from {wanted} up, of at most 1" in error.message
    manager.stop()
    manager.start(pretend(["serve"], preferred_port=wanted, port_attempts=1))
    manager.ensure_ready(LONG)
    assert manager.port == wanted


# Invalid options


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"port_attempts": 0}, "port_attempts 0 is not 1 or more"),
        ({"restarts_counted": "never"}, "restarts_counted 'never' is not one of: for_life"),
        ({"gpu_mode": "cdua"}, "gpu_mode 'cdua' is not one of: auto, cpu, cuda"),
        ({"args": ["serve"]}, r"'serve' is there already: leave it out"),
        ({"args": ["--bind", "127.0.0.1:1"]}, r"--bind is there already: say it by host and"),
        ({"args": ["-v", "--bind=127.0.0.1:1"]}, r"--bind is there already"),
        ({"args": ["--model-path=a"], "model_path": "b"}, r"say it by model_path"),
        ({"args": ["--model-dirs", "a"], "models_dir": "b"}, r"say it by models_dir"),
        ({"args": ["--gpu-backend=cpu"], "gpu_mode": "cpu"}, r"say it by gpu_mode"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_when_they_are_made(
    how: dict[str, object], said: str
) -> None:
    with pytest.raises(ShimmyError, match=said) as caught:
        ShimmyProcessOptions(**how)  # type: ignore[arg-type]
    assert caught.value.code is ShimmyErrorCode.USAGE_ERROR
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "args", [["--model-path", "serve"], ["--model-dirs=a"], ["--gpu-backend", "cpu"], ["--binds"]]
)
def test_arguments_that_no_option_says_are_handed_on(args: list[str]) -> None:
    assert ShimmyProcessOptions(args=args).args == tuple(args)
