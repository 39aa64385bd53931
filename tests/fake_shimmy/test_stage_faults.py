"""What goes wrong with an answer: each fault as the client sees it, and as the journal tells it."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.support.fake_process import DEADLINE, Answer
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    FIN,
    LARGE,
    OVER_HTTP,
    RESET,
    STREAMED,
    WAYS,
    WHOLE,
    Way,
    server_of_large_answers,
    staged_server,
    take_all,
    take_until,
)
from tests.support.websocket_client import texts

REPLY = ["one", " twø", " three"]
AFTER_ONE = {"tokens": 1}
GENERATE = Way("generate", True)
WEBSOCKET = Way("websocket", True)


def garble(how: str, tokens: int = 0) -> dict:
    return {"do": "garble", "how": how, "at": {"tokens": tokens}}


def events(raw: bytes) -> list[bytes]:
    """The events of a stream in chunks, whatever they are like."""
    return Answer(raw).body.split(b"\n\n")


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(("do", "expected"), [("reset", RESET), ("close", FIN)])
def test_a_reset_and_a_close_end_the_connection_in_their_own_way(session, way, do, expected):
    session.add(reply=REPLY, faults=[{"do": do, "at": AFTER_ONE}])
    raw, how = session.take(way)
    assert how == expected
    assert raw.startswith(b"HTTP/1.")
    if way.is_whole:
        answer = Answer(raw)
        assert 0 < len(answer.body) < int(dict(answer.headers)["content-length"])
    else:
        assert b"one" in raw
        assert b"three" not in raw


@pytest.mark.slow
@pytest.mark.parametrize("do", ["close", "half_close", "end", "exit"])
def test_a_client_that_reads_late_gets_all_that_came_before_the_end(shimmy, do):
    # Odd: so the last token before it and the fault itself fall into one turn.
    fault = {"do": do, "at": {"tokens": 79}}
    with server_of_large_answers(shimmy, faults=[fault]) as session:
        with session.reading_late(GENERATE) as sock:
            (record,) = session.wait(finished=False)
            assert record["ended"] is None
            raw, how = take_all(sock)
        assert how == FIN
        assert raw.count(f"\r\ndata: {LARGE}\n\n\r\n".encode()) == 79
        if do == "exit":
            assert session.stage.running.process.wait(DEADLINE) == 1


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_after_a_half_close_the_client_can_still_write(session, way):
    session.add(reply=REPLY, faults=[{"do": "half_close", "at": AFTER_ONE}])
    with session.begun(way) as sock:
        raw, how = take_all(sock)
        assert how == FIN
        assert b"one" in raw
        assert b"three" not in raw
        for _ in range(3):
            # On a closed socket the second of these would be an error.
            sock.sendall(b"still here")
            session.control("journal")
    assert [record["ended"] for record in session.wait()] == ["cut"]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_hang_goes_on_until_the_client_leaves(session, way):
    session.add(reply=REPLY, faults=[{"do": "hang", "at": AFTER_ONE}])
    with session.begun(way) as sock:
        take_until(sock, b"\r\n\r\n")
        (record,) = session.wait(finished=False)
        assert record["ended"] is None
        assert record["duration"] is None
    (record,) = session.wait()
    assert (record["ended"], record["faults"]) == ("client_left", ["hang after 1 token"])
    assert record["tokens"] == (0 if way.is_whole else 1)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_stall_delays_and_goes_on(session, way):
    session.add(reply=REPLY, times=1)
    session.add(reply=REPLY, faults=[{"do": "stall", "seconds": 0.15, "at": AFTER_ONE}])
    whole = session.tokens(way)
    began = time.monotonic()
    assert session.tokens(way) == whole
    assert time.monotonic() - began >= 0.15
    record = session.records[1]
    assert (record["ended"], record["faults"]) == ("complete", ["stall 0.15 s after 1 token"])
    assert record["duration"] >= 0.15


@pytest.mark.parametrize("place", ["start", "headers"])
def test_headers_can_be_slow(session, place):
    session.add(reply=REPLY, faults=[{"do": "stall", "seconds": 0.1, "at": place}])
    with session.begun(CHAT) as sock:
        began = time.monotonic()
        take_until(sock, b"\r\n\r\n")
        assert time.monotonic() - began >= 0.09


def test_several_faults_of_one_answer_happen_in_the_order_of_their_places(session):
    session.add(
        reply=REPLY,
        faults=[
            {"do": "reset", "at": {"tokens": 2, "inside": "json"}},
            {"do": "stall", "seconds": 0.01, "at": {"tokens": 2, "inside": "event"}},
            {"do": "stall", "seconds": 0.02, "at": "start"},
            garble("content_type"),
            garble("invalid_utf8", 1),
        ],
    )
    raw, how = session.take(CHAT)
    assert how == RESET
    assert b"content-type: text/html\r\n" in raw
    assert b'"content":"\xfftw' in raw
    assert session.records[0]["faults"] == [
        "garble content_type after 0 tokens",
        "stall 0.02 s before the headers",
        "garble invalid_utf8 after 1 token",
        "stall 0.01 s after 2 tokens, inside the event",
        "reset after 2 tokens, inside the json",
    ]


def test_an_end_comes_in_order_even_after_a_stall_in_the_same_event(session):
    stall = {"do": "stall", "seconds": 0.01, "at": {"tokens": 1, "inside": "json"}}
    end = {"do": "end", "at": {"tokens": 1, "inside": "newlines"}}
    session.add(reply=REPLY, faults=[end, stall])
    answer = Answer(session.ask(CHAT))
    assert answer.body.count(b"data: ") == 3
    assert answer.body.endswith(b"}\n")
    assert len(session.records[0]["faults"]) == 2


def test_twice_refused_then_dropped_then_answered(session):
    session.add(
        answers=[
            {"fail": 502},
            {"fail": 502},
            {"reply": ["a", "b", "c", "d"], "faults": [{"do": "reset", "at": {"tokens": 3}}]},
            {"reply": "done"},
        ]
    )
    assert [Answer(session.ask(CHAT)).status for _ in range(2)] == [502, 502]
    raw, how = session.take(CHAT)
    assert how == RESET
    assert raw.count(b'"content":"') == 3
    assert session.tokens(CHAT) == ["done"]
    assert [record["ended"] for record in session.records] == ["complete"] * 2 + ["cut", "complete"]
    assert [record["tokens"] for record in session.records] == [0, 0, 3, 1]


@pytest.mark.parametrize("way", OVER_HTTP, ids=str)
def test_a_wrong_content_type_leaves_the_rest_intact(session, way):
    session.add(reply=REPLY, faults=[garble("content_type")])
    raw = session.ask(way)
    assert b"\r\ncontent-type: text/html\r\n" in raw
    assert "".join(way.tokens(raw)) == "".join(REPLY)
    assert session.records[0]["ended"] == "complete"


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_invalid_utf8_is_in_the_text_of_one_token(session, way):
    session.add(reply=["", *REPLY], faults=[garble("invalid_utf8")])
    raw = session.ask(way)
    assert raw.count(b"\xff") == 1
    assert way.tokens(raw.replace(b"\xff", b"o")) == ["", *REPLY]


@pytest.mark.parametrize("way", WHOLE, ids=str)
def test_invalid_utf8_is_in_the_text_of_a_whole_answer(session, way):
    session.add(reply=REPLY, faults=[garble("invalid_utf8")])
    raw = session.ask(way)
    assert raw.count(b"\xff") == 1
    assert way.tokens(raw.replace(b"\xff", b"o")) == ["".join(REPLY)]


@pytest.mark.parametrize("text", ['"x', "\\x", "\n\n", "\x01"])
@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE], ids=str)
def test_invalid_utf8_never_breaks_the_json_around_it(session, way, text):
    session.add(reply=[text], faults=[garble("invalid_utf8")])
    raw = session.ask(way)
    assert b"\xff" in raw
    assert way.tokens(raw.replace(b"\xff", b"o"))[0].startswith("o")


@pytest.mark.parametrize("way", [CHAT, GENERATE, Way("chat", True, "1.0")], ids=str)
def test_a_malformed_event_has_no_data_and_the_others_have(session, way):
    session.add(reply=["one", "two\n2", "three"], times=1)
    session.add(reply=["one", "two\n2", "three"], faults=[garble("malformed_event", 1)])
    before, after = events(session.ask(way)), events(session.ask(way))
    different = [at for at, event in enumerate(after) if not event.startswith(b"data: ") and event]
    assert different == ([2] if way.endpoint == "chat" else [1])
    (at,) = different
    assert len(after) == len(before)
    lines = after[at].split(b"\n")
    assert len(lines) == len(before[at].split(b"\n"))
    assert all(line.startswith(b"dat ") for line in lines)


@pytest.mark.parametrize("way", [CHAT, Way("chat", True, "1.0")], ids=str)
def test_truncated_json_is_in_an_event_that_is_framed_right(session, way):
    session.add(reply=REPLY, faults=[garble("truncated_json", 1)])
    *told, done, rest = events(session.ask(way))
    assert (done, rest) == (b"data: [DONE]", b"")
    broken = []
    for at, event in enumerate(told):
        assert event.startswith(b"data: ")
        try:
            json.loads(event[6:])
        except ValueError:
            broken.append(at)
    assert broken == [2]


@pytest.mark.parametrize("way", WHOLE, ids=str)
@pytest.mark.parametrize("how", ["truncated_json", "malformed_event", "truncated_event"])
def test_a_whole_answer_is_garbled_to_half_of_its_json(session, way, how):
    session.add(reply=REPLY, faults=[garble(how)])
    answer = Answer(session.ask(way))
    assert ("content-length", str(len(answer.body))) in answer.headers
    assert answer.body.startswith(b"{")
    with pytest.raises(ValueError, match="char"):
        json.loads(answer.body)


def test_a_garbled_frame_of_a_websocket_is_a_shorter_one(session):
    session.add(reply=["0123456789", "two"], faults=[garble("truncated_json")])
    assert WEBSOCKET.tokens(session.ask(WEBSOCKET)) == ["01234", "two"]


@pytest.mark.parametrize("way", [CHAT, GENERATE, Way("generate", True, "1.0")], ids=str)
def test_a_truncated_event_is_the_last_one_and_the_body_ends_in_order(session, way):
    session.add(reply=REPLY, faults=[garble("truncated_event", 1)])
    body = Answer(session.ask(way)).body
    assert "twø".encode() in body
    assert b"three" not in body
    assert body.endswith(b"\n")
    assert not body.endswith(b"\n\n")
    assert session.records[0]["ended"] == "cut"


@pytest.mark.parametrize("way", [CHAT, GENERATE, Way("chat", True, "1.0")], ids=str)
@pytest.mark.parametrize(("how", "count"), [("duplicate_done", 2), ("missing_done", 0)])
def test_a_stream_can_have_two_end_markers_or_none(session, way, how, count):
    session.add(reply=REPLY, faults=[garble(how)])
    raw = session.ask(way)
    assert Answer(raw).body.count(b"data: [DONE]\n\n") == count
    if way.version == "1.1":
        assert raw.endswith(b"0\r\n\r\n")
    assert session.records[0]["ended"] == "complete"


@pytest.mark.parametrize(("how", "count"), [("duplicate_done", 2), ("missing_done", 0)])
def test_a_websocket_can_have_two_end_markers_or_none(session, how, count):
    session.add(reply=['{"done":true}', "x"], faults=[garble(how)])
    _, _, frames = session.ask(WEBSOCKET).partition(b"\r\n\r\n")
    assert texts(frames) == [b'{"done":true}', b"x", *[b'{"done":true}'] * count]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("death", "status"),
    [({"status": 7}, 7), ({"status": 0}, 0)]
    + [({"signal": name}, -getattr(signal, name)) for name in ("SIGSEGV", "SIGKILL", "SIGPIPE")],
)
@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE, WEBSOCKET], ids=str)
def test_an_exit_ends_the_process_after_what_came_before(shimmy, way, death, status):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        session = stage.session()
        session.add(reply=REPLY, faults=[{"do": "exit", "at": {"tokens": 2}, **death}])
        raw, how = session.take(way)
        assert how == FIN
        assert raw.startswith(b"HTTP/1.1 ")
        assert way.is_whole or " twø".encode() in raw
        assert b" three" not in raw
        assert stage.running.process.wait(DEADLINE) == status


@pytest.mark.slow
def test_the_turn_of_a_hanging_connection_is_not_given_by_a_timer_of_before(stage, session):
    session.add(when={"model": "some"}, faults=[{"do": "hang", "at": "start"}])
    wait = json.dumps({"op": "wait", "session": session.key, "seconds": 0.3}).encode()
    control = (
        b"POST /fake-shimmy/control HTTP/1.1\r\nhost: x\r\nx-fake-shimmy-control: sesame\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(wait), wait)
    )
    with stage.running.connect() as sock:
        sock.sendall(control)
        session.wait(count=0)
        assert session.ask(CHAT_WHOLE, model="other").startswith(b"HTTP/1.1 404")
        take_until(sock, b'"timed_out": false}')
        sock.sendall(CHAT.raw(session.key))
        began = session.wait(count=2, finished=False)[1]["time"]
        later = session.control("wait", count=2, seconds=0.5)
        assert later["timed_out"]
        assert later["records"][1]["ended"] is None
        assert time.time() - began >= 0.3
