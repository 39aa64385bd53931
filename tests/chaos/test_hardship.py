"""Runs that are short of something, that are stopped, or that strangers speak to.

Each ends by itself and leaves nothing, whatever its tests come to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_shimmy.sharing.janitor import LIFE
from tests.support.kills import FORGED, USE, WAIT, Start, our_sockets, strangers
from tests.support.pytest_runs import XDIST, kill, wait_for

pytestmark = pytest.mark.slow

LONG = 180.0

linux = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("prlimit") is None,
    reason="needs Linux and its prlimit and unshare",
)
root_on_linux = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0 or shutil.which("setpriv") is None,
    reason="becomes a user without processes: needs root and setpriv on Linux",
)

AS_NOBODY = (
    "setpriv",
    "--reuid=54321",
    "--clear-groups",
    *("--inh-caps=+dac_override,+dac_read_search", "--ambient-caps=+dac_override,+dac_read_search"),
)
"""A user of whom no process is there, and who may still read our files."""


@linux
@pytest.mark.parametrize("descriptors", [17, 21])
def test_a_run_with_few_descriptors_ends_and_leaves_nothing(start: Start, descriptors: int) -> None:
    session = start(USE, plugins=(), within=("prlimit", f"--nofile={descriptors}"))
    session.wait(LONG)
    session.assert_nothing_left()
    assert "defect of pytest-shimmy" not in session.output
    assert session.outcomes().get("passed") == 2 or "ulimit -n" in session.output


@root_on_linux
@pytest.mark.parametrize("processes", [4, 6, 9])
def test_a_run_with_few_processes_and_threads_ends_and_leaves_nothing(
    start: Start, tmp_path: Path, processes: int
) -> None:
    runtime = tmp_path / "theirs"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, 54321, 54321)
    within = (*AS_NOBODY, "prlimit", f"--nproc={processes}")
    session = start(USE, plugins=(), within=within, runtime=runtime)
    session.wait(LONG)
    session.assert_nothing_left()
    assert "defect of pytest-shimmy" not in session.output
    assert session.outcomes().get("passed") == 2 or "ulimit -u" in session.output


@linux
def test_a_run_whose_keeper_is_stopped_ends_and_leaves_nothing(start: Start) -> None:
    session = start(WAIT, plugins=())
    session.wait_for_notes(1)
    kill(session.keepers(), signal.SIGSTOP)
    session.go_on()
    session.wait(LONG)
    session.assert_nothing_left()
    assert "is stopped; kill -CONT" in session.output


@linux
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_stopped_keeper_whose_run_is_killed_stays_until_it_goes_on_or_is_killed(
    start: Start, end: signal.Signals
) -> None:
    session = start(WAIT, plugins=())
    session.wait_for_notes(1)
    keepers = session.keepers()
    kill(keepers, signal.SIGSTOP)
    session.pytest.kill()
    session.pytest.wait()
    # It could not have noticed: nothing but a signal reaches it.
    assert session.keepers() == keepers
    kill(keepers, end)
    session.assert_nothing_left()


def test_a_keeper_whose_janitor_was_killed_has_another(start: Start) -> None:
    session = start(WAIT, "-n2")
    session.wait_for_notes(2)
    (janitor,) = session.janitors()
    # A younger one is not replaced: what killed it at once would kill the next. Its age is not to
    # be had from the system, whose time of boot is in whole seconds.
    seen = time.monotonic()
    wait_for(lambda: time.monotonic() - seen > 2 * LIFE, lambda: janitor)
    kill([janitor])
    wait_for(
        lambda: [each for each in session.janitors() if each.pid != janitor.pid],
        lambda: session.output,
    )
    kill([*session.keepers(), *session.workers()])
    session.pytest.kill()
    session.assert_nothing_left()


@linux
def test_the_end_of_a_pid_namespace_leaves_files_for_the_next_run_to_sweep(start: Start) -> None:
    unshare = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the system does not give us a PID namespace: {error}")
    session = start(WAIT, plugins=(), within=unshare)
    session.wait_for_notes(1)
    session.pytest.kill()  # and with it the first process of the namespace, and so all of them
    wait_for(lambda: not session.processes(), session.processes)
    # A process that is being killed has no command line any more when it still has its files.
    wait_for(lambda: not session.held_locks(), session.held_locks)
    later = start(USE, plugins=(), runtime=session.runtime)
    later.assert_outcomes(passed=2)
    later.assert_nothing_left()


@linux
def test_strangers_on_every_socket_change_nothing(start: Start) -> None:
    before = our_sockets()
    session = start(WAIT, "-n2")
    session.wait_for_notes(2)
    with contextlib.ExitStack() as open_:
        names = our_sockets() - before
        assert names
        strangers(names, 100, open_)
        session.go_on()
        session.assert_outcomes(passed=4)
        session.assert_nothing_left()
    assert "\x1b[2J" not in session.output
    assert FORGED not in session.output
    assert "Traceback" not in session.output


HOSTILE = "\x1b[2J\x1b]0;title\a\x1b[?1049h\r==== 9 passed ====\n::error file=x::forged\n"
SHOWS = """
from pathlib import Path

def test_shows(shimmy_server):
    with open(f"/proc/{shimmy_server.pid}/fd/2", "w") as log:
        log.write(Path("hostile").read_text())
    assert not shimmy_server.health()
"""


@linux
@pytest.mark.parametrize("workers", [(), ("-n1",)])
def test_a_hostile_log_moves_no_cursor_and_looks_like_no_line_of_ours(
    start: Start, workers: tuple[str, ...]
) -> None:
    plugins = (XDIST,) if workers else ()
    session = start({"test_it.py": SHOWS, "hostile": HOSTILE}, *workers, plugins=plugins)
    session.assert_outcomes(failed=1)
    session.assert_nothing_left()
    assert "\x1b" not in session.output
    shown = [line for line in session.output.splitlines() if "9 passed" in line or "forged" in line]
    assert len(shown) == 2
    assert all(line.startswith("| ") for line in shown)
