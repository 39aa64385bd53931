"""`ShimmyProcessManager`: who listens to its events, and what they may do."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import get_args

import pytest

from pytest_shimmy import ShimmyProcessDefaults, ShimmyProcessManager, events
from tests.support.manager_events import LONG, Pretend, Raised, Recorder, pid_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.usefixtures("quick_restarts"),
]


# Listeners


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, pytest.fail.Exception])
def test_a_listener_that_raises_changes_nothing_but_is_heard_of(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    raised: Raised,
    kind: type[BaseException],
) -> None:
    def fail(payload: object) -> None:
        raise kind(type(payload).__name__)

    for name in get_args(events.EventName):
        manager.off(name, fail)
        manager.on(name, fail)
    later = Recorder(manager)
    manager.start(pretend(["say", "x"], ["complain", "y"], ["serve"]))
    manager.ensure_ready()
    os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("ready", 2)
    manager.stop()
    lives = ["starting", "ready", "restarting", "starting", "ready", "stopped"]
    assert recorder.names() == later.names() == lives
    assert {type(error) for error in raised} == {kind}
    assert {str(error) for error in raised} == {
        *("Starting", "Ready", "Exited", "Restarting", "Stopped", "Output"),
    }


def test_a_listener_is_not_called_after_it_was_taken_off(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    heard: list[object] = []
    manager.on("starting", heard.append)
    manager.on("starting", heard.append)
    manager.off("starting", heard.append)
    manager.off("stopped", heard.append)
    manager.start(pretend(["serve"]))
    recorder.wait_for("ready")
    assert len(heard) == 1


def test_once_is_once(manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend) -> None:
    first: list[int] = []
    never: list[object] = []
    manager.once("starting", lambda starting: first.append(starting.attempt))
    manager.once("starting", never.append)
    manager.off("starting", never.append)
    for start in (1, 2):
        manager.start(pretend(["serve"]))
        recorder.wait_for("ready", start)
        manager.stop()
    assert first == [1]
    assert never == []


def test_a_listener_may_stop_the_server(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.on("ready", lambda _: manager.stop())
    manager.start(pretend(["serve"]))
    recorder.wait_for("stopped")
    assert recorder.names() == ["starting", "ready", "stopped"]


def test_an_output_listener_may_stop_the_server(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.on("stdout", lambda _: manager.stop())
    manager.start(pretend(["say", "x"], ["silent"]))
    recorder.wait_for("stopped")
    assert recorder.names() == ["starting", "stopped"]


def test_an_output_listener_may_ask_for_the_size_of_the_log(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    sizes: list[int] = []
    manager.on("stdout", lambda _: sizes.append(manager.log_size()))
    manager.start(pretend(["say", "x"], ["serve"]))
    manager.ensure_ready()
    manager.stop()
    assert sizes == [1]


def test_a_listener_may_start_the_server_again(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, raised: Raised
) -> None:
    def again(_: object) -> None:
        manager.off("stopped", again)
        manager.start()

    manager.on("stopped", again)
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    manager.stop()
    recorder.wait_for("ready", 2)
    manager.stop()
    assert recorder.names() == ["starting", "ready", "stopped"] * 2
    assert not raised


def test_a_listener_that_hangs_does_not_hold_up_who_stops(
    manager: ShimmyProcessManager, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "listener_timeout", 0.01)
    end = threading.Event()
    manager.on("starting", lambda _: end.wait(LONG))
    try:
        manager.start(pretend(["serve"]))
        manager.ensure_ready()
        manager.stop()
        assert manager.state == "idle"
        assert not end.is_set()
    finally:
        end.set()


def test_listeners_may_ask_for_the_state(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    states: list[tuple[object, ...]] = []

    def look(_: object) -> None:
        states.append((manager.state, manager.pid is None, manager.port is None))

    manager.on("starting", look)
    manager.on("ready", look)
    manager.on("stopped", look)
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    manager.stop()
    assert [state[:2] for state in states] == [
        ("starting", False),
        ("ready", False),
        ("idle", True),
    ]
    assert not any(no_port for _, _, no_port in states)


def test_threads_end_with_the_server(
    manager: ShimmyProcessManager, pretend: Pretend, wait_for_threads: Callable[[], None]
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    manager.stop()
    wait_for_threads()


def test_payloads_say_when_and_how_often(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    for life in (1, 2, 3):
        recorder.wait_for("ready", life)
        if life < 3:
            os.kill(pid_of(manager), signal.SIGKILL)
    attempts = [payload.attempt for name, payload in recorder.events if name == "restarting"]
    pids = [payload.pid for name, payload in recorder.events if name == "starting"]
    assert attempts == [1, 2]
    assert len(set(pids)) == 3
    assert all(one != two for one, two in itertools.pairwise(pids))
