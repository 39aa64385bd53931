"""Where in an answer a fault happens: what came before it is exactly what would have come."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_process import Answer, neutral
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    FIN,
    OVER_HTTP,
    RESET,
    STREAMED,
    WAYS,
    WHOLE,
    Way,
)

REPLY = ["a", "bé", "", "🦐c", "d"]
GENERATE = Way("generate", True)


def answers(session, way, at, do="close", reply=REPLY) -> tuple[bytes, bytes, str]:
    """The answer without and with a fault, and how the second ends."""
    session.open(rules=[{"times": 1, "reply": reply}, {"reply": reply, "faults": [fault(at, do)]}])
    whole, _ = session.take(way)
    cut, how = session.take(way)
    return neutral(whole), neutral(cut), how


def without_digits(raw: bytes) -> bytes:
    """As long as before, so that halves of ids and dates can be compared."""
    return re.sub(rb"[0-9a-f]", b"0", raw)


def fault(at, do):
    return {"do": do, "at": at}


@pytest.mark.parametrize("way", OVER_HTTP, ids=str)
@pytest.mark.parametrize(("do", "expected"), [("close", FIN), ("reset", RESET)])
def test_a_cut_before_the_headers_leaves_nothing(session, way, do, expected):
    _, cut, how = answers(session, way, "start", do)
    assert (cut, how) == (b"", expected)


@pytest.mark.parametrize("way", OVER_HTTP, ids=str)
def test_a_cut_in_the_headers_leaves_a_part_of_them(session, way):
    whole, cut, _ = answers(session, way, "headers")
    assert whole.startswith(cut[:60])
    assert b"HTTP/" in cut
    assert b"\r\n\r\n" not in cut


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_cut_after_the_headers_leaves_all_of_them_and_no_body(session, way):
    whole, cut, _ = answers(session, way, "body")
    head, _, rest = whole.partition(b"\r\n\r\n")
    assert rest
    assert cut == head + b"\r\n\r\n"


@pytest.mark.parametrize("way", STREAMED, ids=str)
@pytest.mark.parametrize("count", range(len(REPLY) + 1))
def test_a_cut_after_some_tokens_leaves_their_events(session, way, count):
    whole, cut, how = answers(session, way, {"tokens": count})
    shorter, _, _ = answers(session, way, {"bytes": 10**6}, reply=REPLY[:count])
    assert how == FIN
    assert whole.startswith(cut)
    assert shorter.startswith(cut)
    closing = whole[len(answers(session, way, "end")[1]) :]
    assert shorter == cut + closing
    (_, record) = session.records
    assert (record["tokens"], record["ended"], record["faults"]) == (
        len(REPLY),
        "cut",
        ["close after the last token"],
    )


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_a_cut_after_some_tokens_is_told_with_their_number(session, way):
    answers(session, way, {"tokens": 2}, "reset")
    record = session.records[1]
    assert (record["tokens"], record["ended"]) == (2, "cut")
    assert record["faults"] == ["reset after 2 tokens"]


@pytest.mark.parametrize(
    ("way", "at"),
    [(way, {"bytes": 10**6}) for way in WAYS]
    + [(way, {"tokens": 9}) for way in STREAMED]
    + [(way, {"tokens": 9, "inside": "json"}) for way in STREAMED],
    ids=str,
)
def test_a_place_that_never_comes_leaves_the_answer_whole(session, way, at):
    whole, cut, _ = answers(session, way, at, "reset")
    assert cut == whole
    record = session.records[1]
    assert (record["ended"], record["faults"]) == ("complete", [])


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_a_cut_inside_a_character_leaves_its_first_byte(session, way):
    _, cut, _ = answers(session, way, {"tokens": 0, "inside": "character"})
    assert cut.endswith(b"b\xc3")
    _, cut, _ = answers(session, way, {"tokens": 2, "inside": "character"})
    assert cut.endswith(b"\xf0")


@pytest.mark.parametrize("way", WHOLE, ids=str)
def test_a_cut_inside_a_character_of_a_whole_answer_leaves_its_first_byte(session, way):
    _, cut, _ = answers(session, way, {"tokens": 0, "inside": "character"})
    assert cut.endswith(b"ab\xc3")


@pytest.mark.parametrize("way", [CHAT, Way("chat", True, "1.0")], ids=str)
def test_a_cut_inside_json_leaves_no_json(session, way):
    whole, cut, _ = answers(session, way, {"tokens": 1, "inside": "json"})
    assert whole.startswith(cut)
    last = cut.rpartition(b"data: ")[2]
    assert last.startswith(b'{"id":')
    assert b"\n" not in last


@pytest.mark.parametrize("way", [CHAT, GENERATE, Way("generate", True, "1.0")], ids=str)
def test_a_cut_between_the_newlines_leaves_one(session, way):
    whole, cut, _ = answers(session, way, {"tokens": 1, "inside": "newlines"})
    assert whole.startswith(cut)
    assert cut.endswith(b"\n")
    assert not cut.endswith(b"\n\n")
    assert whole[len(cut) :].startswith(b"\n")


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_a_cut_inside_an_event_is_after_its_token_before(session, way):
    whole, cut, _ = answers(session, way, {"tokens": 1, "inside": "event"})
    _, before, _ = answers(session, way, {"tokens": 1})
    _, after, _ = answers(session, way, {"tokens": 2})
    assert whole.startswith(cut)
    assert len(before) < len(cut) < len(after)


TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=6),
    max_size=5,
)
POSITIONS = st.one_of(
    st.sampled_from(["start", "headers", "body", "end"]),
    st.builds(lambda count: {"tokens": count}, st.integers(0, 6)),
    st.builds(
        lambda count, inside: {"tokens": count, "inside": inside},
        st.integers(0, 6),
        st.sampled_from(["character", "json", "newlines", "event"]),
    ),
    st.builds(lambda count: {"bytes": count}, st.integers(0, 1500)),
)
PROPERTY = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.slow
@PROPERTY
@given(
    way=st.sampled_from(WAYS),
    reply=TEXTS,
    at=POSITIONS,
    do=st.sampled_from(["close", "reset", "half_close"]),
)
def test_a_cut_answer_is_the_beginning_of_the_whole_one(session, way, reply, at, do):
    session.open(rules=[{"times": 1, "reply": reply}, {"reply": reply, "faults": [fault(at, do)]}])
    whole, cut = (without_digits(session.ask(way)) for _ in range(2))
    assert whole.startswith(cut)
    faults = session.records[1]["faults"]
    assert bool(faults) == (session.records[1]["ended"] == "cut")
    assert faults or cut == whole


@pytest.mark.slow
@PROPERTY
@given(way=st.sampled_from(WAYS), reply=TEXTS, at=POSITIONS)
def test_a_stalled_answer_is_the_whole_one(session, way, reply, at):
    whole, stalled, _ = answers(session, way, at, "stall", reply)
    assert stalled == whole


@pytest.mark.slow
@PROPERTY
@given(
    way=st.sampled_from([way for way in WAYS if way.version == "1.1"]), reply=TEXTS, at=POSITIONS
)
def test_an_answer_that_ends_early_ends_in_order(session, way, reply, at):
    session.open(rules=[{"reply": reply, "faults": [fault(at, "end")]}])
    raw = session.ask(way)
    if b"\r\n\r\n" not in raw:
        assert session.records[0]["ended"] == "cut"
        return
    if way.endpoint != "websocket":
        answer = Answer(raw)  # fails where the chunks are broken
        lengths = [value for name, value in answer.headers if name == "content-length"]
        assert lengths in ([], [str(len(answer.body))])
        assert bool(lengths) == way.is_whole


@pytest.mark.parametrize("way", [CHAT, GENERATE, CHAT_WHOLE, WHOLE[1]], ids=str)
@pytest.mark.parametrize("at", [{"tokens": 1}, {"tokens": 1, "inside": "event"}, "body", "end"])
def test_a_connection_can_be_used_after_an_answer_that_ended_early(session, way, at):
    session.open(rules=[{"times": 1, "reply": REPLY, "faults": [fault(at, "end")]}])
    session.add(reply="next")
    with session.begun(way, last=False) as sock:
        sock.sendall(CHAT_WHOLE.raw(session.key))
        raw = b""
        while data := sock.recv(65536):
            raw += data
    first, second, third = raw.split(b"HTTP/1.1 200 OK\r\n")
    assert first == b""
    assert second.count(b"\r\n\r\n") >= 1
    assert CHAT_WHOLE.tokens(b"HTTP/1.1 200 OK\r\n" + third) == ["next"]
    assert [record["ended"] for record in session.records] == ["cut", "complete"]
    assert {record["connection"] for record in session.records} == {
        session.records[0]["connection"]
    }


def test_an_answer_that_ends_early_has_what_was_said_before(session):
    session.add(reply=REPLY, faults=[fault({"tokens": 2}, "end")])
    body = Answer(session.ask(CHAT)).body.decode()
    *events, rest = body.split("\n\n")
    assert rest == ""
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:]] == REPLY[:2]
