"""What a killed keeper leaves is put away by the shell that waits beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.sharing import janitor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no shell on Windows")

KEEPER = """
import sys, subprocess, signal
from pathlib import Path
from pytest_shimmy.sharing.janitor import Janitor
janitor = Janitor(*map(Path, sys.argv[1:]))
for command in iter(sys.stdin.readline, ""):
    janitor.watch(int(command) or None)
    print("told", flush=True)
"""
"""Stands in for a keeper: tells the janitor which group to watch, as its standard input says."""

SOON = 10.0


class Keeper:
    def __init__(self, *paths: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", KEEPER, *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def tell(self, group: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{group}\n")
        assert self.process.stdout.readline() == "told\n"

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait until its janitor has ended too."""
        (shell,) = wait_for_shell(self.process.pid)
        self.process.send_signal(number)
        self.process.communicate()
        gone, _ = psutil.wait_procs([shell], SOON)
        assert gone == [shell]


def wait_for_shell(keeper: int) -> list[psutil.Process]:
    """The janitor of this process; its name is there a moment after it is."""
    deadline = time.monotonic() + SOON
    while True:
        found = [each for each in psutil.Process(keeper).children() if _is_janitor(each)]
        if found or time.monotonic() > deadline:
            return found


def _is_janitor(process: psutil.Process) -> bool:
    try:
        return "pytest-shimmy-janitor" in process.cmdline()
    except psutil.Error:  # it has ended, as keepers of the tests before
        return False


@pytest.fixture
def keeper() -> Iterator[Callable[..., Keeper]]:
    made: list[Keeper] = []

    def make(*paths: Path) -> Keeper:
        made.append(Keeper(*paths))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def group() -> Iterator[subprocess.Popen[str]]:
    """A leader of a group that has another member."""
    program = "import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', "
    program += "'import time; time.sleep(600)']).pid, flush=True); time.sleep(600)"
    leader = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    yield leader
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.communicate()


@pytest.mark.slow
def test_the_files_go_with_a_killed_keeper(keeper: Callable[..., Keeper], tmp_path: Path) -> None:
    directory, lock = tmp_path / "a b'c\"$d", tmp_path / "-e.lock"
    directory.mkdir()
    (directory / "server.log").touch()
    lock.touch()
    (tmp_path / "other").touch()
    dying = keeper(directory, lock)
    dying.tell(0)
    assert directory.exists()
    dying.end()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.slow
def test_the_servers_whole_group_goes_with_a_killed_keeper(
    keeper: Callable[..., Keeper], group: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert group.stdout is not None
    member = psutil.Process(int(group.stdout.readline()))
    dying = keeper(tmp_path / "nothing")
    dying.tell(group.pid)
    dying.end()
    assert group.wait(SOON) == -signal.SIGKILL
    psutil.wait_procs([member], SOON)
    assert not member.is_running() or member.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_group_that_ended_before_is_left_alone(
    keeper: Callable[..., Keeper], group: subprocess.Popen[str], tmp_path: Path
) -> None:
    dying = keeper(tmp_path / "nothing")
    dying.tell(group.pid)
    dying.tell(0)
    dying.end()
    assert group.poll() is None


@pytest.mark.slow
def test_an_orderly_end_ends_the_janitor_too(keeper: Callable[..., Keeper], tmp_path: Path) -> None:
    ending = keeper(tmp_path / "nothing")
    ending.tell(0)
    ending.end(signal.SIGTERM)


def test_without_a_shell_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(janitor, "SHELL", str(tmp_path / "no-shell"))
    janitor.Janitor(tmp_path).watch(os.getpid())


def test_a_killed_janitor_is_no_trouble(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(tmp_path / "nothing")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("0\n")
        process.stdout.readline()
        (shell,) = wait_for_shell(process.pid)
        shell.kill()
        deadline = time.monotonic() + SOON
        while shell.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
        process.stdin.write("0\n")
        assert process.stdout.readline() == "told\n"
        process.stdin.close()
        assert process.wait(SOON) == 0


def test_one_that_is_dismissed_removes_what_is_left_and_is_no_zombie(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    mine = janitor.Janitor(left)
    mine.watch(os.getpid())
    (shell,) = wait_for_shell(os.getpid())
    mine.dismiss()
    assert not psutil.pid_exists(shell.pid)
    assert not left.exists()


def test_one_that_is_stopped_is_dismissed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "END_TIMEOUT", 0.05)
    mine = janitor.Janitor(tmp_path)
    (shell,) = wait_for_shell(os.getpid())
    shell.suspend()
    mine.dismiss()
    assert not psutil.pid_exists(shell.pid)


REPLACING = """
import select, sys
from pathlib import Path
from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.sharing import janitor
janitor.LIFE = float(sys.argv[2])
mine = janitor.Janitor(Path(sys.argv[1]))
mine.watch(int(sys.argv[3]))
print("ready", flush=True)
select.select([mine.ended], [], [])
print(mine.replace(), flush=True)
sys.stdin.read()
"""


def replace(directory: Path, life: float, group: int) -> subprocess.Popen[str]:
    """A keeper whose janitor has been killed, and who has tried to replace it."""
    process = subprocess.Popen(
        [sys.executable, "-c", REPLACING, str(directory), str(life), str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (shell,) = wait_for_shell(process.pid)
    shell.kill()
    assert process.stdout.readline() == f"{life == 0}\n"
    return process


@pytest.mark.slow
def test_one_that_was_killed_is_replaced_and_its_successor_knows_the_group(
    group: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "left").touch()
    with replace(tmp_path, 0, group.pid) as process:
        (successor,) = wait_for_shell(process.pid)
        process.kill()
    psutil.wait_procs([successor], SOON)
    assert group.wait(SOON) == -signal.SIGKILL
    assert not tmp_path.exists()


@pytest.mark.slow
def test_one_that_is_killed_at_once_is_not_replaced_for_ever(tmp_path: Path) -> None:
    with replace(tmp_path, 3600, os.getpid()) as process:
        assert psutil.Process(process.pid).children() == []
        process.kill()


@pytest.mark.slow
def test_a_group_is_forgotten_when_its_server_is_restarted_stopped_or_given_up(
    pretend: Callable[..., ShimmyProcessOptions], tmp_path: Path
) -> None:
    told: list[int | None] = []

    class Told(janitor.Janitor):
        def watch(self, group: int | None) -> None:
            told.append(group)

    mine = Told(tmp_path / "nothing")
    with ShimmyProcessManager() as manager:
        mine.follow(manager)
        manager.start(pretend(["serve"], max_restarts=0))
        manager.ensure_ready()
        first = manager.pid
        manager.restart()
        manager.ensure_ready()
        assert told == [first, None, second := manager.pid]
        manager.stop()
        assert told[3:] == [None]
        manager.start()
        manager.ensure_ready()
        third = manager.pid
        assert third is not None
        os.kill(third, signal.SIGKILL)
        deadline = time.monotonic() + SOON
        while manager.state != "failed":
            assert time.monotonic() < deadline
        manager.stop()
        assert told[4:] == [third, None]
        assert len({first, second, third}) == 3
    mine.dismiss()
