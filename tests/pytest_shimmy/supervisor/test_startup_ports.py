"""The port of a server that starts: whose it is, and who else may be there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from pytest_shimmy.events import Output, Ready, Starting
from pytest_shimmy.executable.identify import bundled_fake
from pytest_shimmy.process.process import Process
from pytest_shimmy.supervisor import ports
from tests.support.manager_events import LONG, Pretend, Recorder, Step, failure, pid_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts")

PRETENDER = Path(__file__).parents[2] / "programs" / "pretender.py"
HEALTHY = b'HTTP/1.1 200 OK\r\n\r\n{"service":"shimmy","version":"6.6.6"}'
FAKE = bundled_fake().command


class Gate:
    """Where a stand-in waits for the test, between its spawn and its doings."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(LONG)
        self._visitor: socket.socket | None = None
        self.step: Step = ["gate", self._server.getsockname()[1]]

    def arrived(self) -> int:
        """Wait for the stand-in; returns the port that it was told to listen on."""
        self._visitor, _ = self._server.accept()
        with self._visitor.makefile() as words:
            return int(words.readline())

    def open(self) -> None:
        assert self._visitor is not None
        self._visitor.close()

    def close(self) -> None:
        self._server.close()
        if self._visitor is not None:
            self._visitor.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


@contextlib.contextmanager
def stranger(port: int, answer: bytes | None = HEALTHY) -> Iterator[threading.Event]:
    """Somebody else's server on `port`, in this process; yields what is set once it was asked.

    Without an `answer` it accepts, and says nothing for as long as it is there.
    """
    silent: list[socket.socket] = []
    asked = threading.Event()
    done = threading.Event()

    def run() -> None:
        while True:
            peer, _ = server.accept()
            if answer is None and not done.is_set():
                silent.append(peer)
                asked.set()
                continue
            with peer, contextlib.suppress(OSError):
                if done.is_set():
                    return
                peer.recv(4096)
                peer.sendall(answer or b"")
                asked.set()

    with socket.create_server(("127.0.0.1", port), backlog=1000) as server:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield asked
        finally:
            done.set()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), LONG).close()
            thread.join()
            for peer in silent:
                peer.close()


STRANGERS = pytest.mark.parametrize(
    "answer",
    [HEALTHY, b"\x00\xff garbage \r\n" * 10_000, b"", None],
    ids=["healthy", "garbage", "hanging up", "silent"],
)


# Ports: a stranger who is faster costs the user nothing, and is never taken for ours.


@pytest.mark.slow
@STRANGERS
def test_a_stranger_that_takes_the_port_before_the_server_binds_it_is_evaded(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes | None,
) -> None:
    # The server's exit is noticed even while a stranger keeps a probe waiting.
    monkeypatch.setattr(ShimmyProcessDefaults, "probe_timeout", LONG)
    started: list[Starting] = []
    manager.on("starting", started.append)
    manager.start(
        pretend(gate.step, ["become", *FAKE], again=[["become", *FAKE]], models_dir=models_dir)
    )
    taken = gate.arrived()
    with stranger(taken, answer) as asked:
        assert asked.wait(LONG)  # it was asked whether it is ours
        assert manager.state == "starting"
        gate.open()
        manager.ensure_ready(LONG)
        assert manager.port != taken
        assert [event.port for event in started] == [taken, manager.port]
        assert manager.error is None
        assert manager.restarts == 0


@pytest.mark.shimmy_real
def test_the_real_executable_evades_a_stranger_too(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    models_dir: Path,
    real_shimmy: Path,
) -> None:
    real = str(real_shimmy)
    manager.start(
        pretend(gate.step, ["become", real], again=[["become", real]], models_dir=models_dir)
    )
    taken = gate.arrived()
    with stranger(taken):
        gate.open()
        manager.ensure_ready(LONG)
        assert manager.port != taken


@pytest.mark.slow
def test_a_stranger_that_answers_as_shimmy_is_never_taken_for_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    with stranger(gate.arrived()) as asked:
        assert asked.wait(LONG)
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert f"it was process {os.getpid()} that answered as shimmy" in caught.value.message
    assert not ready


@pytest.mark.slow
def test_a_stranger_that_answers_once_and_is_gone_is_not_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    ready: list[Ready] = []
    manager.on("ready", ready.append)
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    with socket.create_server(("127.0.0.1", gate.arrived())) as server:
        server.settimeout(LONG)
        peer, _ = server.accept()
    with peer:  # nobody listens any more when the answer comes
        peer.recv(4096)
        peer.sendall(HEALTHY)
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.START_TIMEOUT
    assert not ready


@pytest.mark.slow
@STRANGERS
@pytest.mark.usefixtures("quick_restarts")
def test_a_stranger_that_takes_the_port_of_a_dead_server_is_waited_out(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    recorder: Recorder,
    models_dir: Path,
    answer: bytes | None,
) -> None:
    """Clients know the port, so a restart has no other; it has as many tries as are allowed."""
    again: list[Step] = [gate.step, ["become", *FAKE]]
    manager.start(pretend(["serve"], again=again, models_dir=models_dir, max_restarts=2))
    manager.ensure_ready(LONG)
    port = manager.port
    os.kill(pid_of(manager), signal.SIGKILL)
    with stranger(gate.arrived(), answer) as asked:
        assert asked.wait(LONG)
        gate.open()
        assert gate.arrived() == port  # the next try
        assert manager.state == "starting"
    gate.open()
    manager.ensure_ready(LONG)
    assert (manager.port, manager.restarts) == (port, 2)
    assert recorder.names().count("ready") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("quick_restarts")
def test_a_stranger_that_keeps_the_port_of_a_dead_server_is_never_taken_for_it(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    recorder: Recorder,
    models_dir: Path,
) -> None:
    again: list[Step] = [gate.step, ["become", *FAKE]]
    manager.start(pretend(["serve"], again=again, models_dir=models_dir, max_restarts=1))
    manager.ensure_ready(LONG)
    os.kill(pid_of(manager), signal.SIGKILL)
    with stranger(gate.arrived()) as asked:
        assert asked.wait(LONG)
        gate.open()
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready(LONG)
    assert caught.value.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert "was taken by another program" in caught.value.message
    assert recorder.names().count("ready") == 1


def test_a_stop_is_not_held_up_by_a_stranger_that_keeps_a_probe_waiting(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "probe_timeout", LONG)
    manager.start(pretend(gate.step, ["silent"]))
    with stranger(gate.arrived(), None) as asked:
        assert asked.wait(LONG)
        before = time.monotonic()
        manager.stop()
        assert time.monotonic() - before < LONG / 2
    assert manager.error is None


@pytest.mark.slow
def test_a_server_that_left_our_process_group_is_not_ours(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    manager.start(pretend(gate.step, ["silent"], health_timeout=1.5))
    port = gate.arrived()
    elsewhere = Process(
        [sys.executable, "-IS", str(PRETENDER), "serve", "--bind", f"127.0.0.1:{port}"],
        env={"PRETEND": json.dumps([["serve"]])},
        cwd=None,
        on_output=lambda *_: None,
    )
    try:
        with pytest.raises(ShimmyError) as caught:
            manager.ensure_ready(LONG)
    finally:
        elsewhere.stop(0)
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert f"it was process {elsewhere.pid} that answered as shimmy" in caught.value.message


def test_a_server_behind_a_wrapper_script_is_ours(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    models_dir: Path,
    wait_until_gone: Callable[[int], None],
) -> None:
    manager.start(pretend(["wrap", *FAKE], models_dir=models_dir))
    manager.ensure_ready()
    (server,) = psutil.Process(manager.pid).children()
    manager.stop()
    # It was killed with its group, but it is not our child: its end takes a moment to show.
    wait_until_gone(server.pid)


def test_a_port_that_another_run_has_leased_is_not_tried(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    with ports.lease() as lease:
        manager.start(pretend(["serve"], preferred_port=lease.port))
        manager.ensure_ready()
        assert manager.port is not None
        assert manager.port > lease.port


TAKEN: Step = ["complain", "Error: Address already in use (os error 98)\n"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        [TAKEN],
        # More than is kept of the log.
        [["flood", 2, 2000], TAKEN],
        [TAKEN, ["flood", 1, 2000]],
    ],
    ids=["at once", "after much else", "before much else"],
)
def test_a_server_that_finds_every_port_taken_is_given_up(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[Step],
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "port_attempts", 3)
    tried: list[int] = []
    manager.on("starting", lambda event: tried.append(event.port))
    error = failure(manager, pretend(*steps, ["exit", 1]))
    assert error.code is ShimmyErrorCode.PORT_IN_USE
    assert f"port {tried[-1]} was taken by another program" in error.message
    assert len(set(tried)) == len(tried) == 3


def test_an_address_of_another_machine_is_named(manager: ShimmyProcessManager) -> None:
    error = failure(manager, ShimmyProcessOptions(host="192.0.2.1"))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "192.0.2.1 is no address of this machine" in error.message


def test_a_server_s_port_is_leased_until_it_stops(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    port = manager.port
    with ports.lease(port) as other:
        assert other.port != port
    manager.stop()
    with ports.lease(port) as again:
        assert again.port == port


def test_a_failed_start_keeps_no_port(manager: ShimmyProcessManager, pretend: Pretend) -> None:
    failure(manager, pretend(["exit", 1]))
    with ports.lease(manager.port) as again:
        assert again.port == manager.port


def test_the_banner_proves_nothing(
    manager: ShimmyProcessManager, pretend: Pretend, gate: Gate
) -> None:
    heard = threading.Event()

    def listen(output: Output) -> None:
        if "Ready to serve" in output.text:
            heard.set()

    manager.on("stdout", listen)
    manager.start(pretend(["say", "✅ Ready to serve requests\n"], gate.step, ["serve"]))
    gate.arrived()
    assert heard.wait(LONG)
    assert manager.state == "starting"
    gate.open()
    manager.ensure_ready(LONG)


@pytest.mark.shimmy_real
def test_the_real_executable_says_it_is_ready_before_it_binds(
    real_shimmy: Path, models_dir: Path, tmp_path: Path
) -> None:
    output: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as holder:
        bind = f"127.0.0.1:{holder.getsockname()[1]}"
        process = Process(
            [str(real_shimmy), "serve", "--bind", bind, "--model-dirs", str(models_dir)],
            env=dict(os.environ),
            cwd=tmp_path,
            on_output=lambda _, data: output.append(data),
        )
        assert process.exited.wait(LONG)
    text = b"".join(output).decode()
    assert "Ready to serve requests" in text
    assert "(os error 98)" in text
    assert process.exit == (1, None)
