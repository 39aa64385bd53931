"""Scripted replies: what each endpoint makes of them, and which request gets which."""

from __future__ import annotations

import contextlib
import json

import pytest

from fake_shimmy.models import tiny_gguf
from fake_shimmy.releases import RELEASES
from tests.support.fake_process import TOY_MODEL, Answer, neutral, neutral_health
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    OVER_HTTP,
    PATHS,
    STREAMED,
    TOKEN,
    WAYS,
    WHOLE,
    Stage,
    Way,
    take_all,
)
from tests.support.websocket_client import texts

ODD = ["", "Hé", "llo\n", "\n", " 🦐🇫🇷", "", 'qu"ote\\', "\u2028\t\x01", "[DONE", "{}", ""]
"""Tokens that framing could break."""


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_tokens_of_a_reply_arrive_as_they_were_scripted(session, way):
    session.add(reply=ODD)
    expected = ["".join(ODD)] if way.is_whole else ODD
    assert session.tokens(way) == expected


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_text_is_cut_into_words(session, way):
    session.add(reply="one  two\nthree ")
    words = ["one", " ", " two\nthree", " "]
    assert session.tokens(way) == (["one  two\nthree "] if way.is_whole else words)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("reply", ["", []], ids=["text", "list"])
def test_an_empty_reply_has_no_tokens(session, way, reply):
    session.add(reply=reply)
    assert "".join(session.tokens(way)) == ""
    assert session.records[0]["tokens"] == 0


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_max_tokens_cuts_a_scripted_reply(session, way):
    session.add(reply=["a", "b", "c"])
    assert "".join(session.tokens(way, max_tokens=2)) == "ab"
    assert session.records[0]["tokens"] == 2


@pytest.mark.parametrize(
    "way", [CHAT, Way("generate", True), Way("generate", True, "1.0")], ids=str
)
def test_the_end_marker_can_be_a_token_of_an_event_stream(session, way):
    session.add(reply=["a", "[DONE]", "b"])
    assert session.tokens(way) == ["a", "[DONE]", "b"]


def test_the_end_marker_as_a_token_ends_a_websocket(session):
    session.add(reply=["a", "[DONE]", "b"])
    assert session.tokens(Way("websocket", True)) == ["a"]
    assert session.records[0]["tokens"] == 1


def test_a_carriage_return_breaks_only_a_stream_of_bare_events(session):
    session.add(reply=["a", "b\r", "c"])
    assert session.tokens(CHAT) == ["a", "b\r", "c"]
    assert session.tokens(Way("websocket", True)) == ["a", "b\r", "c"]
    assert session.tokens(Way("generate", False)) == ["ab\rc"]
    raw = session.ask(Way("generate", True))
    assert raw.endswith(b"\r\n\r\n9\r\ndata: a\n\n\r\n")
    assert [record["ended"] for record in session.records] == ["complete"] * 3 + ["cut"]


def test_a_rule_without_a_reply_leaves_the_model_its_words(session):
    before = session.tokens(CHAT_WHOLE)
    session.add(faults=[{"do": "stall", "seconds": 0}])
    assert session.tokens(CHAT_WHOLE) == before
    assert session.records[1]["rule"] is not None


def test_answers_are_given_in_order_and_once_each(session):
    session.add(answers=[{"reply": "one"}, {"fail": 503}, {"reply": "two"}])
    session.add(reply="later")
    answers = [Answer(session.ask(CHAT_WHOLE)) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 200, 200]
    assert [record["answer"] for record in session.records] == [0, 1, 2, 0]
    assert b'"content":"later"' in answers[3].body


def test_answers_with_times_begin_again(session):
    session.add(times=3, answers=[{"reply": "one"}, {"reply": "two"}])
    told = [session.tokens(CHAT_WHOLE)[0] for _ in range(4)]
    assert told[:3] == ["one", "two", "one"]
    assert told[3].startswith("Reply ")
    rule = session.control("journal")["rules"][0]
    assert (rule["used"], rule["left"]) == (3, 0)


def test_the_first_rule_that_matches_answers(session):
    session.add(when={"user": "weather"}, reply="rain", times=1)
    session.add(when={"user": {"matches": "^wea"}}, reply="sun")
    session.add(reply="what?")
    asked = ["the weather", "weather", "the weather"]
    assert [session.tokens(CHAT, text) for text in asked] == [["rain"], ["sun"], ["what?"]]


@pytest.mark.parametrize(
    ("when", "matching"),
    [
        ({"endpoint": "chat"}, {"chat"}),
        ({"endpoint": "websocket"}, {"websocket"}),
        ({"path": "/v1/messages"}, {"messages"}),
        ({"json": {"prompt": "hi"}}, {"completions", "generate", "websocket"}),
        ({"json": {"messages[-1].content": {"contains": "h"}}}, {"chat", "messages"}),
        (
            {"model": "some", "user": "i"},
            {"chat", "completions", "messages", "generate", "websocket"},
        ),
        ({"model": "som"}, set()),
        ({"headers": {"Authorization": "earer key"}}, {each.endpoint for each in WAYS}),
    ],
)
def test_conditions_choose_requests(session, when, matching):
    session.add(when=when, reply="yes")
    ways = [Way("chat", True), *WHOLE[1:4], Way("websocket", True)]
    assert {way.endpoint for way in ways if session.tokens(way) == ["yes"]} == matching


@pytest.mark.parametrize(("tail", "is_json"), [(b"", True), (b" \n", True), (b" x", False)])
def test_a_body_with_more_behind_it_is_one_to_shimmy_and_none_to_rules(session, tail, is_json):
    session.add(when={"user": "hi"}, reply="yes")
    body = CHAT_WHOLE.body() + tail
    raw = CHAT_WHOLE.raw(session.key).partition(b"content-length")[0]
    with session.stage.running.connect() as sock:
        sock.sendall(b"%bcontent-length: %d\r\n\r\n%b" % (raw, len(body), body))
        answer, _ = take_all(sock)
    assert (CHAT_WHOLE.tokens(answer) == ["yes"]) is is_json


def test_chance_is_the_same_for_the_same_seed(session):
    def drawn(seed: int) -> list[int]:
        session.open(seed=seed, rules=[{"chance": 0.5, "fail": 503}])
        return [Answer(session.ask(CHAT_WHOLE)).status for _ in range(20)]

    first = drawn(7)
    assert set(first) == {200, 503}
    assert drawn(7) == first
    assert drawn(8) != first
    state = session.control("journal")
    assert (state["seed"], state["is_random"]) == (8, True)


def test_a_drawn_seed_is_told_and_can_be_given_back(session):
    answer = session.control("open", script={})
    assert answer["seed"] == session.control("journal")["seed"]
    assert session.control("open", script={"seed": answer["seed"]})["seed"] == answer["seed"]


def test_a_rule_for_some_seconds_ends_after_its_first_use(session):
    session.add(seconds=0, reply="first")
    session.add(reply="then")
    assert [session.tokens(CHAT_WHOLE) for _ in range(2)] == [["first"], ["then"]]
    session.open(rules=[{"seconds": 600, "reply": "first"}, {"reply": "then"}])
    assert [session.tokens(CHAT_WHOLE) for _ in range(2)] == [["first"], ["first"]]


def test_a_removed_rule_answers_no_more(session):
    ident = session.add(reply="gone")
    session.control("remove", id=ident)
    assert session.tokens(CHAT_WHOLE) != ["gone"]


@pytest.mark.parametrize("way", OVER_HTTP, ids=str)
def test_a_strict_script_refuses_what_no_rule_matches(session, way):
    session.open(
        strict=True,
        rules=[
            {"name": "far", "when": {"user": "x", "model": "y"}, "reply": ""},
            {"name": "near", "when": {"user": "weather"}, "reply": ""},
        ],
    )
    nearest = "near: user should contain 'weather', and it is 'hi'"
    answer = Answer(session.ask(way))
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert error["code"] == "no_rule_matches"
    assert error["message"] == f"no rule of the script matches this request; nearest: {nearest}"
    (record,) = session.records
    assert (record["unmatched"], record["nearest"], record["status"]) == (True, nearest, 400)


def test_a_strict_script_refuses_a_message_of_a_websocket(session):
    session.open(strict=True)
    _, _, frames = session.ask(Way("websocket", True)).partition(b"\r\n\r\n")
    (text,) = texts(frames)
    assert json.loads(text)["error"].endswith("nearest: there is no rule")
    assert session.records[0]["status"] == 101


def test_a_strict_script_tells_of_a_rule_that_is_used_up(session):
    session.open(strict=True, rules=[{"reply": "x", "times": 1}])
    session.ask(CHAT)
    session.ask(CHAT)
    assert session.records[1]["nearest"] == "rule 1 matches, but is used up"


def test_a_strict_script_leaves_other_routes_alone(session):
    session.open(strict=True)
    answer = session.stage.running.request(
        "GET", "/v1/models", authorization=f"Bearer {session.key}"
    )
    assert answer.status == 200


REAL_FAILURES = {
    "model_not_found": (404, 404, 404, 404),
    "load_failed": (502, 502, 500, 502),
    "generation_failed": (502, 500, 500, 502),
    "unprocessable": (422, 422, 422, 422),
    "bad_json": (400, 400, 400, 400),
    "unsupported_media_type": (415, 415, 415, 415),
    "too_large": (413, 413, 413, 413),
}


@pytest.mark.parametrize("failure", REAL_FAILURES)
def test_real_failures_by_name_have_the_status_of_their_endpoint(session, failure):
    session.add(fail=failure)
    ways = [CHAT_WHOLE, *WHOLE[1:4]]
    statuses = tuple(Answer(session.ask(way)).status for way in ways)
    assert statuses == REAL_FAILURES[failure]
    assert tuple(record["status"] for record in session.records) == statuses


def test_a_failure_of_ones_own_is_sent_as_it_is(session):
    headers = {"Retry-After": "7", "x-some": "a b"}
    session.add(fail={"status": 429, "body": {"error": "sløw"}, "headers": headers})
    answer = Answer(session.ask(CHAT))
    assert answer.head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert ("retry-after", "7") in answer.headers
    assert ("x-some", "a b") in answer.headers
    assert ("content-type", "application/json") in answer.headers
    assert json.loads(answer.body) == {"error": "sløw"}


def test_a_failure_with_a_text_is_plain_text(session):
    session.add(fail={"status": 418, "body": "téapot"})
    answer = Answer(session.ask(CHAT))
    assert answer.head.startswith(b"HTTP/1.1 418 I'm a Teapot\r\ncontent-type: text/plain; charset")
    assert answer.body == "téapot".encode()


@pytest.mark.parametrize("failure", ["unsupported_media_type", "too_large", 503])
def test_a_failure_that_a_websocket_cannot_tell_closes_it(session, failure):
    session.add(fail=failure)
    head, _, rest = session.ask(Way("websocket", True)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == b""
    assert session.records[0]["ended"] == "cut"


def test_a_reply_needs_a_model_that_loads(make_shimmy):
    fake = make_shimmy("default")
    script = fake.cwd / "script.json"
    script.write_text(json.dumps({"rules": [{"reply": "scripted"}]}))
    (fake.cwd / "some.gguf").write_bytes(b"not one")
    with fake.serve("--model-path", "some.gguf", FAKE_SHIMMY_SCRIPT=str(script)) as running:
        assert Answer(running.send(CHAT_WHOLE.raw())).status == 502
        assert Answer(running.send(CHAT_WHOLE.raw(model="other"))).status == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("release", "build"),
    [
        *(("2.6.5", "default"), ("2.5.0", "default")),
        *(("2.5.0", "cpu-only"), ("1.8.1", "default")),
    ],
)
def test_a_script_plays_on_each_build(make_shimmy, release, build):
    fake = make_shimmy(build, release=release)
    (fake.cwd / "models").mkdir()
    name = "some.safetensors" if build == "cpu-only" else "some.gguf"
    model = TOY_MODEL if build == "cpu-only" else tiny_gguf.contents()
    (fake.cwd / "models" / name).write_bytes(model)
    script = fake.cwd / "script.toml"
    script.write_text('[[rules]]\nreply = ["scr", "ipted"]\n')
    path = ["--model-path", f"models/{name}"]
    with fake.serve(*path, FAKE_SHIMMY_SCRIPT=str(script)) as running:
        for way in WAYS:
            if PATHS[way.endpoint].encode() in RELEASES[release].missing_routes:
                continue
            text = "".join(way.tokens(running.send(way.raw())))
            assert text == "scripted", str(way)


@pytest.mark.slow
@pytest.mark.parametrize("build", ["default", "cpu-only"])
def test_what_is_not_scripted_is_answered_byte_for_byte_as_without_a_script(make_shimmy, build):
    fake = make_shimmy(build)
    model = "some.safetensors" if build == "cpu-only" else "some.gguf"
    (fake.cwd / model).write_bytes(TOY_MODEL if build == "cpu-only" else tiny_gguf.contents())
    requests = [way.raw(max_tokens=9) for way in WAYS]
    requests += [way.raw(model="other") for way in WAYS]
    requests += [way.raw(max_tokens=-1) for way in WAYS]
    requests += [way.raw("some-key") for way in WAYS]
    requests += [
        b"%b %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % (method, path)
        for method in (b"GET", b"HEAD", b"OPTIONS", b"POST", b"DELETE")
        for path in (b"/health", b"/v1/models", b"/nowhere", b"/fake-shimmy/control", b"/~/health")
    ]
    requests += [b"nonsense\r\n\r\n", CHAT.raw()[:-5] + b"}}}}}"]
    requests += [CHAT.raw().replace(b"application/json", b"text/plain")]
    requests += [CHAT_WHOLE.raw("", "x" * size) for size in (70_000, 2_200_000)]
    with (
        fake.serve("--model-path", model) as plain,
        fake.serve("--model-path", model, FAKE_SHIMMY_CONTROL=TOKEN) as controlled,
    ):
        for request in requests:
            alike = neutral_health if b"/health " in request else neutral
            expected, found = (alike(each.send(request)) for each in (plain, controlled))
            assert found == expected, request[:200]
        with contextlib.closing(Stage(controlled)) as stage:
            state = stage.control(op="journal", session="")
    assert not state["stray_count"]
    assert len(state["records"]) > len(STREAMED)
