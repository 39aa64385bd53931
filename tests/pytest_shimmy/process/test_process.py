"""A command, its output and its end: nothing is lost, nothing hangs, nobody is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_shimmy.process import process as room
from pytest_shimmy.process.log import Log
from pytest_shimmy.process.process import ExitStatus, Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")

PRETENDER = Path(__file__).parents[2] / "programs" / "pretender.py"
LONG = 60.0


class Heard:
    """Collects output, and waits for a text to arrive."""

    def __init__(self) -> None:
        self.streams: dict[str, bytearray] = defaultdict(bytearray)
        self._changed = threading.Condition()

    def __call__(self, stream: str, data: bytes) -> None:
        with self._changed:
            self.streams[stream] += data
            self._changed.notify_all()

    def wait_for(self, text: bytes, stream: str = "stdout") -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.streams[stream], LONG)


@pytest.fixture
def heard() -> Heard:
    return Heard()


Run = Callable[..., Process]


@pytest.fixture
def run(heard: Heard) -> Iterator[Run]:
    """Runs steps of the pretender; what still runs at the end is ended."""
    processes = []

    def start(*steps: list[object], **how: object) -> Process:
        process = Process(
            [sys.executable, "-IS", str(PRETENDER), "serve", "--bind", "127.0.0.1:1"],
            **{
                "env": {"PRETEND": json.dumps(steps)},
                "cwd": None,
                "on_output": heard,
                **how,
            },  # type: ignore[arg-type]
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.stop(0)


def ended(process: Process) -> ExitStatus:
    assert process.exited.wait(LONG)
    assert process.exit is not None
    return process.exit


@pytest.mark.parametrize("code", [0, 1, 101, 255])
def test_an_exit_code_is_reported(run: Run, code: int) -> None:
    assert ended(run(["exit", code])) == (code, None)
    assert str(ExitStatus(code, None)) == f"exit code {code}"


def test_a_signal_is_reported_by_name(run: Run) -> None:
    status = ended(run(["die", signal.SIGABRT]))
    assert status == (None, signal.SIGABRT)
    assert str(status) == "killed by SIGABRT"
    assert str(ExitStatus(None, 60)) == "killed by signal 60"


def test_the_exit_is_announced_once_after_the_last_output(run: Run, heard: Heard) -> None:
    announced = threading.Event()
    output = []

    def on_exit() -> None:
        output.append(bytes(heard.streams["stdout"]))
        announced.set()

    process = run(["say", "last words"], ["exit", 3], on_exit=on_exit)
    assert announced.wait(LONG)
    assert output == [b"last words"]
    assert process.exit == (3, None)


def test_streams_are_told_apart_and_bytes_are_kept(run: Run, heard: Heard) -> None:
    ended(run(["raw", "ff00fe0d0a"], ["complain", "é\n"], ["exit", 0]))
    assert heard.streams == {"stdout": b"\xff\x00\xfe\r\n", "stderr": "é\n".encode()}


def test_a_flood_on_both_streams_is_taken_whole(run: Run, heard: Heard) -> None:
    ended(run(["flood", 1, 50_000], ["flood", 2, 50_000], ["exit", 0]))
    expected = b"".join(b"%099d\n" % n for n in range(50_000))
    assert heard.streams["stdout"] == expected
    assert heard.streams["stderr"] == expected


def test_what_was_written_so_far_can_be_taken_at_once(run: Run, heard: Heard) -> None:
    process = run(["say", "one"], ["silent"])
    heard.wait_for(b"one")
    process.drain()
    assert heard.streams["stdout"] == b"one"


def test_a_child_that_holds_the_pipe_does_not_delay_the_news_of_the_exit(
    run: Run, tmp_path: Path
) -> None:
    process = run(["litter", str(tmp_path / "pid"), True], ["exit", 4])
    try:
        assert process.exited.wait(LONG)
        litter = psutil.Process(int((tmp_path / "pid").read_text()))
        assert litter.is_running()
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert process.exit == (4, None)


def test_the_whole_group_ends_with_its_leader(
    run: Run, tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    ended(run(["litter", str(tmp_path / "pid"), False], ["exit", 0]))
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_the_whole_group_is_stopped(
    run: Run, heard: Heard, tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    process = run(["litter", str(tmp_path / "pid"), False], ["say", "done"], ["silent"])
    heard.wait_for(b"done")
    assert process.stop(LONG) == (None, signal.SIGTERM)
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_who_is_deaf_to_the_polite_signal_is_killed_after_the_grace(run: Run, heard: Heard) -> None:
    process = run(["deaf"], ["say", "deaf"], ["silent"])
    heard.wait_for(b"deaf")
    assert process.stop(0.1) == (None, signal.SIGKILL)


def test_who_stops_at_once_is_not_waited_for(run: Run) -> None:
    process = run(["silent"])
    before = time.monotonic()
    process.stop(LONG)
    assert time.monotonic() - before < LONG / 2


def test_stopping_what_has_ended_returns_how_it_ended(run: Run) -> None:
    process = run(["exit", 7])
    ended(process)
    assert process.stop(0) == (7, None)
    process.terminate()
    process.drain()


def test_an_exit_that_nobody_noticed_yet_is_seen(run: Run, heard: Heard) -> None:
    process = run(["say", "up"], ["silent"])
    heard.wait_for(b"up")
    assert not process.is_over()
    os.kill(process.pid, signal.SIGKILL)
    # Not `exited`: this is for who asks before the news has come.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_over()
    ended(process)
    assert process.is_over()


@pytest.mark.slow
def test_no_thread_and_no_descriptor_stays(run: Run, wait_for_threads: Callable[[], None]) -> None:
    ended(run(["exit", 0]))  # what is loaded once is loaded now
    me = psutil.Process()
    files = me.num_fds()
    for _ in range(5):
        ended(run(["say", "x"], ["exit", 0]))
    assert me.num_fds() <= files
    wait_for_threads()


def test_our_signals_from_the_terminal_are_not_for_the_child(run: Run, heard: Heard) -> None:
    process = run(["say", "up"], ["silent"])
    heard.wait_for(b"up")
    assert os.getpgid(process.pid) == process.pid != os.getpgrp()
    assert os.getsid(process.pid) == process.pid


def test_the_child_reads_nothing_of_ours_and_inherits_no_descriptor(heard: Heard) -> None:
    with open(os.devnull) as inheritable:
        os.set_inheritable(inheritable.fileno(), True)
        program = (
            "import os, sys; print(sys.stdin.read() == '', "
            f"os.path.exists('/dev/fd/{inheritable.fileno()}'))"
        )
        process = Process([sys.executable, "-IS", "-c", program], env={}, cwd=None, on_output=heard)
        ended(process)
    assert heard.streams["stdout"] == b"True False\n"


def test_environment_and_directory_are_those_that_were_given(heard: Heard, tmp_path: Path) -> None:
    program = "import os; print(os.environ.get('A'), os.environ.get('HOME'), os.getcwd())"
    process = Process(
        [sys.executable, "-IS", "-c", program], env={"A": "ä"}, cwd=tmp_path, on_output=heard
    )
    ended(process)
    assert heard.streams["stdout"].split() == ["ä".encode(), b"None", bytes(tmp_path)]


@pytest.mark.parametrize(
    ("command", "env", "kind"),
    [
        (["/no/such/program"], {}, FileNotFoundError),
        ([os.sep], {}, PermissionError),
        ([sys.executable, "a\0b"], {}, ValueError),
        ([sys.executable], {"A=B": ""}, ValueError),
    ],
)
def test_a_command_that_cannot_be_executed_raises_and_leaves_no_thread(
    heard: Heard,
    wait_for_threads: Callable[[], None],
    command: list[str],
    env: dict[str, str],
    kind: type[Exception],
) -> None:
    with pytest.raises(kind):
        Process(command, env=env, cwd=None, on_output=heard)
    wait_for_threads()


def test_a_missing_directory_raises(heard: Heard, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Process([sys.executable], env={}, cwd=tmp_path / "gone", on_output=heard)


def test_an_interrupt_while_the_child_is_being_spawned_leaves_nobody(
    run: Run, monkeypatch: pytest.MonkeyPatch, wait_until_gone: Callable[[int], None]
) -> None:
    spawned: list[int] = []
    spawn = room._spawn

    def interrupted(*how: Any) -> subprocess.Popen[bytes]:
        popen = spawn(*how)
        spawned.append(popen.pid)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        threading.Event().wait(0.2)  # for it to arrive
        return popen

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(room, "_spawn", interrupted)
    # A shell starts what it puts into the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(["silent"])
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until_gone(spawned[0])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing comes before it")
def test_a_child_that_hangs_before_it_is_executed_is_an_error_and_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch, wait_for_threads: Callable[[], None]
) -> None:
    before = psutil.Process().children()
    monkeypatch.setattr(room, "SPAWN_TIMEOUT", 0.1)
    # As a lock does that another thread had at the moment of the fork.
    monkeypatch.setattr(room, "_die_with_parent", lambda: signal.pause)
    with pytest.raises(TimeoutError, match=r"not executed within 0\.1 s"):
        run(["silent"])
    assert psutil.Process().children() == before
    wait_for_threads()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties child to parent")
def test_a_child_does_not_outlive_a_killed_parent(wait_until_gone: Callable[[int], None]) -> None:
    program = (
        "import sys\n"
        "from pytest_shimmy.process.process import Process\n"
        "child = Process(sys.argv[1:], env={}, cwd=None, on_output=lambda *_: None)\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    sleeper = shutil.which("sleep")
    assert sleeper is not None
    with subprocess.Popen(
        [sys.executable, "-c", program, sleeper, "600"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
        parent.communicate()
    wait_until_gone(child)


def test_a_log_is_whole_in_the_file_and_bounded_in_memory(tmp_path: Path) -> None:
    log = Log(tmp_path / "new" / "directory" / "x.log", keep=1000)
    for n in range(1000):
        log.append(b"%09d\n" % n)
    assert log.size == 10_000
    assert log.newest() == "".join(f"{n:09d}\n" for n in range(900, 1000))
    log.close()
    assert log.path.read_bytes() == b"".join(b"%09d\n" % n for n in range(1000))


def test_a_log_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("before\n")
    log = Log(tmp_path / "x.log", keep=100)
    log.append(b"after\n")
    log.close()
    assert (tmp_path / "x.log").read_text() == "before\nafter\n"
    assert log.newest() == "after\n"


def test_a_log_forgets_in_memory_only(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", keep=100)
    log.append(b"one\n")
    log.forget()
    log.append(b"two\n")
    assert log.newest() == "two\n"
    log.append(b"late\n")
    log.close()
    log.append(b"too late\n")
    assert (tmp_path / "x.log").read_text() == "one\ntwo\nlate\n"
    assert log.newest() == "two\nlate\ntoo late\n"
    assert log.lost == len("too late\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_loses_the_file_but_not_the_newest_output() -> None:
    log = Log(Path("/dev/full"), keep=100)
    log.append(b"hello\n")
    assert (log.size, log.lost, log.newest()) == (0, 6, "hello\n")
    log.close()


def test_a_log_is_readable_whatever_the_bytes(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log", keep=5)
    log.append("ab€".encode() + b"\xff")
    assert log.newest() == "\ufffd€\ufffd" or log.newest() == "b€\ufffd"
    log.close()
