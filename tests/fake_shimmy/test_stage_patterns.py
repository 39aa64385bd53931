"""A slow regular expression costs its own test, and nobody else much."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.fake_process import Shimmy
from tests.support.scripted_life import give_model
from tests.support.staged_server import CHAT_WHOLE

pytestmark = pytest.mark.slow

SLOW = "(a+)+$"
EVIL = "a" * 41 + "!"


@pytest.mark.parametrize("text", [EVIL, EVIL + " " * 70_000], ids=["short", "long"])
def test_a_slow_search_is_given_up_and_its_rule_named(session, text):
    session.add(name="evil", when={"user": {"matches": SLOW}}, reply="never")
    session.add(reply="next")
    began = time.monotonic()
    assert session.tokens(CHAT_WHOLE, text) == ["next"]
    assert time.monotonic() - began < 10
    evil, other = session.control("journal")["rules"]
    assert (evil["slow"], other["slow"]) == (SLOW, None)


def test_it_is_asked_no_more(session):
    session.add(when={"user": {"matches": SLOW}}, reply="never")
    session.add(reply="next")
    session.ask(CHAT_WHOLE, EVIL)
    assert session.tokens(CHAT_WHOLE, "aaa") == ["next"]


def test_others_are_answered_meanwhile(stage):
    evil, other = stage.session(), stage.session(rules=[{"reply": "mine"}])
    for _ in range(20):
        evil.add(when={"user": {"matches": SLOW}}, reply="never")
    with evil.begun(CHAT_WHOLE, EVIL) as sock:
        assert other.tokens(CHAT_WHOLE) == ["mine"]
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_an_honest_search_has_time_enough(session):
    session.add(when={"user": {"matches": "needle$"}}, reply="found")
    assert session.tokens(CHAT_WHOLE, "hay " * 10_000 + "needle") == ["found"]
    assert session.tokens(CHAT_WHOLE, "hay " * 100_000 + "needle") == ["found"]


def test_a_death_by_the_clock_comes_although_patterns_use_the_same_timer(shimmy: Shimmy):
    give_model(shimmy)
    rule = {"when": {"user": {"matches": SLOW}}, "reply": "never"}
    path = shimmy.cwd / "script.json"
    life = {"exit": {"after_seconds": 1.0, "status": 7}}
    path.write_text(json.dumps({"rules": [rule], "life": life}))
    with shimmy.serve(FAKE_SHIMMY_SCRIPT=str(path)) as running:
        messages = [{"role": "user", "content": EVIL}]
        body = json.dumps({"model": "tiny", "messages": messages, "stream": False}).encode()
        path = "/v1/chat/completions"
        assert running.request("POST", path, body, content_type="application/json").status == 200
        assert running.process.wait(20) == 7
