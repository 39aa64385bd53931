"""What shimmy refuses uses no answer up, unless a rule asks not what shimmy refuses."""

from __future__ import annotations

import json

import pytest

from tests.support.fake_process import Answer, dechunk
from tests.support.staged_server import CHAT, CHAT_WHOLE, Way

LARGE = b'{"input": "' + b"x" * (3 * 2**20) + b'"}'


def post(session, path: str, document, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"content_type": "application/json", **headers}
    key = f"Bearer {session.key}"
    return session.stage.running.request("POST", path, body, authorization=key, **headers)


def chat(session, **members) -> Answer:
    messages = [{"role": "user", "content": "hi"}]
    asked = {"model": "some", "messages": messages, "stream": False, **members}
    return post(session, "/v1/chat/completions", asked)


def header(answer: Answer, name: str) -> str | None:
    lines = answer.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in lines]
    found = [value for known, value in pairs if known.lower() == name]
    assert len(found) < 2
    return found[0] if found else None


def content(answer: Answer):
    return json.loads(answer.body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("members", "status", "reason"),
    [
        ({"model": "other"}, 404, "Model 'other' not found. Available models: [\"some\"]"),
        ({"messages": []}, 400, "messages must not be empty"),
        ({"messages": [{"role": "user", "content": None}]}, 422, "data did not match any variant"),
        ({"max_tokens": 0}, 400, "max_tokens must be between 1 and 131072"),
    ],
)
def test_a_refused_request_uses_no_answer_up(session, members, status, reason):
    session.add(name="mine", answers=[{"reply": "one"}, {"fail": 503}])
    assert chat(session, **members).status == status
    assert content(chat(session)) == "one"
    refused, answered = session.records
    assert reason in refused["refusal"]
    assert (refused["rule"], refused["refused_rule"]) == (None, "mine")
    assert (answered["refusal"], answered["refused_rule"]) == (None, None)


@pytest.mark.parametrize("endpoint", ["completions", "messages", "generate", "websocket"])
def test_every_endpoint_refuses_before_a_rule_is_asked(session, endpoint):
    session.add(reply="mine", times=1)
    way = Way(endpoint, stream=False)
    assert b"mine" not in session.ask(way, model="other")
    assert way.tokens(session.ask(way)) == ["mine"]
    assert [record["refused_rule"] is not None for record in session.records] == [True, False]


def test_a_status_is_for_what_shimmy_would_answer_too(session):
    session.add(fail={"status": 200, "body": "fine"}, times=1)
    assert chat(session, model="other").status == 404
    assert chat(session).body == b"fine"


@pytest.mark.parametrize(
    "members",
    [{"model": "other"}, {"messages": []}, {"messages": [{"role": "x", "content": None}]}],
)
def test_a_rule_may_answer_what_shimmy_refuses(session, members):
    session.add(validate=False, reply=["Hel", "lo"])
    answer = chat(session, **members)
    assert (answer.status, content(answer)) == (200, "Hello")
    assert header(answer, "x-fake-shimmy") == "no shimmy answers like this"
    assert json.loads(answer.body)["model"] == members.get("model", "some")
    (record,) = session.records
    assert (record["beyond"], record["refusal"], record["tokens"]) == (True, None, 2)


def test_such_a_rule_answers_what_shimmy_does_not_refuse_as_shimmy_does(session):
    session.add(validate=False, reply="Hello")
    answer = chat(session)
    assert content(answer) == "Hello"
    assert header(answer, "x-fake-shimmy") is None
    assert session.records[0]["beyond"] is False


def test_where_nothing_matches_the_nearest_rule_is_told_without_strict(session):
    session.add(name="mine", when={"user": "France"}, reply="Paris")
    assert chat(session).status == 200
    (record,) = session.records
    assert record["unmatched"] is True
    assert record["nearest"] == "mine: user should contain 'France', and it is 'hi'"


def test_without_rules_nothing_is_unmatched(session):
    assert chat(session).status == 200
    assert session.records[0]["unmatched"] is False


# Routes that shimmy lacks


def test_a_rule_that_names_a_path_sees_the_body_there(session):
    session.add(when={"path": "/v1/other", "json": {"stream": True}}, fail=503)
    session.add(when={"path": "/v1/other"}, fail={"status": 200, "body": {"ok": True}})
    assert post(session, "/v1/other", {"stream": True}).status == 503
    assert post(session, "/v1/other", {"stream": False}).body == b'{"ok": true}'
    assert [json.loads(record["body"]) for record in session.records] == [
        {"stream": True},
        {"stream": False},
    ]


def test_a_long_body_is_read_before_the_answer(session):
    session.add(when={"path": "/v1/other"}, fail={"status": 200, "body": "fine"})
    for _ in range(5):
        assert post(session, "/v1/other", LARGE).body == b"fine"
    assert len(session.records[-1]["body"]) == len(LARGE)


def test_a_route_that_no_rule_names_is_answered_by_its_head(session):
    session.add(when={"path": "/v1/other"}, fail=503)
    assert post(session, "/v1/more", {"a": 1}).status == 404
    assert session.records[0]["body"] == ""


def test_a_rule_may_lift_the_limit_of_a_body(session):
    members = {"messages": [{"role": "user", "content": "x" * (3 * 2**20)}]}
    session.add(reply="never", times=1)
    assert chat(session, **members).status == 413
    session.add(reply="read", validate=False)
    assert content(chat(session, **members)) == "read"


# What answers expect


def test_an_answer_is_for_the_request_that_it_expects(session):
    session.add(
        name="talk",
        answers=[{"reply": "one"}, {"reply": "two", "expect": {"user": "second"}}],
    )
    messages = [{"role": "user", "content": "the second"}]
    assert content(chat(session)) == "one"
    wrong = chat(session)
    assert wrong.status == 400
    assert "talk, answer 2: user should contain 'second'" in wrong.body.decode()
    assert content(chat(session, messages=messages)) == "two"
    assert [record["unexpected"] for record in session.records] == [False, True, False]


# Headers


@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE], ids=str)
def test_headers_of_a_rule_replace_those_of_the_answer(session, way):
    headers = {"Date": "Thu, 01 Jan 1970 00:00:00 GMT", "X-Request-Id": "7"}
    session.add(reply="a", headers=headers)
    answer = Answer(session.ask(way))
    assert header(answer, "date") == headers["Date"]
    assert header(answer, "x-request-id") == "7"
    assert way.tokens(answer.raw) == ["a"]


def test_a_failure_may_be_any_bytes_and_comes_when_the_first_token_would(session):
    session.add(fail={"status": 200, "base64": "/wA="}, latency={"first_token": 0.2})
    assert chat(session).body == b"\xff\0"
    assert session.records[0]["duration"] >= 0.2


@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE], ids=str)
def test_an_answer_that_says_so_closes_the_connection(session, way):
    session.add(reply="a", headers={"Connection": "close"})
    raw, how = session.take(way, last=False)
    assert (way.tokens(raw), how) == (["a"], "FIN")
    assert session.wait()[0]["ended"] == "complete"


# Faults that cannot happen


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "reset", "at": {"tokens": 50}},
        {"do": "close", "at": {"tokens": 0, "inside": "character"}},
        {"do": "garble", "how": "invalid_utf8", "at": {"tokens": 50}},
    ],
)
def test_a_fault_that_does_not_happen_is_told(session, fault):
    session.add(reply=["a", "b"], faults=[fault])
    assert session.tokens(CHAT) == ["a", "b"]
    (record,) = session.records
    assert len(record["unfired"]) == 1
    assert record["unfired"][0].startswith(fault["do"])
    assert record["faults"] == []


def test_what_comes_after_the_end_of_an_answer_is_told_too(session):
    faults = [{"do": "reset", "at": {"tokens": 1}}, {"do": "stall", "at": {"tokens": 2}}]
    session.add(reply=["a", "b", "c"], faults=faults)
    session.ask(CHAT)
    assert session.records[0]["unfired"] == ["stall 0 s after 2 tokens"]


# After the end


@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE], ids=str)
def test_an_idle_connection_is_closed_after_the_whole_answer(session, way):
    stall = {"do": "stall", "seconds": 0.1, "at": "after"}
    session.add(reply="a", faults=[stall, {"do": "close", "at": "after"}])
    raw, how = session.take(way, last=False)
    assert (way.tokens(raw), how) == (["a"], "FIN")
    (record,) = session.wait()
    assert (record["ended"], record["tokens"]) == ("complete", 1)


def test_a_stream_may_stay_open_after_its_end_marker(session):
    session.add(reply="a", faults=[{"do": "hang", "at": "done"}])
    with session.begun(CHAT) as sock:
        received = b""
        while b"[DONE]" not in received:
            received += sock.recv(65536)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert not received.endswith(b"0\r\n\r\n")
    assert dechunk(received.partition(b"\r\n\r\n")[2] + b"0\r\n\r\n").endswith(b"[DONE]\n\n")
