"""Sessions: whoever has a key of his own scripts and reads only his own traffic."""

from __future__ import annotations

import json

import pytest

from pytest_shimmy.executable.dialect import HARNESS_KEY
from tests.support.fake_process import Answer
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    OVER_HTTP,
    WAYS,
    Session,
    staged_server,
)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_two_sessions_do_not_see_each_other(stage, way):
    one, other = stage.session(), stage.session()
    one.add(reply="one", times=1)
    other.add(reply="other")
    assert one.tokens(way) == ["one"]
    assert other.tokens(way) == ["other"]
    assert one.tokens(way) != ["other"]
    assert (len(one.records), len(other.records)) == (2, 1)
    assert {record["rule_name"] for record in other.records} == {"rule 1"}


def test_an_api_key_header_of_the_other_family_says_the_session_too(session):
    session.add(reply="mine")
    raw = CHAT_WHOLE.raw().replace(b"x-no-key: 1", b"X-Api-Key: " + session.key.encode())
    assert CHAT_WHOLE.tokens(session.stage.running.send(raw)) == ["mine"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_path_can_say_the_session(session, way):
    session.add(reply="mine")
    raw = session.stage.running.send(way.raw(prefix=f"/~{session.key}"))
    assert way.tokens(raw) == ["mine"]
    assert session.records[0]["path"] == way.raw().split(b" ")[1].decode()


@pytest.mark.parametrize(
    "path", ["/health", "/metrics", "/diag", "/v1/models", "/api/tags", "/api/models", "/nowhere"]
)
def test_every_route_can_be_reached_by_the_path_of_a_session(session, path):
    running = session.stage.running
    plain, routed = (running.request("GET", at) for at in (path, f"/~{session.key}{path}"))
    assert (routed.status, len(routed.head)) == (plain.status, len(plain.head))
    assert [record["path"] for record in session.records] == [path]


@pytest.mark.parametrize("path", ["/~nobody/health", "/~/health", "/~", "/~nobody", "/~key-0"])
def test_the_path_of_no_session_is_not_found(stage, path):
    assert stage.running.request("GET", path).status == 404


def test_requests_without_a_session_are_told_as_strays(shimmy):
    with staged_server(shimmy) as stage:
        send = stage.running.request
        send("GET", "/v1/models")
        assert stage.control(op="journal", session="")["stray_count"] == 0
        session = stage.session()
        session.ask(CHAT)
        send("GET", "/health")
        for number in range(30):
            send("GET", f"/{number}", authorization="Bearer unknown")
        state = session.control("journal")
    assert state["stray_count"] == 30
    assert state["stray"] == [
        {"method": "GET", "path": f"/{number}", "key": "unknown"} for number in range(10, 30)
    ]


def test_requests_are_counted_over_all_sessions_for_good(shimmy):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        send = stage.running.request
        assert stage.control(op="totals") == {"requests": 0}
        send("GET", "/nowhere")
        one, other = stage.session(), stage.session()
        for way in WAYS:
            one.ask(way)
        one.open()
        other.ask(CHAT, prefix=f"/~{other.key}")
        other.control("close")
        send("GET", "/health", authorization=f"Bearer {one.key}")
        send("GET", "/v1/models", authorization="Bearer unknown")
        assert stage.control(op="totals") == {"requests": 1 + len(WAYS) + 3}


def test_the_harness_and_its_health_checks_are_not_counted(shimmy):
    with staged_server(shimmy) as stage:
        send = stage.running.request
        stage.session()
        send("GET", "/health")
        send("GET", "/v1/models", authorization=f"Bearer {HARNESS_KEY}")
        send("GET", "/health", authorization=f"Bearer {HARNESS_KEY}")
        assert stage.control(op="totals") == {"requests": 0}


def test_a_session_that_is_opened_again_is_fresh(session):
    session.add(reply="x", times=1)
    session.ask(CHAT)
    session.open(rules=[{"reply": "y"}])
    state = session.control("journal")
    assert (state["records"], state["dropped"]) == ([], 0)
    assert state["rules"] == [{"id": 1, "name": "rule 1", "used": 0, "left": None, "slow": None}]


def test_a_closed_session_is_unknown(session):
    session.control("close")
    status, body = session.stage.send(json.dumps({"op": "journal", "session": session.key}))
    assert (status, b"no such session" in body) == (400, True)


def test_the_anonymous_session_can_be_scripted_and_begins_anew_when_closed(shimmy):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        session = Session(stage, "")
        session.add(reply="all")
        assert session.tokens(CHAT) == ["all"]
        raw = stage.running.send(CHAT.raw("any-key"))
        assert CHAT.tokens(raw) == ["all"]
        assert len(session.records) == 2
        session.control("close")
        assert session.records == []
        assert session.tokens(CHAT) != ["all"]


def test_each_session_has_its_own_counters_of_the_base_script(shimmy):
    shimmy.build = "default"
    script = shimmy.cwd / "script.json"
    rules = [{"name": "base", "reply": "base", "times": 1}]
    script.write_text(json.dumps({"rules": rules, "latency": {"first_token": 0.001}}))
    with staged_server(shimmy, FAKE_SHIMMY_SCRIPT=str(script)) as stage:
        one, other = stage.session(rules=[{"reply": "own", "times": 1}]), stage.session()
        assert [one.tokens(CHAT)[0] for _ in range(3)] == ["own", "base", "Reply"]
        assert other.tokens(CHAT) == ["base"]
        assert Session(stage, "").tokens(CHAT) == ["base"]
        assert other.records[0]["schedule"] == [0.001]
        assert other.records[0]["rule_name"] == "base"


@pytest.mark.slow
def test_the_session_that_was_reset_longest_ago_goes_first(shimmy):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        oldest, busy = stage.session(), stage.session()
        for _ in range(1021):
            stage.session()
        busy.open(rules=[{"reply": "here"}])
        stage.session()
        stage.session()
        assert busy.tokens(CHAT) == ["here"]
        status, _ = stage.send(json.dumps({"op": "journal", "session": oldest.key}))
        assert status == 400


@pytest.mark.parametrize("way", OVER_HTTP, ids=str)
def test_a_session_under_way_keeps_its_script_when_it_is_opened_again(session, way):
    session.add(reply=["a", "b"], latency={"first_token": 0.1})
    with session.begun(way) as sock:
        session.wait(finished=False)
        session.open(rules=[{"fail": 503}])
        raw = b""
        while data := sock.recv(65536):
            raw += data
    assert "".join(way.tokens(raw)) == "ab"
    assert session.records == []
    assert Answer(session.ask(way)).status == 503
