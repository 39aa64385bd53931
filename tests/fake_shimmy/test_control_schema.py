"""The schema of control messages and answers, of which other languages make their types: what is
said and answered keeps to it."""

from __future__ import annotations

import json

import jsonschema
import pytest
from referencing import Registry, Resource

from fake_shimmy.script import rules
from fake_shimmy.stage import answer_shapes
from tests.support.staged_server import CHAT, Session, staged_server

SCHEMA = answer_shapes.schema()
DIALECT = jsonschema.Draft202012Validator
RESOURCES = Registry().with_resources(
    (name, Resource.from_contents(schema))
    for name, schema in (("script.schema.json", rules.schema()), ("control.schema.json", SCHEMA))
)
MESSAGES = DIALECT(SCHEMA, registry=RESOURCES)
EXCHANGE = {"request": {"method": "POST", "path": "/x"}, "answer": {"head": ["HTTP/1.1 200 OK"]}}


def answers(op: str) -> jsonschema.Draft202012Validator:
    return DIALECT({"$ref": f"control.schema.json#/$defs/{op}"}, registry=RESOURCES)


def test_the_schema_is_one():
    DIALECT.check_schema(SCHEMA)


@pytest.fixture
def own_stage(shimmy):
    """Not the one of other tests: a session that replays gets what has no key, for good."""
    shimmy.build = "default"
    with staged_server(shimmy) as found:
        yield found


def test_each_message_and_its_answer_keep_to_it(own_stage):
    stage = own_stage
    session = stage.session(seed=3)
    stage.session()  # of several sessions, others are strays
    said = [
        {"op": "open", "session": session.key, "script": {"strict": True}},
        {"op": "add", "session": session.key, "rule": {"reply": "x", "times": 1}},
        {"op": "add", "session": session.key, "rule": {"when": {"user": "x"}, "chance": 0.5}},
        {"op": "remove", "session": session.key, "id": 2},
        {"op": "configure", "session": session.key, "script": {"load_time": 0}},
        {"op": "journal", "session": session.key},
        {"op": "wait", "session": session.key, "when": {"user": "hi"}, "count": 2, "seconds": 0},
        {"op": "wait", "session": session.key, "after": 1, "finished": False},
        {"op": "totals"},
        {"op": "refuse", "seconds": 0},
        {"op": "accept"},
        {"op": "replay", "session": session.key, "rules": {"ignore": ["id"]}, "speed": 1},
        {"op": "cassette", "session": session.key, "name": "c", "exchanges": [EXCHANGE]},
        {"op": "cassette", "session": session.key, "name": "d"},
        {"op": "replayed", "session": session.key},
        {"op": "follow", "session": session.key},
        {"op": "close", "session": session.key},
    ]
    assert {message["op"] for message in said} == set(answer_shapes.ANSWERS)
    for message in said:
        if message["op"] == "journal":
            assert session.tokens(CHAT) == ["x"]
            session.ask(CHAT)  # strict: refused
            Session(stage, "nobody").ask(CHAT)
        MESSAGES.validate(message)
        answer = stage.control(**message)
        answers(f"{message['op']}.answer").validate(answer)
        if message["op"] == "journal":
            assert len(answer["records"]) == 2
            assert answer["stray"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": "no"},
        {"op": "open"},
        {"op": "open", "session": "a/b"},
        {"op": "open", "session": "é"},
        {"op": "open", "session": "", "script": {"rules": [{"x": 1}]}},
        {"op": "add", "session": ""},
        {"op": "add", "session": "", "rule": {"chance": 2}},
        {"op": "remove", "session": "", "id": True},
        {"op": "configure", "session": ""},
        {"op": "journal", "session": "", "after": -1},
        {"op": "wait", "session": "", "finished": 1},
        {"op": "wait", "session": "", "when": {"endpoint": "none"}},
        {"op": "refuse", "session": ""},
        {"op": "cassette", "session": "", "name": "x", "exchanges": {}},
    ],
    ids=json.dumps,
)
def test_what_the_schema_refuses_the_server_refuses_too(stage, message):
    assert not MESSAGES.is_valid(message)
    status, answer = stage.send(json.dumps(message))
    assert status == 400
    answers("refused").validate(json.loads(answer))
