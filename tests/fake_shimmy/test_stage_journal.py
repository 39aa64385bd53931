"""The journal: what was asked and what became of it, in bounded memory."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from tests.support.fake_process import Answer, read_all
from tests.support.staged_server import (
    CHAT,
    CHAT_WHOLE,
    PATHS,
    STREAMED,
    WAYS,
    Way,
    server_of_large_answers,
    take_until,
)

FIELDS = {
    *("id", "time", "started", "method", "path", "headers", "body", "connection", "rule"),
    *("rule_name", "answer", "unmatched", "nearest", "status", "tokens", "bytes", "schedule"),
    *("measured", "duration", "ended", "faults", "unfired", "beyond", "unexpected", "refusal"),
    "refused_rule",
}


def post(session, path: str, body: bytes, content_type: str = "application/json") -> Answer:
    key = f"Bearer {session.key}"
    running = session.stage.running
    return running.request("POST", path, body, content_type=content_type, authorization=key)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("is_scripted", [True, False])
def test_a_record_tells_all_of_a_request_and_its_answer(session, way, is_scripted):
    if is_scripted:
        session.add(name="mine", reply=["a", "b", "c"])
    before = time.time()
    raw = session.ask(way)
    (record,) = session.records
    assert set(record) == FIELDS
    assert before <= record["time"] <= time.time()
    assert 0 <= record["duration"] < 10
    assert record["method"] == ("GET" if way.endpoint == "websocket" else "POST")
    assert record["path"] == PATHS[way.endpoint]
    assert ["authorization", f"Bearer {session.key}"] in record["headers"]
    assert record["body"].encode() == way.body()
    assert record["status"] == (101 if way.endpoint == "websocket" else 200)
    tokens = way.tokens(raw)
    if way.is_whole:
        tokens = tokens[0].split(" ") if not is_scripted else ["a", "b", "c"]
    assert record["tokens"] == len(tokens)
    _, _, frames = raw.partition(b"\r\n\r\n")
    assert record["bytes"] == len(frames if way.endpoint == "websocket" else raw)
    assert (record["ended"], record["faults"]) == ("complete", [])
    assert (record["unmatched"], record["nearest"]) == (False, None)
    expected = ("mine", 0) if is_scripted else (None, None)
    assert (record["rule_name"], record["answer"]) == expected
    assert (record["rule"] is None) == (not is_scripted)


@pytest.mark.parametrize("way", STREAMED, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_a_client_that_leaves_is_told_with_what_it_got(session, way, count):
    hang = {"do": "hang", "at": {"tokens": count}}
    session.add(reply=[f"<{at}>" for at in range(9)], faults=[hang])
    with session.begun(way) as sock:
        take_until(sock, f"<{count - 1}>".encode())
    (record,) = session.wait()
    assert (record["ended"], record["tokens"]) == ("client_left", count)


def test_a_client_that_leaves_a_paced_stream_is_noticed_at_once(session):
    session.add(reply=["x"] * 100, latency={"per_token": 0.05})
    with session.begun(CHAT) as sock:
        take_until(sock, b'"content":"x"')
    (record,) = session.wait()
    assert record["ended"] == "client_left"
    assert 1 <= record["tokens"] < 80
    assert record["duration"] < 4
    assert len(record["measured"]) == record["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("way", [CHAT, CHAT_WHOLE, Way("websocket", True)], ids=str)
def test_a_client_that_leaves_most_of_an_answer_unread_is_noticed(shimmy, way):
    with server_of_large_answers(shimmy) as session:
        with session.reading_late(way) as sock:
            assert sock.recv(1)
            (record,) = session.wait(finished=False)
            assert record["ended"] is None
        (record,) = session.wait()
        assert record["ended"] == "client_left"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_clients_may_vanish_at_any_moment(session, way):
    session.open(serialise=True, latency={"per_token": 0.001}, rules=[{"reply": ["x"] * 9}])
    moments = range(0, 1500, 75)
    for moment in moments:
        with session.begun(way) as sock:
            received = 0
            while received < moment and (data := sock.recv(moment - received)):
                received += len(data)
    assert "".join(session.tokens(way)) == "x" * 9
    records = session.wait(count=len(moments) + 1)
    assert len(records) == len(moments) + 1
    assert records[-1]["ended"] == "complete"


def test_an_answer_on_its_way_is_in_the_journal(session):
    session.add(reply=["a", "b"], faults=[{"do": "hang", "at": {"tokens": 1}}])
    with session.begun(CHAT) as sock:
        take_until(sock, b'"content":"a"')
        (record,) = session.records
        assert (record["ended"], record["duration"]) == (None, None)
        assert (record["status"], record["tokens"]) == (200, 1)


def test_a_thousand_records_are_kept(session):
    running = session.stage.running
    get = b"GET /health HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n" % session.key.encode()
    with running.connect() as sock:
        sender = threading.Thread(
            target=sock.sendall, args=(1099 * (get + b"\r\n") + get + b"connection: close\r\n\r\n",)
        )
        sender.start()
        while sock.recv(65536):
            pass
        sender.join()
    state = session.control("journal")
    assert (len(state["records"]), state["dropped"]) == (1000, 100)
    assert [record["id"] for record in state["records"]] == list(range(101, 1101))
    assert {record["ended"] for record in state["records"]} == {"complete"}
    assert len({record["connection"] for record in state["records"]}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("where", ["body", "headers"])
def test_four_mebibytes_are_kept(session, where):
    size = 300_000
    for _ in range(20):
        if where == "body":
            post(session, "/v1/completions", b"x" * size)
        else:
            key = f"Bearer {session.key}"
            session.stage.running.request("GET", "/health", authorization=key, x_long="x" * size)
    state = session.control("journal")
    assert state["dropped"] == 20 - len(state["records"])
    assert 4 * 2**20 - size - 1000 < len(state["records"]) * size <= 4 * 2**20


@pytest.mark.slow
def test_times_of_tokens_are_bounded_as_well(session):
    session.add(reply=["x"] * 5000)
    for _ in range(70):
        session.ask(Way("generate", False), max_tokens=5000)
    last = session.control("journal", after=69)
    assert last["records"][0]["tokens"] == 5000
    assert len(last["records"][0]["measured"]) == 4096
    assert 0 < last["dropped"] < 20


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b"{", b"", '{"é": "\U0001f990"}'.encode(), b"\xed\xa0\x80", b"\x00"]
)
def test_a_body_of_any_kind_comes_back_byte_for_byte(session, body):
    post(session, "/v1/completions", body)
    (record,) = session.records
    assert record["body"].encode("utf-8", "surrogateescape") == body


def test_pipelined_requests_are_told_apart(session):
    session.add(answers=[{"reply": "one"}, {"fail": 503}, {"reply": "two"}])
    requests = [CHAT_WHOLE.raw(session.key, text, last=text == "c") for text in "abc"]
    raw = session.stage.running.send(b"".join(requests))
    assert raw.count(b"HTTP/1.1 ") == 3
    records = session.records
    assert [json.loads(record["body"])["messages"][0]["content"] for record in records] == [*"abc"]
    assert [record["status"] for record in records] == [200, 503, 200]
    assert len({record["connection"] for record in records}) == 1


def test_connections_have_numbers(session):
    for _ in range(2):
        session.ask(CHAT)
    first, second = (record["connection"] for record in session.records)
    assert second > first


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_long_requests_are_scripted_and_recorded_as_well(session, way):
    session.add(when={"user": "needle"}, reply=["a", "b"])
    text = "x" * 100_000 + "needle"
    assert "".join(session.tokens(way, text)) == "ab"
    (record,) = session.records
    assert record["body"].encode() == way.body(text)
    assert (record["tokens"], record["ended"]) == (2, "complete")


def test_a_client_that_leaves_while_its_long_request_is_read_is_noticed(session):
    session.open(strict=True)
    text = "x" * 1_000_000
    for _ in range(5):
        with session.begun(CHAT, text):
            pass
    with session.begun(CHAT) as sock:
        take_until(sock, b"no_rule_matches")
    # Those that left may be read before that is known, one after another.
    records = session.wait(count=1)
    while any(record["ended"] is None for record in records):
        records = session.wait(count=len(records))


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status"),
    [
        ("/v1/chat/completions", b"{}", "text/plain", 415),
        ("/v1/chat/completions", b"{}", "application/json", 422),
        ("/v1/models", b"", "application/json", 405),
        ("/nowhere", b"x", "application/json", 404),
        ("/ws/generate", b"", "application/json", 405),
    ],
)
def test_what_is_refused_is_recorded(session, path, body, content_type, status):
    assert post(session, path, body, content_type).status == status
    (record,) = session.records
    assert (record["status"], record["path"], record["ended"]) == (status, path, "complete")


TOO_LARGE = b"content-length: %d\r\n\r\n" % (2**21 + 1) + b"x" * (2**21 + 1)
UNREAD = {
    "too large": (TOO_LARGE, 413),
    "broken": (b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n", 400),
    "broken off": (b"content-length: 9\r\n\r\nhello", 400),
}


def completion(session, rest: bytes) -> bytes:
    """A request whose head ends in ``rest``."""
    lines = [b"POST /v1/completions HTTP/1.1", b"host: x", b"content-type: application/json"]
    return b"\r\n".join([*lines, b"authorization: Bearer " + session.key.encode(), rest])


@pytest.mark.parametrize(("rest", "status"), UNREAD.values(), ids=UNREAD)
def test_a_request_is_recorded_whose_body_cannot_be_read(session, rest, status):
    session.add(when={"path": "/v1/completions"}, reply="never asked")
    with session.stage.running.connect() as sock:
        sock.sendall(completion(session, rest))
        sock.shutdown(socket.SHUT_WR)
        answer = Answer(read_all(sock))
    (record,) = session.wait()
    assert (answer.status, record["status"], record["ended"]) == (status, status, "complete")
    assert (record["path"], record["body"], record["rule"]) == ("/v1/completions", "", None)
    assert record["bytes"] == len(answer.raw)


def test_what_follows_a_body_that_was_too_large_is_recorded_for_itself(session):
    raw = session.stage.running.send(completion(session, TOO_LARGE), CHAT.raw(session.key))
    assert raw.count(b"HTTP/1.1 ") == 2
    assert [record["status"] for record in session.records] == [413, 200]


@pytest.mark.parametrize("is_large", [False, True])
def test_a_large_control_request_is_in_no_journal(session, is_large):
    first = CHAT_WHOLE.raw(session.key, last=False)
    if is_large:
        first = completion(session, TOO_LARGE)
    control = b"POST /fake-shimmy/control HTTP/1.1\r\nx-fake-shimmy-control: sesame\r\n"
    raw = session.stage.running.send(first + control + b"connection: close\r\n" + TOO_LARGE)
    (record,) = session.records
    assert record["bytes"] == raw.rindex(b"HTTP/1.1 400 ")


def test_a_wait_is_over_at_once_where_enough_has_come(session):
    session.ask(CHAT)
    began = time.monotonic()
    assert len(session.wait(seconds=3600)) == 1
    assert time.monotonic() - began < 5


def test_a_wait_is_over_when_the_request_comes(session):
    found = []

    def wait() -> None:
        from tests.support.staged_server import Session, Stage

        stage = Stage(session.stage.running)
        found.append(Session(stage, session.key).wait(when={"user": "second"}))
        stage.close()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    session.ask(CHAT, "the first")
    assert not found
    session.ask(CHAT, "the second")
    for thread in threads:
        thread.join(20)
    assert [len(records) for records in found] == [2, 2, 2]


def test_who_waits_may_leave(session):
    message = json.dumps({"op": "wait", "session": session.key, "seconds": 600}).encode()
    head = b"POST /fake-shimmy/control HTTP/1.1\r\nhost: x\r\nx-fake-shimmy-control: sesame\r\n"
    for _ in range(3):
        with session.stage.running.connect() as sock:
            sock.sendall(head + b"content-length: %d\r\n\r\n%b" % (len(message), message))
            session.control("journal")
    assert session.tokens(CHAT)
    assert len(session.wait()) == 1


def test_a_wait_ends_in_time(session):
    session.ask(CHAT)
    began = time.monotonic()
    state = session.control("wait", count=2, seconds=0.1)
    assert time.monotonic() - began >= 0.1
    assert (state["timed_out"], len(state["records"])) == (True, 1)


def test_a_wait_can_be_for_what_is_only_begun(session):
    session.add(faults=[{"do": "hang"}])
    with session.begun(CHAT):
        assert session.wait(finished=False)[0]["ended"] is None
        assert session.control("wait", seconds=0)["timed_out"]


def test_only_later_records_are_told(session):
    for text in ("a", "b", "c"):
        session.ask(CHAT, text)
    state = session.control("journal", after=2)
    assert [record["id"] for record in state["records"]] == [3]
    assert session.control("wait", after=2, seconds=0)["timed_out"] is False
    assert session.control("wait", after=3, seconds=0)["timed_out"] is True
