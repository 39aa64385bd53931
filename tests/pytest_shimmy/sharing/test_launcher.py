"""A keeper that does not come to anything is reported in time, with what is likely, and ended."""

from __future__ import annotations

import hashlib
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

from pytest_shimmy.defaults import ShimmyProcessDefaults
from pytest_shimmy.errors import ShimmyError, ShimmyErrorCode
from pytest_shimmy.launch.plan import Plan, plan
from pytest_shimmy.launch.target import Targets
from pytest_shimmy.options import ShimmyProcessOptions
from pytest_shimmy.settings import Settings
from pytest_shimmy.sharing import launcher, link, sockets
from pytest_shimmy.sharing.files import RendezvousFile, announce
from pytest_shimmy.sharing.protocol import Channel
from pytest_shimmy.sharing.release import release_all
from pytest_shimmy.sharing.run import Anchor, Run

SOON = 10.0

StandIn = Callable[[str], None]


@pytest.fixture
def run(runtime_dir: Path) -> Run:
    return Run(os.urandom(16).hex(), None)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Have a Python program stand in for the keeper, which has a second to say something."""

    def stand_in(program: str) -> None:
        monkeypatch.setattr(launcher, "python_command", lambda *_: (sys.executable, "-c", program))

    monkeypatch.setattr(ShimmyProcessDefaults, "keeper_timeout", 1.0)
    monkeypatch.setattr(launcher, "END_TIMEOUT", 1.0)
    return stand_in


def nothing(directory: Path) -> Plan:
    return Plan(ShimmyProcessOptions(cwd=directory, log_path=directory / "server.log"))


OTHERS: list[psutil.Process] = []


@pytest.fixture(autouse=True)
def _others() -> None:
    """Processes of other tests, such as the keeper of a shared server, may stay."""
    OTHERS[:] = psutil.Process().children()


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if each not in OTHERS]


SAYS_NOTHING = "import time; time.sleep(600)"


@pytest.mark.slow
def test_one_that_says_nothing_is_given_up_and_ended(run: Run, stand_in: StandIn) -> None:
    stand_in(SAYS_NOTHING)
    with pytest.raises(ShimmyError, match="it said nothing for 1 s, though it runs") as caught:
        link.join(run, "key", nothing)
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
    assert children() == []


@pytest.mark.slow
def test_the_files_of_one_that_is_given_up_before_it_has_a_janitor_go_with_it(
    run: Run, stand_in: StandIn, runtime_dir: Path
) -> None:
    stand_in(
        "import json, os, socket, sys, time;"
        "s = socket.socket(fileno=int(sys.stdin.readline()));"
        "directory = json.loads(s.makefile().readline())['directory'];"
        "os.mkdir(directory); open(directory + '.lock', 'w').close(); time.sleep(600)"
    )
    with pytest.raises(ShimmyError, match="it said nothing for 1 s"):
        link.join(run, "key", nothing)
    assert list((runtime_dir / "servers").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux says which process is stopped")
def test_of_one_that_is_stopped_that_is_said(run: Run, stand_in: StandIn) -> None:
    stand_in("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    with pytest.raises(ShimmyError, match=r"process \d+ is stopped; kill -CONT"):
        link.join(run, "key", nothing)
    assert children() == []


def test_of_one_that_ends_without_a_word_what_is_likely_is_said(
    run: Run, stand_in: StandIn
) -> None:
    stand_in("import os; os._exit(0)")
    with pytest.raises(ShimmyError, match=r"(?s)exit code 0.*\(nothing\).*out of memory"):
        link.join(run, "key", nothing)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["[]", "{}", '{"listening": 1}', '{"error": {}}', "long"])
def test_one_that_is_no_keeper_is_not_believed(run: Run, stand_in: StandIn, answer: str) -> None:
    said = repr(answer.encode()) if answer != "long" else "b'x' * 3_000_000"
    stand_in(
        "import socket, sys; s = socket.socket(fileno=int(sys.stdin.readline()));"
        f"s.sendall({said} + b'\\n')"
    )
    with pytest.raises(ShimmyError, match="did not start") as caught:
        link.join(run, "key", nothing)
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
    assert children() == []


def test_one_is_ended_whose_launch_is_interrupted(
    run: Run, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(SAYS_NOTHING)

    def interrupted(_: Channel) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Channel, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link.join(run, "key", nothing)
    (keeper,) = children()
    assert psutil.wait_procs([keeper], SOON)[1] == []
    launcher.reap()


def test_who_hangs_up_at_once_is_no_keeper_to_join(run: Run, stand_in: StandIn) -> None:
    stand_in("raise SystemExit('another one was launched')")
    digest = hashlib.sha256(b"key").hexdigest()
    directory = link.server_directory(f"{run.id[:16]}-{digest[:8]}")
    directory.mkdir()
    with sockets.listen() as listener:
        announce(directory, RendezvousFile(sockets.address_of(listener), "token"))

        def hang_up_on_all() -> None:
            for _ in range(2):  # before it has the start lock, and with it
                listener.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up_on_all, daemon=True)
        hanging_up.start()
        with pytest.raises(ShimmyError, match="another one was launched"):
            link.join(run, "key", nothing)
        hanging_up.join()


def test_a_run_that_is_over_launches_nobody(runtime_dir: Path, stand_in: StandIn) -> None:
    stand_in("raise SystemExit('it was launched')")
    anchor = Anchor()
    run = Run.invited(anchor.invitation())
    assert anchor.let_go() == []
    with pytest.raises(ShimmyError, match="the run is over"):
        link.join(run, "key", nothing)


def fake(directory: Path) -> Plan:
    return plan(Targets().of(Settings()), directory)


def test_a_server_has_the_environment_of_its_launch_whenever_its_keeper_was_spawned(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFORE", "1")
    launcher.spawn_ahead()
    (ahead,) = children()
    monkeypatch.setenv("AFTER", "1")
    monkeypatch.delenv("BEFORE")
    joined = link.join(run, "key", fake)
    try:
        server = joined.ready().pid
        assert children() == [ahead]
        assert server is not None
        assert psutil.Process(server).ppid() == ahead.pid
        found = psutil.Process(server).environ()
        assert found["AFTER"] == "1"
        assert "BEFORE" not in found
        assert ahead.cwd() == str(joined.directory.parent)
    finally:
        joined.leave(SOON)


def test_one_that_was_spawned_ahead_and_has_died_is_replaced(run: Run) -> None:
    launcher.spawn_ahead()
    (ahead,) = children()
    ahead.kill()
    ahead.wait(SOON)
    joined = link.join(run, "key", fake)
    try:
        assert joined.ready().state == "ready"
        assert ahead not in children()
    finally:
        joined.leave(SOON)


def test_one_that_was_spawned_ahead_and_is_not_needed_is_ended() -> None:
    launcher.spawn_ahead()
    assert len(children()) == 1
    launcher.drop_ahead()
    assert children() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_one_that_was_spawned_ahead_is_not_a_forked_childs(run: Run) -> None:
    launcher.spawn_ahead()
    child = os.fork()
    if not child:
        os._exit(len(launcher._ahead))
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(children()) == 1
    finally:
        launcher.drop_ahead()


TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, int(sys.argv[1]), None, None):  # PTRACE_ATTACH
    sys.exit("not allowed")
print("attached", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says who traces whom")
def test_a_process_that_a_debugger_holds_is_told_from_one_that_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", SAYS_NOTHING]) as traced:
        try:
            assert launcher.held(traced.pid) is None
            with subprocess.Popen(
                [sys.executable, "-c", TRACER, str(traced.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as tracer:
                assert tracer.stdout is not None
                if tracer.stdout.readline() != "attached\n":
                    pytest.skip("the system does not let one process trace another")
                deadline = time.monotonic() + SOON
                while (why := launcher.held(traced.pid)) is None:
                    assert time.monotonic() < deadline
                assert f"debugger or tracer {tracer.pid}" in why
                tracer.communicate()
            traced.send_signal(signal.SIGCONT)
        finally:
            traced.kill()
    assert launcher.held(traced.pid) is None, "there is no such process"


SPAWNS = """
import os, sys
print("spawning", flush=True)
os.posix_spawn("/bin/true", ["true"], {}, file_actions=[
    (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])
sys.stdin.read()
"""
"""Waits in the kernel (state D, as for a disk) until somebody opens the named pipe for writing."""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says so of who spawns")
def test_a_process_that_is_just_starting_another_is_not_killed_as_one_that_is_stopped(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    near, far = sockets.pair()
    channel = Channel(near)
    with subprocess.Popen(
        [sys.executable, "-c", SPAWNS, pipe], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        try:
            channel.process = keeper.pid
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == b"spawning\n"
            deadline = time.monotonic() + SOON
            while psutil.Process(keeper.pid).status() != psutil.STATUS_DISK_SLEEP:
                assert time.monotonic() < deadline
            release_all([channel], 0.0)
            with open(pipe, "wb"):
                keeper.communicate(timeout=SOON)
        finally:
            far.close()
            keeper.kill()
    assert keeper.returncode == 0
