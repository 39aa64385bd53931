"""Nothing is left of a run within the promised time, whoever of it is killed at which moment (G3).

And the next run, in the same runtime directory, finds nothing in its way.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.chaos.conftest import is_long
from tests.support.kills import ENDS_AT_ONCE, MOMENTS, USE, VICTIMS, WAIT, WORKERS, Start
from tests.support.pytest_runs import PROMISED, Session, kill, wait_for

pytestmark = pytest.mark.slow

OFTEN = {"controller", "keeper", "server", "everything", "Ctrl-C"}
"""Killed at every moment in the ordinary run; the others while it is idle."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        cases = [
            (victim, moment)
            for victim in VICTIMS
            for moment in MOMENTS
            if moment == "idle" or victim in OFTEN or is_long(metafunc.config)
            # By then the workers have gone.
            if not (moment == "stopping" and victim in WORKERS)
        ]
        metafunc.parametrize(("victim", "moment"), cases, ids=[", ".join(case) for case in cases])


def assert_next_run_is_clean(start: Start, session: Session) -> None:
    later = start(USE, plugins=(), runtime=session.runtime)
    later.assert_outcomes(passed=2)
    later.the_server()
    later.assert_nothing_left()


def test_nothing_is_left_when_it_is_killed(start: Start, victim: str, moment: str) -> None:
    session = MOMENTS[moment].begin(start, "-n", "2", terminal=victim == "terminal")
    VICTIMS[victim](session)
    if victim not in ENDS_AT_ONCE:
        session.go_on()
        session.wait()
    session.assert_nothing_left()
    if moment == "idle":  # what is left does not depend on it
        assert_next_run_is_clean(start, session)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_pytest_without_workers_gets_a_signal(
    start: Start, number: signal.Signals
) -> None:
    session = start(WAIT, plugins=())
    session.wait_for_notes(1)
    session.pytest.send_signal(number)
    if number == signal.SIGINT:
        session.wait()
    session.assert_nothing_left()


def test_a_server_outlives_its_workers_and_ends_with_the_run(start: Start) -> None:
    session = start(WAIT, "-n", "2")
    ((_, victim, _, server, *_), *_) = session.wait_for_notes(2)
    os.kill(victim, signal.SIGKILL)
    session.go_on()
    session.wait()
    assert len({note.process for note in session.notes()}) == 3, "xdist has replaced the worker"
    assert session.the_server() == server
    session.assert_nothing_left()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_killed_keeper_takes_its_server_along_and_every_later_test_says_so(
    start: Start, workers: tuple[str, ...]
) -> None:
    session = start(WAIT, *workers)
    hanging = len(session.wait_for_notes(2 if workers else 1))
    kill(session.keepers())
    wait_for(lambda: not session.left(), session.left, PROMISED)
    session.go_on()
    session.assert_outcomes(passed=hanging, errors=4 - hanging)
    assert session.output.count("[CONTROL_FAILED] the keeper of server ") >= 4 - hanging
    session.assert_nothing_left()


def test_what_a_run_left_whose_every_process_was_killed_at_once_is_removed_by_the_next(
    start: Start,
) -> None:
    session = start(WAIT, "-n", "2")
    session.wait_for_notes(2)
    # Stopped first: a janitor, or the keeper that replaces it, would be quicker than we are.
    everybody = session.processes()
    kill(everybody, signal.SIGSTOP)
    kill(everybody)
    wait_for(lambda: not session.processes(), session.processes)
    # A process that is being killed has no command line any more when it still has its files.
    wait_for(lambda: not session.held_locks(), session.held_locks)
    assert session.files(), "nobody was left to remove them"
    later = start(USE, plugins=(), runtime=session.runtime)
    later.assert_outcomes(passed=2)
    later.assert_nothing_left()
