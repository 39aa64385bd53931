"""`ShimmyProcessManager` over a server's whole life: events, crashes, restarts, stop.

How a first start succeeds or fails is in ``test_startup.py``.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

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

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")

PROGRAMS = Path(__file__).parents[1] / "programs"
LONG = 60.0

Step = list[object]
Pretend = Callable[..., ShimmyProcessOptions]
Raised = list[BaseException | None]


@pytest.fixture(autouse=True)
def _quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", 0.01)


class Recorder:
    """Everything a manager says, in order, but for its server's output."""

    def __init__(self, manager: ShimmyProcessManager) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        for name in get_args(events.EventName):
            manager.on(name, lambda payload, name=name: self._hear(name, payload))

    def _hear(self, name: str, payload: object) -> None:
        with self._changed:
            self.events.append((name, payload))
            self._changed.notify_all()

    def names(self) -> list[str]:
        return [name for name, payload in self.events if not isinstance(payload, events.Output)]

    def text(self, stream: str) -> str:
        return "".join(payload.text for name, payload in self.events if name == stream)

    def wait_for(self, what: str, count: int = 1) -> Any:
        """Wait until `what` was said `count` times; returns the last one's payload."""

        def heard() -> list[Any]:
            return [payload for name, payload in self.events if name == what]

        return self.wait_until(lambda: len(heard()) >= count and heard())[count - 1]

    def wait_until(self, condition: Callable[[], Any]) -> Any:
        with self._changed:
            result = self._changed.wait_for(condition, LONG)
        assert result, self.events
        return result


@pytest.fixture
def recorder(manager: ShimmyProcessManager) -> Recorder:
    return Recorder(manager)


def ask(manager: ShimmyProcessManager, method: str, path: str, body: object = None) -> int:
    """The status that the server answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    try:
        connection.request(
            method, path, json.dumps(body), {"content-type": "application/json"} if body else {}
        )
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def pid_of(manager: ShimmyProcessManager) -> int:
    pid = manager.pid
    assert pid is not None
    return pid


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def options(request: pytest.FixtureRequest, models_dir: Path) -> ShimmyProcessOptions:
    """A server with a model: the bundled fake, or the real executable where this run has one."""
    path = None if request.param == "fake" else request.getfixturevalue("real_shimmy")
    return ShimmyProcessOptions(shimmy_path=path, models_dir=models_dir)


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
    manager.stop()
    assert manager.state == "idle"
    assert manager.pid is None

    assert recorder.names() == ["starting", "ready", "stopped"]
    starting, ready, stopped = (
        payload for _, payload in recorder.events if not isinstance(payload, events.Output)
    )
    assert isinstance(starting, events.Starting)
    assert (starting.pid, starting.port) == (pid, port)
    assert starting.command[-4:-2] == ("--bind", f"127.0.0.1:{port}")
    assert isinstance(ready, events.Ready)
    assert (ready.pid, ready.port, ready.version) == (pid, port, version)
    assert 0 < ready.elapsed < LONG
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
    restarting = recorder.wait_for("restarting")
    assert restarting == events.Restarting(crash, 1, options.max_restarts, 0.01)


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
    assert "  hello" in error.message
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


# Output


def test_the_log_is_whole_in_the_file_and_bounded_in_memory(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "server.log"
    manager.start(pretend(["flood", 1, 30_000], ["serve"], log_path=path))
    manager.ensure_ready()
    assert manager.log_path == path
    assert manager.log_size() == 3_000_000 == path.stat().st_size
    assert path.read_bytes() == b"".join(b"%099d\n" % n for n in range(30_000))
    assert recorder.text("stdout") == path.read_text()


def test_the_log_of_a_crash_is_told_from_that_of_its_successor(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "server.log"
    manager.start(
        pretend(
            ["say", "first\n"], ["serve"], again=[["say", "second\n"], ["serve"]], log_path=path
        )
    )
    manager.ensure_ready()
    ask(manager, "GET", "/say/last-words")
    os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("ready", 2)
    (crash,) = manager.crashes
    text = path.read_bytes()
    assert text[: crash.log_offset] == b"first\nlast-words\n"
    assert text[crash.log_offset :] == b"second\n"
    manager.stop()
    assert path.read_bytes() == text


def test_the_size_of_the_log_counts_what_was_just_written(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    for size in (10, 20, 30):
        ask(manager, "GET", "/say/123456789")
        assert manager.log_size() == size


@pytest.mark.parametrize("where", ["", "file/server.log", "a" * 300])
def test_a_log_that_cannot_be_written_is_named(
    manager: ShimmyProcessManager, pretend: Pretend, tmp_path: Path, raised: Raised, where: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / where
    manager.start(pretend(["serve"], log_path=path))
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready()
    assert caught.value.code is ShimmyErrorCode.START_FAILED
    assert f"the server's log cannot be written to {path}: " in caught.value.message
    assert caught.value.details == {"log_path": str(path)}
    assert not raised


def test_a_temporary_log_goes_with_the_server(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    assert [manager.log_path] == list((tmp_path / "tmp").iterdir())
    manager.stop()
    assert not list((tmp_path / "tmp").iterdir())
    manager.start(pretend(["exit", 1]))
    with pytest.raises(ShimmyError):
        manager.ensure_ready()
    manager.stop()
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.shimmy_real
def test_the_real_executable_is_not_frozen_by_its_own_log(
    manager: ShimmyProcessManager, real_shimmy: Path, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=real_shimmy, models_dir=models_dir))
    manager.ensure_ready()
    before = manager.log_size()
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    body = json.dumps({"model": "nope" * 20, "prompt": "x"})
    for _ in range(1500):
        connection.request("POST", "/api/generate", body, {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 404
        response.read()
    connection.close()
    # More than a pipe holds: an undrained one would have stopped it long ago.
    assert manager.log_size() - before > 2 * 65536
    assert ask(manager, "GET", "/health") == 200


def test_output_that_is_no_text_is_kept_as_it_is_and_heard_as_text(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "server.log"
    manager.start(pretend(["raw", "e282ac20ff0afe"], ["serve"], log_path=path))
    manager.ensure_ready()
    manager.log_size()
    assert recorder.text("stdout") == "€ \ufffd\n\ufffd"
    assert path.read_bytes() == bytes.fromhex("e282ac20ff0afe")


def test_a_character_that_arrives_in_two_pieces_is_heard_whole(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gate:
        step: Step = ["gate", gate.getsockname()[1]]
        manager.start(pretend(["raw", "e2"], step, ["raw", "82ac"], ["serve"]))
        visitor, _ = gate.accept()
        manager.log_size()  # the first piece was taken on its own
        visitor.close()
    manager.ensure_ready()
    recorder.wait_until(lambda: recorder.text("stdout") == "€")


def test_streams_are_heard_apart(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["say", "out"], ["complain", "err"], ["serve"]))
    manager.ensure_ready()
    manager.log_size()
    assert recorder.text("stdout") == "out"
    assert recorder.text("stderr") == "err"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_stop_the_server(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["flood", 1, 3000], ["serve"], log_path="/dev/full"))
    manager.ensure_ready()
    assert ask(manager, "GET", "/say/more") == 200


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
        *("Starting", "Ready", "Restarting", "Stopped", "Output"),
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
