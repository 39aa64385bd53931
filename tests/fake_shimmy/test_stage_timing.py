"""When tokens are sent: the schedule is exact, and what is measured is never before it."""

from __future__ import annotations

import itertools
import socket
import time

import pytest

from tests.support.fake_process import Answer
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    STREAMED,
    WAYS,
    WHOLE,
    Way,
    staged_server,
    take_until,
)

REPLY = ["a", "b", "c", "d"]


def kept(record: dict) -> bool:
    """Whether no token was sent before its time."""
    pairs = zip(record["schedule"], record["measured"], strict=True)
    return all(measured >= due for due, measured in pairs)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tokens_come_at_their_times(session, way):
    session.add(reply=REPLY, latency={"first_token": 0.05, "per_token": 0.02})
    began = time.monotonic()
    session.ask(way)
    assert time.monotonic() - began >= 0.11
    (record,) = session.records
    assert record["schedule"] == pytest.approx([0.05, 0.07, 0.09, 0.11])
    assert kept(record)
    assert record["duration"] >= 0.11


@pytest.mark.parametrize("way", STREAMED, ids=str)
def test_a_stream_begins_before_its_first_token(session, way):
    session.add(reply=["SLOW"], latency={"first_token": 600})
    with session.begun(way) as sock:
        assert b"SLOW" not in take_until(sock, b"\r\n\r\n")


@pytest.mark.parametrize("way", WHOLE, ids=str)
def test_a_whole_answer_begins_when_its_last_token_is_due(session, way):
    session.add(reply=REPLY, latency={"per_token": 0.03})
    with session.begun(way) as sock:
        began = time.monotonic()
        sock.recv(1)
        assert time.monotonic() - began >= 0.08
    (record,) = session.wait()
    assert record["schedule"] == pytest.approx([0.0, 0.03, 0.06, 0.09])
    assert min(record["measured"]) >= 0.09


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_no_delay_is_no_time(session, way):
    session.add(reply=["x"] * 2000)
    session.ask(way)
    (record,) = session.records
    assert record["schedule"] == [0.0] * 2000
    # Any pause at all would be two seconds by now.
    assert record["measured"][-1] < 1.5


def test_tokens_per_second_are_another_way_to_say_it(session):
    session.add(reply=REPLY, latency={"tokens_per_second": 50})
    session.ask()
    assert session.records[0]["schedule"] == pytest.approx([0, 0.02, 0.04, 0.06])


@pytest.mark.slow
def test_jitter_is_the_same_for_the_same_seed(session):
    latency = {"first_token": 0.01, "per_token": 0.01, "jitter": 0.01}

    def drawn(seed: int) -> list[list[float]]:
        session.open(seed=seed, latency=latency, rules=[{"reply": REPLY}])
        for _ in range(2):
            session.ask(CHAT)
        assert all(kept(record) for record in session.records)
        return [record["schedule"] for record in session.records]

    first, second = drawn(3)
    assert first != second
    steps = [after - before for before, after in itertools.pairwise([0.0, *first])]
    assert all(0 <= step <= 0.02 for step in steps)
    assert len(set(steps)) > 1
    assert drawn(3) == [first, second]
    assert drawn(4) != [first, second]


def test_the_timing_of_an_answer_goes_before_that_of_the_script(session):
    session.open(latency={"first_token": 0.02}, rules=[{"reply": "a b", "times": 2}])
    session.ask()
    session.control("configure", script={"latency": {"per_token": 0.01}})
    session.ask()
    session.add(reply="a b", latency={"first_token": 0})
    session.ask()
    schedules = [record["schedule"] for record in session.records]
    assert schedules == [[0.02, 0.02], [0.0, 0.01], [0.0, 0.0]]


def test_timing_holds_for_what_the_model_says_anyway(session):
    session.open(latency={"per_token": 0.01})
    tokens = session.tokens(CHAT, "x")
    (record,) = session.records
    assert record["tokens"] == len(tokens)
    assert record["schedule"] == pytest.approx([0.01 * at for at in range(len(tokens))])
    assert kept(record)


def test_very_long_delays_do_not_hurt_the_server(shimmy):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        session, other = stage.session(), stage.session()
        session.add(reply=["x"] * 1000, latency={"per_token": 86_400})
        with session.begun(CHAT_WHOLE):
            for _ in range(3):
                # No other timer is on its way.
                assert other.tokens(CHAT)
        assert session.wait()[0]["ended"] == "client_left"


def test_a_model_loads_once_and_everybody_waits_for_it(session):
    session.open(load_time=0.5, rules=[{"reply": "x"}])
    with session.begun(CHAT_WHOLE) as one:
        session.wait(finished=False)
        with session.begun(CHAT) as other:
            assert Answer(session.ask(model="other")).status == 404
            take_until(one, b"}}")
            take_until(other, b"[DONE]")
    session.ask(CHAT)
    first, second, missing, third = session.wait(count=4)
    assert first["duration"] >= 0.5
    assert second["time"] + second["duration"] >= first["time"] + 0.5
    assert missing["duration"] < 0.5
    assert third["duration"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE, Way("websocket", True)], ids=str)
def test_serialised_generations_do_not_overlap(session, way):
    latency = {"first_token": 0.03, "per_token": 0.02}
    session.open(serialise=True, latency=latency, rules=[{"reply": REPLY}])
    with session.begun(way) as one, session.begun(way) as two, session.begun(way) as three:
        for each in (one, two, three):
            take_until(each, b'{"done":true}' if way.endpoint == "websocket" else b"a")
        records = session.wait(count=3)
    ends = sorted(record["started"] + record["duration"] for record in records)
    assert all(later - before >= 0.09 for before, later in itertools.pairwise(ends))
    spans = sorted(
        (record["started"] + record["measured"][0], record["started"] + record["measured"][-1])
        for record in records
    )
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_generations_overlap_unless_serialised(session):
    session.open(rules=[{"faults": [{"do": "hang"}], "times": 1}, {"reply": "x"}])
    with session.begun(CHAT):
        session.wait(finished=False)
        assert session.tokens(CHAT) == ["x"]


def test_what_does_not_generate_takes_no_turn(session):
    session.open(serialise=True, rules=[{"times": 1, "faults": [{"do": "hang"}]}])
    with session.begun(CHAT):
        session.wait(finished=False)
        assert Answer(session.ask(model="other")).status == 404


@pytest.mark.slow
@pytest.mark.parametrize("leaver", [0, 1])
def test_the_queue_goes_on_when_somebody_hangs_up(session, leaver):
    session.open(serialise=True, rules=[{"reply": "x", "latency": {"first_token": 0.2}}])
    clients: list[socket.socket] = []
    for count in (1, 2, 3):
        sock = session.stage.running.connect()
        sock.sendall(CHAT.raw(session.key))
        clients.append(sock)
        session.wait(count=count, finished=False)
    clients.pop(leaver).close()
    for sock in clients:
        with sock:
            take_until(sock, b"[DONE]")
    ended = [record["ended"] for record in session.wait(count=3)]
    assert ended[leaver] == "client_left"
    assert sorted(ended) == ["client_left", "complete", "complete"]


@pytest.mark.slow
def test_many_scripted_streams_at_once_all_end_right(session):
    reply = [f"token {number}" for number in range(20)]
    session.open(rules=[{"reply": reply, "latency": {"per_token": 0.005, "jitter": 0.002}}])
    ways = [STREAMED[number % len(STREAMED)] for number in range(200)]
    clients = [(way, session.stage.running.connect()) for way in ways]
    for way, sock in clients:
        sock.sendall(way.raw(session.key))
    for way, sock in clients:
        with sock:
            raw = b""
            while data := sock.recv(65536):
                raw += data
        assert way.tokens(raw) == reply
    records = session.wait(count=200)
    assert {record["ended"] for record in records} == {"complete"}
    assert {record["tokens"] for record in records} == {20}
    assert all(kept(record) for record in records)
    assert len({record["connection"] for record in records}) == 200
