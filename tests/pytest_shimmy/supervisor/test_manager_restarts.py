"""`ShimmyProcessManager`: a server that dies comes back, as often as is allowed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time

import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    events,
)
from tests.support.manager_events import LONG, Pretend, Raised, Recorder, Step, ask, pid_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.usefixtures("quick_restarts"),
]


# Crashes and restarts


def test_a_killed_server_comes_back_on_the_same_port(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    manager.start(options)
    manager.ensure_ready()
    pid, port = pid_of(manager), manager.port
    os.kill(pid, signal.SIGKILL)
    assert recorder.wait_for("ready", 2).port == port
    manager.ensure_ready()
    assert manager.port == port
    assert manager.pid != pid
    assert manager.restarts == 1
    assert ask(manager, "GET", "/health") == 200
    assert recorder.names() == ["starting", "ready", "restarting", "starting", "ready"]
    (crash,) = manager.crashes
    assert (crash.pid, crash.exit) == (pid, (None, signal.SIGKILL))
    error = recorder.wait_for("restarting").error
    restarting = events.Restarting(crash, 1, options.max_restarts, 0.01, error)
    assert recorder.wait_for("restarting") == restarting
    assert error.code is ShimmyErrorCode.CRASHED
    assert f"process {pid}, died: killed by SIGKILL" in error.message
    assert recorder.wait_for("exited") == events.Exited(pid, crash.exit, expected=False)
    assert [recorder.wait_for("starting", life).attempt for life in (1, 2)] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 3])
def test_a_server_that_exits_of_its_own_accord_comes_back_too(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, code: int
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    port = manager.port
    # Whether the client sees an end or a reset is the kernel's choice.
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(manager, "POST", f"/exit/{code}")
    assert recorder.wait_for("ready", 2).port == port
    assert manager.crashes[0].exit == (code, None)


def test_a_death_that_nobody_noticed_yet_is_among_the_crashes(
    manager: ShimmyProcessManager, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", LONG)
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff_max", LONG)
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    pid = pid_of(manager)
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it is dead, whoever knows
    assert [crash.pid for crash in manager.crashes] == [pid]
    assert manager.state == "starting"
    assert manager.pid is None


@pytest.mark.slow
def test_the_pause_before_a_restart_doubles_up_to_its_bound(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff_max", 0.05)
    manager.start(pretend(["serve"], again=[["exit", 9]], max_restarts=5))
    manager.ensure_ready()
    os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("error")
    heard = [payload for name, payload in recorder.events if name == "restarting"]
    assert [payload.delay for payload in heard] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert [payload.attempt for payload in heard] == [1, 2, 3, 4, 5]
    assert {payload.limit for payload in heard} == {5}


@pytest.mark.slow
def test_a_stop_during_the_pause_before_a_restart_ends_it_at_once(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    raised: Raised,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", LONG)
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff_max", LONG)
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("restarting")
    before = time.monotonic()
    manager.stop()
    assert time.monotonic() - before < LONG / 2
    assert (manager.state, manager.error) == ("idle", None)
    assert recorder.names() == ["starting", "ready", "restarting"]
    assert not raised


@pytest.mark.slow
def test_restarts_are_used_up_at_once_and_for_good(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["say", "hello\n"], ["serve"], max_restarts=2))
    for life in (1, 2, 3):
        recorder.wait_for("ready", life)
        os.kill(pid_of(manager), signal.SIGKILL)
    error = recorder.wait_for("error").error
    assert error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert error.message.count("killed by SIGKILL") == 3
    assert "restarts allowed: 2" in error.message
    assert "  | hello" in error.message
    assert "--shimmy-max-restarts" in error.message
    assert error.details["exits"] == ["killed by SIGKILL"] * 3
    assert error.details["max_restarts"] == 2
    json.dumps(error.to_json())
    assert manager.state == "failed"
    assert len(manager.crashes) == 3
    before = time.monotonic()
    for _ in range(100):
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready()
        assert caught.value.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert time.monotonic() - before < LONG / 2


@pytest.mark.slow
def test_no_restart_where_none_is_allowed(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"], max_restarts=0))
    recorder.wait_for("ready")
    os.kill(pid_of(manager), signal.SIGKILL)
    assert recorder.wait_for("error").error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert recorder.names() == ["starting", "ready", "error"]
    assert manager.restarts == 0


def test_a_restart_that_fails_is_shown_as_the_reason(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    again: list[Step] = [["complain", "the model is gone\n"], ["exit", 9]]
    manager.start(pretend(["serve"], again=again, max_restarts=1))
    recorder.wait_for("ready")
    os.kill(pid_of(manager), signal.SIGKILL)
    error = recorder.wait_for("error").error
    assert error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert "The last restart failed: [START_FAILED]" in error.message
    assert "exit code 9" in error.message
    assert "the model is gone" in error.message


@pytest.mark.slow
def test_a_new_start_has_all_its_restarts(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    options = pretend(["serve"], max_restarts=1)
    for turn in (1, 2):
        manager.start(options)
        manager.ensure_ready()
        os.kill(pid_of(manager), signal.SIGKILL)
        recorder.wait_for("restarting", turn)
        manager.ensure_ready()
        assert manager.restarts == 1
        assert len(manager.crashes) == 1
        manager.stop()
