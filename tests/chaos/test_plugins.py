"""One server per run and nothing left, beside plugins that repeat, reorder and cut short tests."""

from __future__ import annotations

import pytest

from tests.support.kills import SLOW, Start
from tests.support.pytest_runs import XDIST

pytestmark = pytest.mark.slow

WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])


RANDOM = """
import pytest
@pytest.mark.parametrize("n", range(6))
def test_any_order(shimmy_server, note, n):
    note(shimmy_server)
"""


@WORKERS
def test_in_random_order(start: Start, workers: tuple[str, ...]) -> None:
    session = start(RANDOM, "--randomly-seed=7", *workers, plugins=(XDIST, "pytest_randomly"))
    session.assert_outcomes(passed=6)
    session.the_server()
    session.assert_nothing_left()


FLAKY = """
import os, pathlib, pytest, requests, signal

def is_first(name):
    try:
        pathlib.Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def test_flaky(shimmy_server, note):
    note(shimmy_server)
    assert not is_first("flaky")

def test_crash(shimmy_server, note):
    if is_first("crash"):
        os.kill(shimmy_server.pid, signal.SIGKILL)
        while True:
            requests.get(shimmy_server.url + "/health", timeout=5)
    note(shimmy_server, "after the crash")

def test_other(shimmy_server):
    assert shimmy_server.health()
"""


@WORKERS
def test_what_fails_is_run_again_on_the_same_server_or_its_successor(
    start: Start, workers: tuple[str, ...]
) -> None:
    session = start(
        FLAKY, "--reruns=1", "--dist=loadfile", *workers, plugins=(XDIST, "pytest_rerunfailures")
    )
    session.assert_outcomes(passed=3, rerun=2)
    first, again = session.notes()
    assert first[2:5] == again[2:5]
    (after,) = session.notes("after the crash")
    assert (after.server != first.server, after.url) == (True, first.url)
    session.assert_nothing_left()


IMPATIENT = """
import pytest

@pytest.mark.timeout(0.5)
def test_impatient(shimmy_server):
    raise NotImplementedError("the server is not there yet")

@pytest.mark.timeout(0)
def test_patient(shimmy_server, note):
    note(shimmy_server)
    assert shimmy_server.health()["service"] == "shimmy"
"""


@WORKERS
def test_a_test_that_is_interrupted_while_it_waits_for_a_server_leaves_it_to_the_next(
    start: Start, workers: tuple[str, ...]
) -> None:
    session = start(
        IMPATIENT,
        "--timeout-method=signal",
        "--dist=loadfile",
        *workers,
        plugins=(XDIST, "pytest_timeout"),
        script=SLOW,
    )
    session.assert_outcomes(passed=1, errors=1)
    assert "Timeout" in session.output
    session.the_server()
    session.assert_nothing_left()


@WORKERS
def test_nothing_is_left_of_a_process_that_a_time_out_ends_while_it_waits_for_a_server(
    start: Start, workers: tuple[str, ...]
) -> None:
    session = start(
        IMPATIENT,
        "--timeout-method=thread",
        *workers,
        plugins=(XDIST, "pytest_timeout"),
        script=SLOW,
    )
    assert session.wait() == 1
    if workers:  # another one takes the rest
        session.assert_outcomes(passed=1, failed=1)
        session.the_server()
    else:
        assert "Timeout" in session.output
    session.assert_nothing_left()


IN_A_REQUEST = """
import pytest, requests

@pytest.mark.timeout(1)
def test_stuck(shimmy_server, shimmy_model, shimmy_fake, note):
    note(shimmy_server)
    shimmy_fake.hang()
    body = {"model": shimmy_model, "messages": [{"role": "user", "content": "x"}]}
    headers = {"authorization": f"Bearer {shimmy_server.api_key}"}
    requests.post(shimmy_server.base_url + "/chat/completions", json=body, headers=headers)

def test_next(shimmy_server, note):
    note(shimmy_server)
    assert shimmy_server.health()["service"] == "shimmy"
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_time_out_in_a_request_costs_the_server_nothing(start: Start, method: str) -> None:
    session = start(
        IN_A_REQUEST,
        f"--timeout-method={method}",
        *("-n", "1"),
        plugins=(XDIST, "pytest_timeout"),
    )
    session.assert_outcomes(passed=1, failed=1)
    session.the_server()
    session.assert_nothing_left()
