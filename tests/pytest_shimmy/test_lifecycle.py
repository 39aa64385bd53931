"""One server per run, and nothing left of it, however the run ends (guarantees G1, G3 and G6)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from pytest_shimmy import paths

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HANG = """
import os, pathlib, time, pytest

@pytest.mark.parametrize("n", range(4))
def test_hang(shimmy_server, n):
    with open({notes!r}, "a") as notes:
        notes.write(f"{{os.getpid()}} {{shimmy_server.pid}} {{shimmy_server.url}}\\n")
    while not pathlib.Path({go_on!r}).exists():
        time.sleep(0.01)
"""


def as_from_a_terminal() -> None:
    """What nohup or a shell's background job ignores, its children would ignore too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Session:
    """A pytest run in a process of its own, whose tests hang until they are told to go on."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.runtime = directory / "runtime"
        self.go_on = directory / "go-on"
        self._notes = directory / "notes"
        test_file = directory / "test_hang.py"
        test_file.write_text(HANG.format(notes=str(self._notes), go_on=str(self.go_on)))
        self.pytest = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, test_file],
            cwd=directory,
            env={**os.environ, paths.VARIABLE: str(self.runtime)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=as_from_a_terminal,
        )

    def wait_for_tests(self, count: int) -> list[tuple[int, int, str]]:
        """Until `count` tests hang; (process of the test, process of its server, its URL)."""
        wait_for(lambda: len(self.notes()) >= count, self.output)
        return self.notes()

    def notes(self) -> list[tuple[int, int, str]]:
        with contextlib.suppress(FileNotFoundError):
            rows = [line.split() for line in self._notes.read_text().splitlines()]
            return [(int(test), int(server), url) for test, server, url in rows]
        return []

    def keeper(self) -> psutil.Process:
        (keeper,) = [p for p in self.processes() if "pytest_shimmy.keeper" in " ".join(cmdline(p))]
        return keeper

    def processes(self) -> list[psutil.Process]:
        """Everything that this run has started and is still there, however it was detached."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(paths.VARIABLE) == str(self.runtime) and (
                    process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def files(self) -> list[Path]:
        """What is left in the runtime directory, but for the lock files that stay by design."""
        return [
            path
            for path in self.runtime.rglob("*")
            if path.is_file() and path.parent.name not in ("ports", "locks")
        ]

    def output(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return str(self.pytest.communicate(timeout=0.1)[0])
        return "(it is still running)"

    def servers_and_keepers(self) -> list[psutil.Process]:
        names = ("pytest_shimmy.keeper", "fake_shimmy.__main__")
        return [p for p in self.processes() if any(name in " ".join(cmdline(p)) for name in names)]

    def assert_gone(self) -> None:
        left = self.servers_and_keepers
        wait_for(lambda: not left(), lambda: f"left: {left()}", 2.0)
        wait_for(lambda: not self.files(), lambda: f"left: {self.files()}", 2.0)

    def clean_up(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.pytest.communicate()


T = TypeVar("T")


def wait_for(condition: Callable[[], T], explain: Callable[[], str], timeout: float = 30.0) -> T:
    """What `condition` returns once it is true; it is looked at until `timeout` seconds pass."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {explain()}")
        time.sleep(0.01)
    return value


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def start(*arguments: str) -> Session:
        sessions.append(Session(tmp_path, *arguments))
        return sessions[-1]

    yield start
    for session in sessions:
        session.clean_up()


def cmdline(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def test_all_workers_share_one_server(start: Callable[..., Session]) -> None:
    session = start("-n", "3")
    notes = session.wait_for_tests(3)
    assert len({test for test, _, _ in notes}) == 3
    assert len({(server, url) for _, server, url in notes}) == 1
    session.go_on.touch()
    assert session.pytest.wait(30) == 0
    session.assert_gone()


def test_with_scope_worker_each_worker_has_its_own_server(start: Callable[..., Session]) -> None:
    session = start("-n", "3", "--shimmy-scope=worker")
    notes = session.wait_for_tests(3)
    assert len({server for _, server, _ in notes}) == 3
    session.go_on.touch()
    assert session.pytest.wait(30) == 0
    session.assert_gone()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_pytest_gets_a_signal(
    start: Callable[..., Session], workers: tuple[str, ...], number: signal.Signals
) -> None:
    session = start(*workers)
    session.wait_for_tests(2 if workers else 1)
    if number == signal.SIGINT:  # at the terminal, Ctrl-C reaches everybody in the foreground
        os.killpg(session.pytest.pid, number)
        session.pytest.wait(30)  # xdist takes its time to end, and the server is there until then
    else:
        session.pytest.send_signal(number)
    session.assert_gone()


def test_the_server_outlives_a_killed_worker_and_ends_with_the_run(
    start: Callable[..., Session],
) -> None:
    session = start("-n", "2")
    ((victim, server, _), *_) = session.wait_for_tests(2)
    os.kill(victim, signal.SIGKILL)
    session.go_on.touch()
    session.pytest.wait(30)
    notes = session.notes()
    assert len({test for test, _, _ in notes}) == 3, "xdist has replaced the worker"
    assert {of_test for _, of_test, _ in notes} == {server}
    session.assert_gone()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_killed_keeper_takes_its_server_along(
    start: Callable[..., Session], workers: tuple[str, ...]
) -> None:
    session = start(*workers)
    ((_, server, _), *_) = session.wait_for_tests(2 if workers else 1)
    keeper = session.keeper()
    keeper.kill()
    wait_for(lambda: not psutil.pid_exists(server), lambda: "the server lives", 2.0)
    session.go_on.touch()
    session.pytest.wait(30)
    session.assert_gone()


def test_nothing_is_left_when_controller_and_keeper_are_killed_at_once(
    start: Callable[..., Session],
) -> None:
    session = start("-n", "2")
    session.wait_for_tests(2)
    keeper = session.keeper()
    session.pytest.kill()
    keeper.kill()
    # The workers are left, and put things away when their tests end.
    session.go_on.touch()
    session.assert_gone()
