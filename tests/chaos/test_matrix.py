"""One server per run (G1), in every way that pytest and its plugins spread tests over processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kills import Start
from tests.support.pytest_runs import PROMISED, XDIST, Session, environment, wait_for

pytestmark = pytest.mark.slow

TOGETHER = """
import pytest
@pytest.mark.parametrize("n", range({count}))
def test_together(shimmy_server, note, hang, n):
    note(shimmy_server)
    assert shimmy_server.health()["service"] == "shimmy"
    hang()
"""
"""So many tests, each of which waits for all others to have the server."""

SPREAD = {
    "test_one.py": """
import pytest

class TestClass:
    @pytest.mark.parametrize("n", range(3))
    def test_class(self, shimmy_server, note, n):
        note(shimmy_server)

@pytest.mark.xdist_group("group")
@pytest.mark.parametrize("n", range(3))
def test_group(shimmy_server, note, n):
    note(shimmy_server)
""",
    "test_two.py": """
import pytest

@pytest.mark.xdist_group("group")
def test_group(shimmy_server, note):
    note(shimmy_server)

@pytest.mark.parametrize("n", range(3))
def test_alone(shimmy_server, note, n):
    note(shimmy_server)
""",
}

FAILING = """
import pytest
@pytest.mark.parametrize("n", range(6))
def test_some(shimmy_server, note, n):
    note(shimmy_server)
    assert n != 1
"""


def spread_over(session: Session, count: int) -> None:
    """Its `count` tests, each in a process of its own, all have the same server at once."""
    notes = session.wait_for_notes(count)
    assert len({note.process for note in notes}) == count
    server = session.the_server()
    assert [process.pid for process in session.servers()] == [server]
    assert len(session.keepers()) == 1
    session.go_on()
    session.assert_outcomes(passed=count)
    session.assert_nothing_left()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_all_workers_share_one_server(start: Start, count: int) -> None:
    spread_over(start(TOGETHER.format(count=count), "-n", str(count)), count)


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_however_tests_are_given_to_workers(start: Start, dist: str) -> None:
    session = start(SPREAD, "-n", "2", "--dist", dist)
    session.assert_outcomes(passed=10)
    session.the_server()
    session.assert_nothing_left()


def test_each_worker_that_runs_all_tests(start: Start) -> None:
    session = start(SPREAD, "--tx", "2*popen", "--dist", "each")
    session.assert_outcomes(passed=20)
    session.the_server()
    assert len({note.process for note in session.notes()}) == 2
    session.assert_nothing_left()


def test_as_many_workers_as_the_environment_says(start: Start) -> None:
    session = start(
        TOGETHER.format(count=3), "-n", "auto", env={"PYTEST_XDIST_AUTO_NUM_WORKERS": "3"}
    )
    spread_over(session, 3)


def test_with_scope_worker_each_worker_has_a_server_of_its_own(start: Start) -> None:
    session = start(TOGETHER.format(count=3), "-n", "3", "--shimmy-scope=worker")
    notes = session.wait_for_notes(3)
    assert len({note.server for note in notes}) == len({note.url for note in notes}) == 3
    session.go_on()
    session.assert_outcomes(passed=3)
    session.assert_nothing_left()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
@pytest.mark.parametrize("stop", ["-x", "--maxfail=1"])
def test_a_run_that_stops_at_a_failure(start: Start, workers: tuple[str, ...], stop: str) -> None:
    session = start(FAILING, stop, *workers)
    assert session.wait() != 0
    assert session.outcomes()["failed"] == 1, session.output
    session.the_server()
    session.assert_nothing_left()


def test_what_failed_last_time_is_run_again_with_a_server_of_its_own(start: Start) -> None:
    session = start(FAILING, "-n", "2")
    session.assert_outcomes(passed=5, failed=1)
    first = session.the_server()
    again = Session(
        session.directory.with_name("again"),
        "",
        "--lf",
        f"--rootdir={session.directory}",
        str(session.directory / "test_it.py"),
        f"-c{session.directory / 'pytest.ini'}",
        "-n2",
        runtime=session.runtime,
    )
    try:
        again.assert_outcomes(failed=1)
        assert again.the_server() != first
        again.assert_nothing_left()
    finally:
        again.clean_up()


def test_a_run_without_workers(start: Start) -> None:
    session = start(SPREAD, "-p", "no:xdist", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    session.assert_outcomes(passed=10)
    session.the_server()
    session.assert_nothing_left()


def test_a_run_where_xdist_is_not_installed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "xdist.py").write_text("raise ModuleNotFoundError('No module named xdist')\n")
    suite = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + TOGETHER.format(count=1)
    session = start(suite, plugins=())
    spread_over(session, 1)


def test_all_installed_plugins_together(start: Start) -> None:
    session = start(SPREAD, "-n", "2", plugins=None)
    session.assert_outcomes(passed=10)
    session.the_server()
    session.assert_nothing_left()


# Gateways


def test_workers_that_are_named_as_gateways(start: Start) -> None:
    spread_over(start(TOGETHER.format(count=2), "--dist=load", "--tx", "2*popen"), 2)


def test_a_worker_behind_a_socket_shares_the_server_of_its_host(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    # With the variables of the run that is going to use it, as everything on this host has.
    gateways = subprocess.Popen(
        [sys.executable, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(here, here / "runtime"),
    )
    session = None
    try:
        assert gateways.stdout is not None
        said = gateways.stdout.readline()  # "… Entering Accept loop ('127.0.0.1', PORT)"
        port = said.rpartition(",")[2].strip(" )\n")
        remote = f"socket=127.0.0.1:{port}//chdir={there}"
        spread = ("--dist=load", "--tx", "popen", "--tx", remote, f"--rsyncdir={here}", str(here))
        session = Session(here, TOGETHER.format(count=2), *spread)
        notes = session.wait_for_notes(2)
        assert {note.process for note in notes} >= {gateways.pid}
        assert len({note.process for note in notes}) == 2
        server = session.the_server()
        assert [process.pid for process in session.servers()] == [server]
        session.go_on()
        session.assert_outcomes(passed=2)
        wait_for(lambda: not session.left(), session.left, PROMISED)
    finally:
        gateways.kill()
        gateways.communicate()
        if session is not None:
            session.clean_up()


# Without workers, in more than one process


FORKED = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_forked(shimmy_server, note, n):
    note(shimmy_server)
    assert shimmy_server.health()["service"] == "shimmy"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_tests_that_are_forked_share_one_server(start: Start, workers: tuple[str, ...]) -> None:
    session = start(FORKED, *workers, plugins=(XDIST, "forked"))
    session.assert_outcomes(passed=4)
    assert len({note.process for note in session.notes()}) == 4
    session.the_server()
    session.assert_nothing_left()


OUTLIVES = """
import os, time, multiprocessing, pathlib, pytest

def wait_for(child):
    while f'"step": "child", "process": {child},' not in pathlib.Path("notes").read_text():
        time.sleep(0.01)

def child(server, pid, hang, note):
    os.closerange(0, 64)  # or xdist would wait for the end of its worker's pipes
    assert server.pid == pid and server.health()["service"] == "shimmy"
    note(server, "child")
    hang()

def test_fork(shimmy_server, note, hang):
    note(shimmy_server)
    pid = shimmy_server.pid
    forked = os.fork()
    if forked == 0:
        try:
            child(shimmy_server, pid, hang, note)
        finally:
            os._exit(0)
    wait_for(forked)

def test_multiprocessing(shimmy_server, note, hang):
    note(shimmy_server)
    arguments = (shimmy_server, shimmy_server.pid, hang, note)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=child, args=arguments)
    process.start()
    multiprocessing.process._children.discard(process)  # or the end of Python would wait for it
    wait_for(process.pid)

def test_later(shimmy_server, note):
    note(shimmy_server)
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_forked_child_uses_the_server_and_does_not_hold_it_when_it_outlives_the_run(
    start: Start, workers: tuple[str, ...]
) -> None:
    session = start(OUTLIVES, *workers, "-W", "ignore::DeprecationWarning")
    session.wait_for_notes(2, "child")
    session.assert_outcomes(passed=3)
    server = session.the_server()
    assert {note.server for note in session.notes("child")} == {server}
    wait_for(lambda: not session.left(), session.left, PROMISED)
    children = {note.process for note in session.notes("child")}
    assert children <= {process.pid for process in session.processes()}
    session.assert_nothing_left()


INSIDE = """
pytest_plugins = ["pytester"]

def test_outer(shimmy_server, note, pytester):
    note(shimmy_server)
    pytester.makepyfile('''
        def test_inner(shimmy_server, note):
            note(shimmy_server, "inner")
    ''')
    plugins = ("-p", "pytest_shimmy.plugin", "-p", "notes")
    pytester.{run}(*plugins).assert_outcomes(passed=1)
    assert shimmy_server.health()["service"] == "shimmy"
    note(shimmy_server)
"""


@pytest.mark.parametrize("run", ["runpytest_inprocess", "runpytest_subprocess"])
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_pytest_inside_a_test_has_a_server_of_its_own(
    start: Start, run: str, workers: tuple[str, ...]
) -> None:
    session = start(INSIDE.format(run=run), *workers)
    session.assert_outcomes(passed=1)
    server = session.the_server()
    (inner,) = session.notes("inner")
    assert inner.server != server
    session.assert_nothing_left()
