"""What a session was asked, in memory: noted before it is answered, and as the journal has it."""

from __future__ import annotations

import json
import mmap
import struct

import pytest

from fake_shimmy.stage.shared_journal import RECORDS, SIZE, UNKNOWN
from tests.support.staged_server import CHAT, WAYS, staged_server, take_until

pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MAP_SHARED"), reason="no fake is told where its memory is there"
)


class Shared:
    """A session with a file of messages, and the memory in which it is noted."""

    def __init__(self, session, folder):
        self.session = session
        self.messages = folder / "messages"
        self.messages.touch()
        self.path = folder / "journal"
        self.path.write_bytes(bytes(SIZE))
        session.control("follow", file=str(self.messages), shared=str(self.path))

    def write(self, *messages):
        with self.messages.open("a") as file:
            file.writelines(json.dumps(message) + "\n" for message in messages)

    @property
    def counts(self):
        """The number of the session, how many requests have begun, and how many are over."""
        return struct.unpack("@QII", self.path.read_bytes()[:16])

    @property
    def records(self):
        data = self.path.read_bytes()
        (end,) = struct.unpack("@I", data[16:20])
        return json.loads(b"[" + data[RECORDS + 1 : end] + b"]")

    def over(self, count):
        """The records, when so many are over."""
        self.session.wait(count=count)
        return self.records


@pytest.fixture
def shared(session, tmp_path):
    yield Shared(session, tmp_path)
    session.control("follow")


def opening(number, *rules):
    return {"op": "open", "number": number, "script": {"rules": list(rules)}}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_noted_is_what_the_journal_has(shared, way):
    shared.write(opening(7, {"when": {"user": "hi"}, "reply": ["one", " two"]}))
    shared.session.ask(way)
    shared.session.ask(way, "other")
    records = shared.over(2)
    assert records == shared.session.records
    assert [record["rule"] for record in records] == [1, None]
    assert shared.counts == (7, 2, 2)


def test_a_request_is_noted_before_its_answer_begins(shared):
    rule = {"reply": ["a", "b"], "latency": {"per_token": 3600}}
    shared.write(opening(1, rule))
    with shared.session.begun(CHAT) as sock:
        take_until(sock, b"HTTP/1.1 200 OK\r\n")
        assert shared.counts == (1, 1, 0)
    assert [record["ended"] for record in shared.over(1)] == ["client_left"]
    assert shared.counts == (1, 1, 1)


def test_a_session_that_is_opened_begins_anew_and_nothing_of_the_one_before_comes_to_it(shared):
    shared.write(opening(1, {"reply": ["a", "b"], "latency": {"per_token": 3600}}))
    with shared.session.begun(CHAT) as sock:
        take_until(sock, b"HTTP/1.1 200 OK\r\n")
        shared.write(opening(2))
        shared.session.ask(CHAT, "new")
        shared.over(1)
    records = shared.over(1)
    shared.session.control("open", number=3)
    assert [json.loads(each["body"])["messages"][0]["content"] for each in records] == ["new"]
    assert shared.counts == (3, 0, 0)


def test_a_session_without_a_number_is_not_noted(shared):
    shared.write(opening(1))
    shared.session.ask()
    shared.over(1)
    shared.session.open()
    shared.session.ask()
    assert shared.session.wait(count=1)
    assert shared.counts == (1, 1, 1)


def test_what_there_is_no_room_for_has_to_be_asked_for_until_another_session(shared):
    shared.write(opening(1))
    shared.session.ask(CHAT, "x" * SIZE)
    shared.session.ask(CHAT, "small")
    assert shared.session.wait(count=2)
    assert shared.counts[:2] == (1, UNKNOWN)
    shared.write(opening(2))
    shared.session.ask(CHAT, "small")
    assert shared.over(1)
    assert shared.counts == (2, 1, 1)


def test_who_was_refused_a_message_has_to_ask_and_is_told(shared):
    shared.write(opening(1), {"op": "add", "rule": {"replay": "x"}})
    shared.session.ask()
    shared.write(opening(2))
    shared.session.ask()
    assert shared.counts[1] == UNKNOWN
    status, body = shared.session.stage.send(
        json.dumps({"op": "journal", "session": shared.session.key})
    )
    assert (status, b"replay" in body) == (400, True)


def test_memory_that_cannot_be_had_is_refused(session, tmp_path):
    messages = tmp_path / "messages"
    messages.touch()
    for name, content in (("nowhere", None), ("small", b"x")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        message = {"op": "follow", "session": session.key, "file": str(messages)}
        status, body = session.stage.send(json.dumps({**message, "shared": str(path)}))
        assert status == 400, body
    assert session.stage.running.request("GET", "/health").status == 200


def test_its_memory_outlives_the_file_and_the_session(shimmy, tmp_path):
    with staged_server(shimmy) as stage:
        shared = Shared(stage.session(), tmp_path)
        with open(shared.path, "r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
            shared.path.unlink()
            shared.write(opening(1))
            shared.session.ask()
            stage.control(op="wait", session=shared.session.key, seconds=30)
            shared.session.control("follow")
            shared.session.control("close")
            shared.session.open()
            shared.session.ask()
            assert struct.unpack("@QII", memory[:16]) == (1, 1, 1)
