"""The manager at odd moments and on odd machines."""

from __future__ import annotations

import _socket
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from pytest_shimmy.events import Event, Output
from pytest_shimmy.process.process import ExitStatus, Process
from pytest_shimmy.supervisor.listeners import Listeners
from tests.support.manager_events import wait_until

Pretend = Callable[..., ShimmyProcessOptions]

LONG = 60.0


def failure(manager: ShimmyProcessManager, options: ShimmyProcessOptions) -> ShimmyError:
    manager.start(options)
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    return caught.value


def test_stopping_while_a_start_that_took_too_long_is_being_ended_says_stopped(
    manager: ShimmyProcessManager, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()
    stop = Process.stop

    def observed(process: Process, grace: float) -> ExitStatus:
        ending.set()
        return stop(process, 1.0)

    monkeypatch.setattr(Process, "stop", observed)
    heard: list[str] = []
    manager.on("error", lambda _: heard.append("error"))
    manager.on("stopped", lambda _: heard.append("stopped"))
    manager.start(pretend(["deaf"], ["silent"], health_timeout=0.3))
    assert ending.wait(LONG)
    manager.stop()
    assert heard == ["stopped"]


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_no_address_of_this_machine_ends_the_start_at_once(
    manager: ShimmyProcessManager, pretend: Pretend, host: str
) -> None:
    error = failure(manager, pretend(["serve"], host=host))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert f"{host} is no address of this machine" in error.message


def test_a_system_without_ipv6_is_named_as_the_reason(
    manager: ShimmyProcessManager, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_socket, "AF_INET6", 9999)
    error = failure(manager, pretend(["serve"], host="::1"))
    assert "::1 is no address of this machine" in error.message


def test_a_log_path_that_no_system_takes_is_named(
    manager: ShimmyProcessManager, pretend: Pretend, raised: list[Any]
) -> None:
    error = failure(manager, pretend(["serve"], log_path="/a\0b"))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert "log cannot be written to /a\\x00b" in error.message
    assert not raised


def test_a_missing_directory_for_temporary_files_is_named(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    raised: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/place")
    error = failure(manager, pretend(["serve"]))
    assert "log cannot be written to /no/such/place" in error.message
    assert not raised


AT_EXIT = """
import atexit, sys
from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
manager = ShimmyProcessManager()
atexit.register(manager.stop)
manager.on("stopped", lambda _: print("heard", flush=True))
manager.start(ShimmyProcessOptions(models_dir=sys.argv[1]))
manager.ensure_ready()
"""


def test_stopping_when_the_interpreter_ends_is_told_and_silent(models_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(models_dir)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


def test_an_excepthook_that_raises_does_not_silence_the_listeners_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", fail)
    listeners = Listeners()
    heard: list[Event] = []
    listeners.add("stdout", fail)
    listeners.add("stdout", heard.append)
    for text in "xy":
        listeners.tell("stdout", Output(text))
        listeners.wait(LONG)
    assert heard == [Output("x"), Output("y")]


SLOW_STRANGER = """
import socket, sys, threading
host, _, port = sys.argv[sys.argv.index("--bind") + 1].rpartition(":")
server = socket.create_server((host, int(port)))
never = threading.Event()
while True:
    peer, _ = server.accept()
    peer.recv(4096)
    never.wait(0.4)
    try:
        peer.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n{"service":"ollama"}')
    except OSError:
        pass
    peer.close()
"""


@pytest.mark.slow
def test_a_last_probe_that_was_cut_short_does_not_hide_what_was_seen_before(
    manager: ShimmyProcessManager, pretend: Pretend, tmp_path: Path
) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW_STRANGER)
    error = failure(manager, pretend(["become", sys.executable, str(program)], health_timeout=4.0))
    assert error.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert "200, but not as shimmy" in error.message


@pytest.mark.slow
@pytest.mark.parametrize(("event", "step"), [("ready", ["serve"]), ("error", ["exit", 1])])
def test_who_waited_for_the_start_knows_that_listeners_have_heard(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    event: Any,
    step: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if the supervisor loses the processor just before it tells them."""
    heard: list[object] = []
    manager.on(event, heard.append)
    tell, pause = manager._listeners.tell, threading.Event()

    def late(name: str, payload: Event) -> None:
        if name == event:
            pause.wait(0.2)
        tell(name, payload)

    monkeypatch.setattr(manager._listeners, "tell", late)
    manager.start(pretend(step))
    with contextlib.suppress(ShimmyError):
        manager.ensure_ready(LONG)
    assert len(heard) == 1


@pytest.mark.parametrize("question", ["--version", "gpu-info"])
def test_a_stop_does_not_wait_for_an_executable_that_hangs_on_a_question(
    manager: ShimmyProcessManager,
    tmp_path: Path,
    wait_until_gone: Callable[[int], None],
    question: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "version_timeout", 10 * LONG)
    pid = tmp_path / "pid"
    path = tmp_path / "shimmy"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = {question} ]; then\n'
        f"  trap '' TERM; echo $$ > {pid}.draft; mv {pid}.draft {pid}; sleep 600\n"
        "fi\necho shimmy 2.5.0\n"
    )
    path.chmod(0o755)
    manager.start(ShimmyProcessOptions(shimmy_path=path, gpu_mode="cpu"))
    wait_until(pid.exists)
    before = time.monotonic()
    manager.stop()
    assert time.monotonic() - before < LONG / 2
    assert (manager.state, manager.error) == ("idle", None)
    wait_until_gone(int(pid.read_text()))


NEVER_STOPPED = """
from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
manager = ShimmyProcessManager()
manager.start(ShimmyProcessOptions(model_path={model!r}))
manager.ensure_ready()
print(manager.pid, manager.log_path)
"""


def test_one_that_nobody_stops_ends_with_the_program_and_leaves_no_log(tmp_path: Path) -> None:
    model = tmp_path / "served.gguf"
    model.write_bytes(contents())
    said = subprocess.check_output(
        [sys.executable, "-c", NEVER_STOPPED.format(model=str(model))], text=True, timeout=LONG
    )
    pid, log = said.split()
    assert not Path(log).exists()
    assert not psutil.pid_exists(int(pid))
