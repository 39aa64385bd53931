"""Who owns a port is found out, or it is not believed: not even where nobody can be seen."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.process.process import Process
from pytest_shimmy.supervisor import port_owner, startup
from pytest_shimmy.supervisor.port_owner import INVISIBLE, NOBODY, listener
from tests.support.manager_events import LONG, Pretend, failure, failure_in_time, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells it in /proc")


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_owner_is_found_whether_it_was_likely_or_not(port: int) -> None:
    assert listener(port, likely=os.getpid()) == os.getpid()
    assert listener(port, likely=1) == os.getpid()


def test_a_port_without_a_listener_has_no_owner() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert listener(bound.getsockname()[1], likely=os.getpid()) == NOBODY


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")
def test_a_listener_of_another_user_is_not_to_be_seen(port: int) -> None:
    program = (
        "import os, sys\n"
        "from pytest_shimmy.supervisor.port_owner import listener\n"
        "sys.stdin.readline()\n"
        "os.setuid(54321)\n"
        "print(listener(int(sys.argv[1]), likely=os.getpid()))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(port)],
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) == INVISIBLE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "words"),
    [(INVISIBLE, "another user"), (NOBODY, "does not listen there"), (1, "process 1")],
)
def test_whoever_is_not_ours_is_never_taken_for_ours(
    manager: ShimmyProcessManager,
    options: ShimmyProcessOptions,
    monkeypatch: pytest.MonkeyPatch,
    owner: int,
    words: str,
) -> None:
    monkeypatch.setattr(startup, "listener", lambda *_, **__: owner)
    error = failure_in_time(
        manager, options, lambda error: error.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    )
    assert words in error.message


@pytest.mark.parametrize("place", ["scandir", "listdir"])
def test_for_want_of_a_descriptor_nothing_is_concluded(
    port: int, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(port_owner.os, place, refuse)
    with pytest.raises(OSError, match="Too many"):
        listener(port, likely=1 if place == "scandir" else 2**22 + 1)


def test_a_process_that_exits_between_its_healthy_answer_and_the_look_is_not_ready(
    manager: ShimmyProcessManager, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = startup._stranger

    def too_late(process: Process, port: int) -> str | None:
        stranger = look(process, port)
        os.kill(process.pid, signal.SIGKILL)
        assert process.exited.wait(LONG)
        return stranger

    monkeypatch.setattr(startup, "_stranger", too_late)
    error = failure(manager, pretend(["serve"]))
    assert error.code is ShimmyErrorCode.START_FAILED
    assert error.details["signal"] == signal.SIGKILL


def test_a_later_error_does_not_show_the_log_of_a_former_life(
    manager: ShimmyProcessManager, pretend: Callable[..., ShimmyProcessOptions]
) -> None:
    again: list[list[object]] = [["complain", "the later life\n"], ["exit", 3]]
    options = pretend(
        ["say", "the former life\n"],
        ["complain", "Error: Address already in use (os error 98)\n"],
        ["serve"],
        again=again,
        max_restarts=1,
    )
    manager.start(options)
    manager.ensure_ready()
    assert manager.pid is not None
    os.kill(manager.pid, signal.SIGKILL)
    wait_until(lambda: manager.state == "failed")
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    error = caught.value
    assert error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert "the later life" in error.message
    assert "the former life" not in error.message
    assert "the former life" not in error.details["log_tail"]
    assert "The last restart failed: [START_FAILED]" in error.message
