"""Many runs at once on one machine, each with its own server: no collision, no confusion.

That leases of many processes are distinct is in ``test_ports``.
"""

from __future__ import annotations

import pytest

from tests.support.kills import Start
from tests.support.pytest_runs import PROMISED, wait_for

pytestmark = pytest.mark.slow

IN_A_CROWD = """
def test_own(shimmy_server, shimmy_fake, shimmy_model, note, hang, request):
    import requests

    mine = {mine!r}
    shimmy_fake.reply(f"answer to {{mine}}")
    note(shimmy_server, log=str(shimmy_server.log_path))
    hang()  # until everybody is there
    messages = [{{"role": "user", "content": mine}}]
    body = {{"model": shimmy_model, "messages": messages, "stream": False}}
    headers = {{"authorization": f"Bearer {{shimmy_server.api_key}}"}}
    url = shimmy_server.base_url + "/chat/completions"
    answer = requests.post(url, json=body, headers=headers, timeout=60).json()
    assert answer["choices"][0]["message"]["content"] == f"answer to {{mine}}"
    (asked,) = shimmy_fake.requests
    assert asked.json["messages"] == messages
    assert shimmy_server.logs.count("Starting server on") == 1
"""


def test_many_runs_at_once_have_a_server_each(start: Start, runs: int) -> None:
    first = start(IN_A_CROWD.format(mine="run 0"), plugins=())
    sessions = [first]
    for number in range(1, runs):
        suite = IN_A_CROWD.format(mine=f"run {number}")
        # One after the other in quick succession: they share the leases and locks of one user.
        sessions.append(start(suite, plugins=(), runtime=first.runtime))
    notes = [session.wait_for_notes(1)[0] for session in sessions]
    assert len({note.server for note in notes}) == runs
    assert len({note.url for note in notes}) == runs
    assert len({note.log for note in notes}) == runs
    assert {process.pid for process in first.servers()} == {note.server for note in notes}
    for session in sessions:
        session.go_on()
    for session in sessions:
        session.assert_outcomes(passed=1)
    wait_for(lambda: not first.left(), first.left, PROMISED)
