"""`shimmy_server` used late, in narrow scopes, in many shapes and places: one server all the same.

What a crash looks like from within: the tests after it, and whoever was asking when it came.
"""

from __future__ import annotations

import pytest

from tests.support.kills import Start

pytestmark = pytest.mark.slow

WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])

LATE = """
import pathlib, pytest, time

@pytest.mark.parametrize("n", range(3))
def test_without(n):
    pass

def test_last(note, request):
    # All tests have been given to the workers, so xdist ends the other one after its two.
    deadline = time.monotonic() + 30
    notes = pathlib.Path("notes")
    while not (notes.exists() and "worker gone" in notes.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server = request.getfixturevalue("shimmy_server")
    note(server)
    assert server.health()["service"] == "shimmy"
"""


UNUSED = """
import pytest

@pytest.fixture(scope="session")
def shimmy_server():
    return None

def test_own(shimmy_server):
    pass
"""


def test_a_keeper_that_turns_out_not_to_be_needed_ends_with_the_run(start: Start) -> None:
    session = start(UNUSED)
    session.assert_outcomes(passed=1)
    session.assert_nothing_left()


def test_a_server_that_is_first_used_in_the_last_test_when_the_other_workers_are_gone(
    start: Start,
) -> None:
    session = start(LATE, "-n", "2")
    session.assert_outcomes(passed=4)
    session.the_server()
    session.assert_nothing_left()


SCOPES = """
import pytest

@pytest.fixture(scope="module")
def of_module(shimmy_server):
    return shimmy_server

@pytest.fixture(params=["a", "b"])
def parametrised(request, shimmy_server):
    return request.param, shimmy_server

def documented():
    '''
    >>> getfixture("note")(getfixture("shimmy_server"))
    '''

class TestClass:
    @pytest.fixture(scope="class")
    def of_class(self, shimmy_server):
        return shimmy_server

    def test_class(self, of_class, note):
        note(of_class)

    def test_again(self, of_class, note):
        note(of_class)

def test_module(of_module, note):
    note(of_module)

def test_parametrised(parametrised, note):
    note(parametrised[1])

def test_dynamic(request, note):
    note(request.getfixturevalue("shimmy_server"))

@pytest.mark.parametrize("directory", ["one", "two", "three"])
def test_elsewhere(request, monkeypatch, tmp_path, directory, note):
    monkeypatch.chdir(tmp_path)
    note(request.getfixturevalue("shimmy_server"))
"""


@WORKERS
def test_in_every_scope_and_place_it_is_one_server(start: Start, workers: tuple[str, ...]) -> None:
    session = start(SCOPES, "--doctest-modules", *workers)
    session.assert_outcomes(passed=10)
    assert len(session.notes()) == 10
    session.the_server()
    session.assert_nothing_left()


TEN = """
from concurrent.futures import ThreadPoolExecutor

def test_ten(make_shimmy_server, note):
    with ThreadPoolExecutor(10) as pool:
        servers = list(pool.map(lambda _: make_shimmy_server(), range(10)))
    for server in servers:
        note(server)
        assert server.health()["service"] == "shimmy"

def test_none_is_left(make_shimmy_server, note):
    note(make_shimmy_server())
"""


def test_ten_private_servers_at_once(start: Start) -> None:
    session = start(TEN)
    session.assert_outcomes(passed=2)
    notes = session.notes()
    assert len({note.server for note in notes}) == len(notes) == 11
    ten = [note for note in notes if note.test == "test_ten"]
    assert len({note.url for note in ten}) == 10
    session.assert_nothing_left()


DIES = """
import os, pytest, requests, signal, time

def test_in_flight(shimmy_server, shimmy_model, note):
    note(shimmy_server)
    body = {"model": shimmy_model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    url = shimmy_server.base_url + "/chat/completions"
    with requests.post(url, json=body, stream=True, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines)
        os.kill(shimmy_server.pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            list(lines)
        assert time.monotonic() - begun < 10
    assert not "for the report"

def test_back(shimmy_server, note):
    note(shimmy_server)
    assert shimmy_server.restarts == 1
    os.kill(shimmy_server.pid, signal.SIGKILL)
    with pytest.raises(requests.ConnectionError):
        while True:
            requests.get(shimmy_server.url + "/health", timeout=5)

@pytest.mark.parametrize("n", range(5))
def test_exhausted(shimmy_server, n):
    pass
"""


def test_a_client_in_flight_sees_an_error_and_every_test_after_the_limit_does_at_once(
    start: Start,
) -> None:
    stalled = {"rules": [{"reply": ["a", "b"], "faults": [{"do": "hang", "at": {"tokens": 1}}]}]}
    session = start(DIES, "--shimmy-max-restarts=1", "--durations=0", script=stalled)
    session.assert_outcomes(passed=1, failed=1, errors=5)
    first, second = session.notes()
    assert (first.url, first.server != second.server) == (second.url, True)
    output = session.output
    assert f"the server (pid {first.server}) died during this test: killed by SIGKILL" in output
    for number in range(5):
        section = output.partition(f"ERROR at setup of test_exhausted[{number}]")[2]
        message = section.partition("ERROR at setup")[0].partition("= FAILURES =")[0]
        assert message.count("[RESTARTS_EXHAUSTED] the server died") == 1
        assert "died during this test" not in message
    session.assert_nothing_left()
