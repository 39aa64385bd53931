"""Messages in a file: obeyed before whatever is asked next, and never twice."""

from __future__ import annotations

import json

import pytest

from fake_shimmy.stage.sessions import MAX_FILES
from tests.support.staged_server import CHAT, WAYS, staged_server


class Told:
    """A session and its file."""

    def __init__(self, session, path):
        self.session = session
        self.path = path
        self.path.touch()
        self.answer = session.control("follow", file=str(path))

    def write(self, *messages):
        with self.path.open("a") as file:
            file.writelines(json.dumps(message) + "\n" for message in messages)

    def refusal(self):
        status, body = self.session.stage.send(
            json.dumps({"op": "journal", "session": self.session.key})
        )
        return json.loads(body)["error"] if status == 400 else None


@pytest.fixture
def told(session, tmp_path):
    yield Told(session, tmp_path / "messages")
    session.control("follow")


def adding(reply):
    return {"op": "add", "rule": {"reply": reply}}


OPEN = {"op": "open", "script": {}}
CLOSE = {"op": "close"}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_written_holds_for_the_next_request(told, way):
    told.write(OPEN, adding("one"))
    assert told.session.tokens(way) == ["one"]
    told.write(OPEN, adding("other"))
    assert told.session.tokens(way) == ["other"]
    assert len(told.session.records) == 1


def test_it_holds_where_the_path_says_the_session(told):
    told.write(adding("one"))
    raw = told.session.stage.running.send(CHAT.raw(prefix=f"/~{told.session.key}"))
    assert CHAT.tokens(raw) == ["one"]


def test_rules_are_added_to_those_that_are_there_and_numbered_in_their_order(told):
    told.session.open(rules=[{"reply": "first", "times": 1}])
    told.write(adding("second"))
    assert told.session.tokens() == ["first"]
    assert told.session.tokens() == ["second"]
    assert [record["rule"] for record in told.session.records] == [1, 2]


def test_a_message_over_the_control_route_comes_after_what_was_written_before(told):
    told.write(OPEN, adding("written"))
    told.session.open(rules=[{"reply": "said"}])
    assert told.session.tokens() == ["said"]
    told.write(CLOSE)
    told.session.open()
    assert told.session.add(reply="again") == 1
    assert told.session.tokens() == ["again"]


def test_a_closed_session_is_unknown_and_its_rules_are_gone(told):
    told.write(OPEN, adding("one"), CLOSE)
    assert told.session.tokens() != ["one"]
    assert "no such session" in told.refusal()
    told.write(OPEN)
    assert told.session.records == []


def test_a_line_is_obeyed_when_it_is_whole(told):
    line = json.dumps(adding("one"))
    with told.path.open("a", buffering=1) as file:
        file.write(line[:20])
        file.flush()
        assert told.session.tokens() != ["one"]
        file.write(line[20:] + "\n")
        file.flush()
        assert told.session.tokens() == ["one"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"op": "add", "rule": {"replay": "x"}}', "replay"),
        ('{"op": "totals"}', "op is one of: open, add, close"),
        ('{"op": "add"}', "rule is missing"),
        ("[]", "list"),
        ("{", "Expecting"),
    ],
)
def test_a_line_that_is_refused_is_told_to_who_asks_next(told, line, reason):
    with told.path.open("a") as file:
        file.write(line + "\n")
    assert reason in told.refusal()
    assert told.session.stage.running.request("GET", "/health").status == 200


def test_a_file_that_cannot_be_read_is_refused(session, tmp_path):
    message = {"op": "follow", "session": session.key, "file": str(tmp_path / "nowhere")}
    status, body = session.stage.send(json.dumps(message))
    assert (status, b"cannot be opened" in body) == (400, True)


@pytest.mark.slow
def test_so_many_files_and_no_more_are_followed_at_once(shimmy, tmp_path):
    path = tmp_path / "messages"
    path.touch()
    with staged_server(shimmy) as stage:
        for number in range(MAX_FILES):
            stage.control(op="follow", session=f"{number}", file=str(path))
        message = {"op": "follow", "session": "another", "file": str(path)}
        status, body = stage.send(json.dumps(message))
        assert (status, b"128 sessions" in body) == (400, True)
        stage.control(op="follow", session="0", file=str(path))
        stage.control(op="follow", session="0")
        stage.control(**message)


def test_what_is_written_to_a_file_that_is_followed_no_more_has_no_effect(told, tmp_path):
    before, told.path = told.path, tmp_path / "next"
    told.path.touch()
    told.session.control("follow", file=str(told.path))
    with before.open("a") as file:
        file.write(json.dumps(adding("old")) + "\n")
    told.write(adding("new"))
    assert told.session.tokens() == ["new"]


def test_requests_of_no_session_count_from_when_one_was_opened(shimmy, tmp_path):
    with staged_server(shimmy) as stage:
        told = Told(stage.session(), tmp_path / "messages")
        stage.running.request("GET", "/before", authorization="Bearer unknown")
        told.write(CLOSE, OPEN)
        stage.running.request("GET", "/after", authorization="Bearer unknown")
        state = told.session.control("journal")
    assert (state["stray_before"], state["stray_count"]) == (1, 2)


def test_it_is_told_what_the_servers_own_script_brings(make_shimmy, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"seed": 7, "rules": [{"reply": "a"}, {"reply": "b"}]}))
    with staged_server(make_shimmy(), FAKE_SHIMMY_SCRIPT=str(script)) as stage:
        answer = Told(stage.session(), tmp_path / "messages").answer
    assert (answer["seed"], answer["rules"]) == (7, 2)
