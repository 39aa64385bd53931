"""`ShimmyProcessManager`: start, stop, and several that do so at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    events,
)
from tests.support.manager_events import LONG, Pretend, Recorder, ask, pid_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")

PROGRAMS = Path(__file__).parents[2] / "programs"


# Start and stop


def test_a_life_without_incident_in_order(
    manager: ShimmyProcessManager, recorder: Recorder, options: ShimmyProcessOptions
) -> None:
    assert (manager.state, manager.port, manager.pid, manager.version) == ("idle",) + (None,) * 3
    manager.start(options)
    assert manager.state in ("starting", "ready")
    manager.ensure_ready()
    assert manager.state == "ready"
    pid, port, version = pid_of(manager), manager.port, manager.version
    recorder.wait_for("ready")
    now = time.time()
    manager.stop()
    assert manager.state == "idle"
    assert manager.pid is None

    assert recorder.names() == ["starting", "ready", "stopped"]
    starting, ready, exited, stopped = (
        payload for _, payload in recorder.events if not isinstance(payload, events.Output)
    )
    assert isinstance(starting, events.Starting)
    assert (starting.pid, starting.port, starting.attempt) == (pid, port, 1)
    assert starting.command[-4:-2] == ("--bind", f"127.0.0.1:{port}")
    assert isinstance(ready, events.Ready)
    assert (ready.pid, ready.port, ready.version) == (pid, port, version)
    assert 0 < ready.elapsed < LONG
    assert now - LONG < ready.time <= now
    assert exited == events.Exited(pid, stopped.exit, expected=True)
    assert isinstance(stopped, events.Stopped)
    assert stopped.exit == (None, signal.SIGTERM)
    assert "Ready to serve requests" in recorder.text("stdout")
    assert not manager.crashes
    assert manager.restarts == 0


def test_starting_twice_is_one_start(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.start(pretend(["exit", 1]))
    manager.ensure_ready()
    pid = manager.pid
    manager.start()
    manager.ensure_ready()
    assert manager.pid == pid
    assert recorder.names().count("starting") == 1


def test_stopping_twice_is_one_stop(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    manager.stop()
    manager.stop()
    assert recorder.names().count("stopped") == 1


def test_stopping_what_was_never_started_does_nothing(
    manager: ShimmyProcessManager, recorder: Recorder
) -> None:
    manager.stop()
    assert manager.state == "idle"
    assert not recorder.events


def test_a_stopped_server_can_be_started_again_as_before(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    first = manager.pid
    manager.stop()
    manager.start()
    manager.ensure_ready()
    assert manager.pid != first
    manager.stop()
    assert recorder.names() == ["starting", "ready", "stopped"] * 2


def test_waiting_for_readiness_starts_a_server_that_nobody_started(
    manager: ShimmyProcessManager, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_MODEL_PATHS", str(models_dir))
    manager.ensure_ready()
    assert manager.state == "ready"


def test_leaving_the_context_stops_the_server_whatever_happens(pretend: Pretend) -> None:
    manager = ShimmyProcessManager()

    def fail() -> None:
        with manager:
            manager.start(pretend(["serve"]))
            manager.ensure_ready()
            pids.append(pid_of(manager))
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not psutil.pid_exists(pids[0])
    assert manager.state == "idle"


def test_waiting_no_longer_than_asked_leaves_the_start_alone(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["silent"]))
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(0.1)
    assert caught.value.code is ShimmyErrorCode.START_TIMEOUT
    assert "not ready after 0.1 s (state: starting)" in caught.value.message
    assert manager.state == "starting"


def test_stopping_during_a_start_ends_it_at_once(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["silent"]))
    pid = recorder.wait_for("starting").pid
    before = time.monotonic()
    manager.stop()
    assert time.monotonic() - before < LONG / 2
    assert not psutil.pid_exists(pid)
    assert recorder.names() == ["starting", "stopped"]
    assert manager.error is None


def test_stopping_during_a_start_of_a_server_that_listens_but_does_not_answer(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["say", "up"], ["mute"]))
    recorder.wait_until(lambda: recorder.text("stdout"))
    manager.stop()
    assert recorder.names() == ["starting", "stopped"]
    assert manager.state == "idle"
    assert manager.error is None


def test_whoever_waits_for_a_start_that_is_stopped_is_told(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    told: list[ShimmyError] = []

    def wait() -> None:
        try:
            manager.ensure_ready(LONG)
        except ShimmyError as error:
            told.append(error)

    manager.start(pretend(["silent"]))
    recorder.wait_for("starting")
    waiting = threading.Thread(target=wait)
    waiting.start()
    manager.stop()
    # Who began to wait only now would start a server: that is stopped as well.
    while waiting.is_alive():
        manager.stop()
        waiting.join(0.05)
    (error,) = told
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    assert "was stopped" in error.message


def test_a_failed_start_can_be_tried_again(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["exit", 1]))
    for _ in range(2):
        with pytest.raises(ShimmyError, match="START_FAILED"):
            manager.ensure_ready()
    failed = recorder.wait_for("error")
    assert failed == events.Failed(manager.error)
    assert recorder.names() == ["starting", "error"]
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    assert manager.error is None
    assert manager.state == "ready"


def test_stopping_after_a_failure_makes_it_idle_again(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["exit", 1]))
    recorder.wait_for("error")
    manager.stop()
    assert manager.state == "idle"
    assert "stopped" not in recorder.names()


def test_a_server_that_is_deaf_to_the_polite_signal_is_killed_after_the_grace(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "stop_grace", 0.1)
    manager.start(pretend(["deaf"], ["serve"]))
    manager.ensure_ready()
    pid = pid_of(manager)
    manager.stop()
    assert recorder.wait_for("stopped").exit == (None, signal.SIGKILL)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("own_session", [False, True], ids=["in our group", "in its own session"])
def test_a_stop_is_not_held_up_by_a_child_that_holds_the_pipe(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    tmp_path: Path,
    wait_until_gone: Callable[[int], None],
    own_session: bool,
) -> None:
    manager.start(pretend(["litter", str(tmp_path / "pid"), own_session], ["serve"]))
    manager.ensure_ready()
    litter = int((tmp_path / "pid").read_text())
    before = time.monotonic()
    try:
        manager.stop()
        assert time.monotonic() - before < LONG / 2
        if own_session:
            assert psutil.Process(litter).is_running()
        else:
            wait_until_gone(litter)
    finally:
        if own_session:
            os.kill(litter, signal.SIGKILL)


@pytest.mark.slow
def test_many_threads_that_start_and_stop_agree(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    options = pretend(["serve"])
    failures: list[BaseException] = []
    begin = threading.Barrier(8)

    def work(number: int) -> None:
        begin.wait(LONG)
        try:
            for turn in range(4):
                if (number + turn) % 2:
                    manager.start(options)
                else:
                    manager.stop()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    manager.start(options)
    manager.ensure_ready(LONG)
    manager.stop()
    names = recorder.names()
    assert names.count("starting") == names.count("stopped")
    running = 0
    for name in names:
        running += {"starting": 1, "stopped": -1}.get(name, 0)
        assert running in (0, 1)


def test_many_threads_that_wait_see_the_same_server(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    seen: list[int | None] = []

    def work() -> None:
        manager.start(options)
        manager.ensure_ready(LONG)
        seen.append(manager.pid)

    options = pretend(["serve"])
    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(seen) == 10
    assert set(seen) == {manager.pid}


def test_several_managers_do_not_meet(pretend: Pretend) -> None:
    with ShimmyProcessManager() as one, ShimmyProcessManager() as two:
        one.start(pretend(["serve"]))
        two.start(pretend(["serve"]))
        one.ensure_ready()
        two.ensure_ready()
        assert one.port != two.port
        one.stop()
        assert ask(two, "GET", "/health") == 200


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties child to parent")
def test_the_server_dies_with_a_program_that_is_killed(
    options: ShimmyProcessOptions, wait_until_gone: Callable[[int], None]
) -> None:
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS / "launcher.py"), json.dumps(options.to_json())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        pid, _ = json.loads(program.stdout.readline())
        assert psutil.pid_exists(pid)
        program.kill()
        program.communicate()
    wait_until_gone(pid)
