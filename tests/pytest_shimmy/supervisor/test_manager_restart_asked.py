"""`ShimmyProcessManager.restart`: a new server on the same port, because somebody wants one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    events,
)
from tests.support.manager_events import LONG, Pretend, Recorder, ask, pid_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")


def test_a_new_server_on_the_same_port_is_no_crash(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    manager.start(options)
    manager.ensure_ready(LONG)
    pid, url = pid_of(manager), manager.url
    manager.restart()
    manager.ensure_ready(LONG)
    assert manager.pid != pid
    assert manager.url == url
    assert ask(manager, "GET", "/health") == 200
    assert (manager.restarts, manager.crashes) == (0, ())
    assert recorder.names() == ["starting", "ready", "restarting", "starting", "ready"]
    asked = events.Restarting(None, 0, options.max_restarts, 0.0, None)
    assert recorder.wait_for("restarting") == asked
    assert recorder.wait_for("exited").expected
    manager.stop()
    assert recorder.names()[5:] == ["stopped"]


@pytest.mark.slow
@posix
def test_it_needs_no_restarts_to_be_allowed_and_uses_none_up(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"], max_restarts=0))
    pids = set()
    for _ in range(4):
        manager.ensure_ready(LONG)
        pids.add(manager.pid)
        manager.restart()
    manager.ensure_ready(LONG)
    assert len(pids) == 4


def test_a_start_that_is_under_way_is_waited_for(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    """What it has read already may be out of date."""
    manager.start(options)
    manager.restart()
    manager.ensure_ready(LONG)
    assert recorder.names() == ["starting", "ready", "restarting", "starting", "ready"]


def test_without_a_server_it_is_a_start(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    manager.start(options)
    manager.ensure_ready(LONG)
    manager.stop()
    manager.restart()
    manager.ensure_ready(LONG)
    assert recorder.names() == ["starting", "ready", "stopped", "starting", "ready"]


@pytest.mark.slow
@posix
def test_after_a_failure_it_is_a_start(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    manager.start(pretend(["exit", 1], again=[["serve"]]))
    with pytest.raises(ShimmyError):
        manager.ensure_ready(LONG)
    manager.restart()
    manager.ensure_ready(LONG)
    assert manager.error is None


@posix
def test_a_server_that_does_not_come_back_is_a_failed_start(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"], again=[["exit", 3]]))
    manager.ensure_ready(LONG)
    manager.restart()
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.START_FAILED
    assert manager.state == "failed"
    assert recorder.names() == ["starting", "ready", "restarting", "starting", "error"]


def test_one_that_dies_afterwards_comes_back(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    options: ShimmyProcessOptions,
    quick_restarts: None,
) -> None:
    manager.start(options)
    manager.restart()
    manager.ensure_ready(LONG)
    pid, url = pid_of(manager), manager.url
    os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    recorder.wait_for("ready", 3)
    assert manager.url == url
    assert [crash.pid for crash in manager.crashes] == [pid]
    assert manager.restarts == 1


def test_stopping_wins(manager: ShimmyProcessManager, options: ShimmyProcessOptions) -> None:
    manager.start(options)
    manager.ensure_ready(LONG)
    manager.restart()
    manager.stop()
    assert (manager.state, manager.pid) == ("idle", None)
    manager.stop()
    assert manager.error is None


@posix
def test_stopping_wins_over_one_that_waits_for_a_start(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["silent"]))
    recorder.wait_for("starting")
    asking = threading.Thread(target=manager.restart)
    asking.start()
    assert asking.ident is not None
    deadline = time.monotonic() + LONG
    while sys._current_frames()[asking.ident].f_code.co_name != "wait":
        assert time.monotonic() < deadline
    manager.stop()
    asking.join(LONG)
    assert manager.state == "idle"
    assert recorder.names() == ["starting", "stopped"]


@pytest.mark.slow
def test_many_who_ask_at_once_all_get_a_server_that_started_afterwards(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    manager.start(options)
    manager.ensure_ready(LONG)
    threads = [threading.Thread(target=manager.restart) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    manager.ensure_ready(LONG)
    assert recorder.names().count("restarting") == 3
    assert manager.crashes == ()


def test_a_listener_may_ask(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    seen: list[int] = []

    def once(ready: events.Ready) -> None:
        seen.append(ready.pid)
        if len(seen) == 1:
            manager.restart()

    manager.on("ready", once)
    manager.start(options)
    recorder.wait_for("ready", 2)
    manager.ensure_ready(LONG)
    assert manager.pid == seen[1] != seen[0]


def test_the_address_is_there_with_the_port(
    manager: ShimmyProcessManager, options: ShimmyProcessOptions
) -> None:
    assert manager.url is None
    manager.start(options)
    manager.ensure_ready(LONG)
    assert manager.url == f"http://127.0.0.1:{manager.port}"
