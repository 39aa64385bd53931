"""The recorder: what passes is not changed, and is kept to the byte, the chunk and the moment."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script.timed_answer import Chunk, TimedAnswer
from pytest_shimmy.cassettes.readers import (
    AnswerReader,
    Body,
    End,
    NotUnderstoodError,
    RequestHead,
    RequestReader,
)
from pytest_shimmy.cassettes.recorder_control import Recorded, RecorderControl
from pytest_shimmy.cassettes.recorder_process import RecorderProcess
from pytest_shimmy.errors import ShimmyError
from tests.pytest_shimmy.cassettes.upstream import (
    LONG,
    Answer,
    Upstream,
    read_all,
    read_until,
    sends,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Recording:
    """A recorder, and what a test does with it."""

    def __init__(self, directory: Path, server_key: str | None = None) -> None:
        self.process = RecorderProcess("127.0.0.1", directory / "recorder.log", server_key)
        self.control = RecorderControl(*self.process.address)
        self.control.open("key")
        self.control.use_cassette("key", "one")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.process.stop()

    def connect(self) -> socket.socket:
        parts = urlsplit(self.process.address.url)
        return socket.create_connection((parts.hostname or "", parts.port or 0), LONG)

    def ask(
        self, body: bytes = b"", *, path: str = "/x", headers: str = "", end: bytes = b""
    ) -> bytes:
        with self.connect() as client:
            client.sendall(request(body, path=path, headers=headers))
            return read_until(client, end) if end else read_all(client)[0]

    def take(self, count: int = 1) -> list[Recorded]:
        taken = list(self.control.take("key", LONG))
        assert len(taken) == count
        return taken

    def answer(self) -> TimedAnswer:
        (recorded,) = self.take()
        return recorded.recording.answer


def request(
    body: bytes = b"", *, path: str = "/x", headers: str = "", method: str = "POST"
) -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n".encode() + body


UPGRADE = request(headers="Upgrade: websocket\r\n", method="GET", path="/ws")
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
MESSAGE = b"\x81\x87\0\0\0\0" + b'{"a":1}'


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    with Recording(tmp_path) as recording:
        yield recording
    assert (tmp_path / "recorder.log").read_text() == ""


Start = Callable[..., Upstream]


@pytest.fixture
def upstream(recording: Recording) -> Iterator[Start]:
    """Start a server that answers so, and have it recorded."""
    started: list[Upstream] = []

    def start(*answers: Answer, context: ssl.SSLContext | None = None, path: str = "") -> Upstream:
        server = Upstream(*answers, context=context).__enter__()
        started.append(server)
        recording.process.use(server.url + path)
        return server

    yield start
    for server in started:
        server.__exit__(None, None, None)


# What is kept


def test_chunks_are_kept_as_they_were_framed(recording: Recording, upstream: Start) -> None:
    body = (
        b"3\r\nabc\r\n" + b"2\r\nde\r\n1\r\nf\r\n" + b"000a;x=1\r\n0123456789\r\n0\r\nt: 1\r\n\r\n"
    )
    upstream(sends(CHUNKED + body))
    assert recording.ask(b'{"a": 1}', end=b"t: 1\r\n\r\n") == CHUNKED + body
    (recorded,) = recording.take()
    assert recorded.cassette == "one"
    assert recorded.recording.request.document() == {
        "method": "POST",
        "path": "/x",
        "json": {"a": 1},
    }
    answer = recorded.recording.answer
    assert [chunk.data for chunk in answer.chunks] == [b"abc", b"de", b"f", b"0123456789", b""]
    assert answer.trailers == ["t: 1"]
    assert answer.end == "complete"
    assert answer.raw() == CHUNKED + body


def test_each_chunk_has_its_moment(recording: Recording, upstream: Start) -> None:
    first, second = threading.Event(), threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(CHUNKED + b"1\r\na\r\n")
        first.wait(LONG)
        client.sendall(b"1\r\nb\r\n")
        second.wait(LONG)
        client.sendall(b"0\r\n\r\n")

    upstream(answer)
    with recording.connect() as client:
        begun = time.monotonic()
        client.sendall(request(b"{}"))
        for end, event in ((b"a\r\n", first), (b"b\r\n", second)):
            read_until(client, end)
            threading.Event().wait(0.05)
            event.set()
        read_until(client, b"0\r\n\r\n")
        elapsed = 1000 * (time.monotonic() - begun)
    moments = [chunk.moment for chunk in recording.answer().chunks]
    assert all(end - begin >= 45 for begin, end in pairwise(moments))
    # Moments are rounded.
    assert moments[-1] <= elapsed + 1


@pytest.mark.parametrize(
    ("raw", "framing", "end"),
    [
        (b"HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\nabc", "length", "complete"),
        (b"HTTP/1.1 200 OK\r\nX: \xe9\r\n\r\nabc", "close", "complete"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "none", "complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "length", "closed"),
        (CHUNKED + b"3\r\nabc\r\n", "chunked", "closed"),
        (CHUNKED + b"3\r\nabc\r\n5\r\nab", "chunked", "closed"),
        (CHUNKED + b"3\r\nabc\r\nzz\r\nab", "chunked", "closed"),
        (b"HTTP/1.1 200 O", "close", "closed"),
        (b"", "close", "closed"),
        (b"nonsense\r\n\r\nmore", "close", "complete"),
    ],
)
def test_an_answer_is_kept_as_it_ended(
    recording: Recording, upstream: Start, raw: bytes, framing: str, end: str
) -> None:
    upstream(sends(raw, close=True))
    assert recording.ask() == raw
    answer = recording.answer()
    assert (answer.framing, answer.end) == (framing, end)
    assert answer.raw() == raw


def test_a_server_that_tears_the_connection_down_does_so_to_the_client(
    recording: Recording, upstream: Start
) -> None:
    goes_on = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(CHUNKED + b"1\r\na\r\n")
        goes_on.wait(LONG)
        sends(reset=True)(client)

    upstream(answer)
    with recording.connect() as client:
        client.sendall(request())
        assert read_until(client, b"a\r\n").endswith(b"1\r\na\r\n")
        goes_on.set()
        assert read_all(client) == (b"", "reset")
    answer_kept = recording.answer()
    assert answer_kept.end == "reset"
    assert answer_kept.raw() == CHUNKED + b"1\r\na\r\n"


def test_an_answer_that_refuses_the_rest_of_a_body_is_not_lost(
    recording: Recording, upstream: Start
) -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recording.process.use(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with recording.connect() as client:
            client.sendall(request(b"x" * 100, path="/refused"))
            server, _ = listener.accept()
            with server:
                server.recv(10)
                server.sendall(refusal)
            client.settimeout(LONG)
            received = b""
            with contextlib.suppress(ConnectionError):
                while data := client.recv(65536):
                    received += data
    assert received == refusal


def test_a_client_that_leaves_is_noticed_by_the_server(
    recording: Recording, upstream: Start
) -> None:
    has_left = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall(CHUNKED + b"1\r\na\r\n")
        read_all(client)
        has_left.set()

    upstream(answer)
    with recording.connect() as client:
        client.sendall(request())
        read_until(client, b"a\r\n")
    assert has_left.wait(LONG)
    assert recording.answer().end == "left"


def test_a_server_that_is_not_there_is_a_torn_connection(recording: Recording) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    recording.process.use(f"http://127.0.0.1:{port}")
    with recording.connect() as client:
        client.sendall(request())
        assert read_all(client) == (b"", "reset")
    assert recording.answer().end == "reset"


def test_answers_on_one_connection_belong_to_their_requests(
    recording: Recording, upstream: Start
) -> None:
    answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % n for n in range(3)]
    upstream(*map(sends, answers))
    with recording.connect() as client:
        client.sendall(b"".join(request(b'{"n": %d}' % n) for n in range(3)))
        received = b""
        while len(received) < len(b"".join(answers)):
            received += client.recv(4096)
    assert received == b"".join(answers)
    kept = [(each.recording.request.json["n"], each.recording.answer.body)
            for each in recording.take(3)]  # fmt: skip
    assert kept == [(0, b"0"), (1, b"1"), (2, b"2")]


@pytest.mark.parametrize("kind", ["body", "websocket"])
def test_exchanges_are_in_the_order_in_which_their_requests_were_whole(
    recording: Recording, upstream: Start, kind: str
) -> None:
    if kind == "body":
        begin, end = request(b"x")[:-1], b"x"
        upstream(*[sends(b"HTTP/1.1 204 No Content\r\n\r\n", close=True)] * 2)
    else:
        begin, end = UPGRADE, b"\x81\x81\0\0\0\0x"

        def answer(client: socket.socket) -> None:
            client.sendall(UPGRADED)
            assert client.recv(100) == end
            client.sendall(b"\x81\x02hi")
            client.close()

        upstream(answer, answer)
    with recording.connect() as one, recording.connect() as other:
        for client, number in ((one, b"1"), (other, b"2")):
            client.sendall(begin.replace(b"Host: a", b"X-API-Key: key-" + number))
            if kind == "websocket":
                assert read_until(client, b"\r\n\r\n") == UPGRADED
        for client in (other, one):
            client.sendall(end)
            read_all(client)
    assert [each.credentials for each in recording.take(2)] == [("key-2",), ("key-1",)]


def test_what_is_no_request_passes_and_is_not_kept(recording: Recording, upstream: Start) -> None:
    upstream()
    with recording.connect() as client:
        client.sendall(b"GARBAGE\r\n\r\n")
        assert read_all(client)[0] == b"What?"
    recording.take(0)


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02", b"GET / HTTP/1.1\rx", b"GET / HTTP/1.1\r\n\x7f"]
)
def test_what_will_be_no_request_passes_before_it_ends(
    recording: Recording, upstream: Start, raw: bytes
) -> None:
    upstream()
    with recording.connect() as client:
        client.sendall(raw)
        assert read_all(client)[0] == b"What?"
    recording.take(0)


@pytest.mark.parametrize("raw", [b"", b"GET / HT"])
def test_a_client_that_ends_within_a_head_is_ended_by_the_server(
    recording: Recording, upstream: Start, raw: bytes
) -> None:
    upstream()
    with recording.connect() as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == (b"", "closed")
    recording.take(0)


def test_an_interim_answer_is_no_answer(recording: Recording, upstream: Start) -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"
    upstream(sends(raw))
    assert recording.ask(b"x", end=b"\r\n\r\na") == raw
    assert recording.answer().head[0] == "HTTP/1.1 200 OK"


def test_frames_of_a_websocket_are_kept(recording: Recording, upstream: Start) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(UPGRADED)
        assert client.recv(100) == MESSAGE
        client.sendall(b"\x81\x02hi\x01\x01x")
        client.sendall(b"\x82\x7e\x00\x80" + b"y" * 128 + b"\x81")
        client.close()

    upstream(answer)
    with recording.connect() as client:
        client.sendall(UPGRADE)
        assert read_until(client, b"\r\n\r\n") == UPGRADED
        client.sendall(MESSAGE)
        assert read_all(client)[0].startswith(b"\x81\x02hi")
    (recorded,) = recording.take()
    assert recorded.recording.request.messages == [{"a": 1}]
    kept = recorded.recording.answer
    assert [(chunk.data, chunk.marker) for chunk in kept.chunks] == [
        (b"hi", ""),
        (b"x", "0101"),
        (b"y" * 128, "827e0080"),
        (b"\x81", "raw"),
    ]
    assert kept.raw() == UPGRADED + b"\x81\x02hi\x01\x01x\x82\x7e\x00\x80" + b"y" * 128 + b"\x81"


def test_frames_that_come_with_the_upgrade_are_kept(recording: Recording, upstream: Start) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(UPGRADED)
        assert client.recv(100) == MESSAGE
        client.sendall(b"\x81\x02hi")
        client.close()

    upstream(answer)
    with recording.connect() as client:
        client.sendall(UPGRADE + MESSAGE)
        assert read_all(client) == (UPGRADED + b"\x81\x02hi", "closed")
    (recorded,) = recording.take()
    assert recorded.recording.request.messages == [{"a": 1}]
    assert [chunk.data for chunk in recorded.recording.answer.chunks] == [b"hi"]


def test_a_request_after_an_upgrade_that_was_refused_is_a_request(
    recording: Recording, upstream: Start
) -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
    done = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    upstream(sends(refusal), sends(done, close=True))
    with recording.connect() as client:
        client.sendall(UPGRADE + request(b"{}"))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == (refusal + done, "closed")
    first, second = recording.take(2)
    assert first.recording.answer.raw() == refusal
    assert second.recording.answer.raw() == done


# Whose it is


def test_the_key_of_the_test_is_replaced_by_that_of_the_server(tmp_path: Path) -> None:
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with Recording(tmp_path, server_key="sk-of-the-server") as recording:
        with Upstream(*[sends(ok)] * 4) as server:
            recording.process.use(server.url)
            for headers in ("Authorization: Bearer key\r\n", "X-Api-Key: key\r\n", ""):
                recording.ask(headers=headers, end=b"\r\n\r\n")
            recording.ask(headers="Authorization: Bearer of-the-client\r\n", end=b"\r\n\r\n")
            *ours, theirs = server.requests
            assert all(b"sk-of-the-server" in raw and b"key\r\n" not in raw for raw in ours)
            assert b"Bearer of-the-client" in theirs
        assert [each.credentials for each in recording.take(4)] == [
            ("key",),
            ("key",),
            (),
            ("of-the-client",),
        ]


def test_the_key_may_be_in_the_path(recording: Recording, upstream: Start) -> None:
    server = upstream(sends(b"HTTP/1.1 204 No Content\r\n\r\n"))
    recording.ask(path="/~key/v1/models?x=1", end=b"\r\n\r\n")
    assert server.requests[0].startswith(b"POST /v1/models?x=1 HTTP/1.1\r\n")
    assert recording.take()[0].recording.request.path == "/v1/models?x=1"


def test_requests_of_several_test_processes_are_told_apart(
    recording: Recording, upstream: Start
) -> None:
    upstream(*[sends(b"HTTP/1.1 204 No Content\r\n\r\n")] * 2)
    recording.control.open("other")
    recording.control.use_cassette("other", "two")
    recording.ask(path="/a", headers="authorization: Bearer other\r\n", end=b"\r\n\r\n")
    recording.ask(path="/b", headers="authorization: Bearer key\r\n", end=b"\r\n\r\n")
    (theirs,) = recording.control.take("other")
    assert (theirs.cassette, theirs.recording.request.path) == ("two", "/a")
    assert recording.take()[0].recording.request.path == "/b"
    refusal = recording.ask(path="/c")
    assert refusal.startswith(b"HTTP/1.1 400 ")
    assert b"send it with the API key of the fixtures" in refusal
    recording.take(0)


def test_questions_of_the_harness_are_not_kept(recording: Recording, upstream: Start) -> None:
    upstream(sends(b"HTTP/1.1 204 No Content\r\n\r\n"))
    recording.ask(headers="authorization: Bearer shimmy-harness\r\n", end=b"\r\n\r\n")
    recording.take(0)


def test_no_compression_is_asked_for(recording: Recording, upstream: Start) -> None:
    server = upstream(sends(b"HTTP/1.1 204 No Content\r\n\r\n"))
    recording.ask(headers="Accept-Encoding: gzip, br\r\n", end=b"\r\n\r\n")
    assert b"Accept-Encoding: identity\r\n" in server.requests[0]


def test_what_is_on_its_way_has_its_time_and_is_cut_then(
    recording: Recording, upstream: Start
) -> None:
    upstream(sends(CHUNKED + b"1\r\na\r\n"))
    with recording.connect() as client:
        client.sendall(request())
        read_until(client, b"a\r\n")
        (recorded,) = recording.control.take("key", 0.01)
    assert recorded.recording.answer.end == "left"
    assert [chunk.data for chunk in recorded.recording.answer.chunks] == [b"a"]


def test_a_stranger_cannot_control_it(recording: Recording, upstream: Start) -> None:
    upstream(sends(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"))
    stranger = RecorderControl(recording.process.address.url, "wrong")
    with pytest.raises(ShimmyError, match="no remote control"):
        stranger.take("key").__next__()
    stranger.close()
    assert recording.process.address.token not in repr(recording.process.address)


# Its life


@pytest.mark.slow
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from pytest_shimmy.cassettes.recorder_process import RecorderProcess\n"
        f"process = RecorderProcess('127.0.0.1', Path({str(tmp_path / 'log')!r}))\n"
        "print(process._process.pid, flush=True)\n"
        "sys.stdin.readline()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = ["python", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        recorder = psutil.Process(int(parent.stdout.readline()))
        parent.stdin.write(b"\n")
        parent.stdin.flush()
        recorder.wait(LONG)


def test_a_server_behind_tls_is_recorded_too(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    raw = CHUNKED + b"1\r\na\r\n0\r\n\r\n"
    with Recording(tmp_path) as recording:
        with Upstream(sends(raw), context=context) as server:
            recording.process.use(f"{server.url}/api/")
            assert recording.ask(path="/v1/x", end=b"0\r\n\r\n") == raw
            assert server.requests[0].startswith(b"POST /api/v1/x HTTP/1.1\r\n")
            assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in server.requests[0]
        assert recording.answer().raw() == raw


def test_a_certificate_that_nobody_trusts_is_refused(
    recording: Recording, upstream: Start, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream(context=context)
    with recording.connect() as client:
        client.sendall(request())
        assert read_all(client) == (b"", "reset")


# The readers, without sockets


@pytest.mark.slow
@given(
    st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    st.sampled_from(["chunked", "length", "close"]),
    st.lists(st.integers(1, 40), min_size=1),
    st.booleans(),
)
def test_however_bytes_come_in_the_same_is_read(
    pieces: list[bytes], framing: str, cuts: list[int], lower: bool
) -> None:
    body = b"".join(pieces)
    head = {"chunked": "transfer-encoding: chunked", "length": f"content-length: {len(body)}"}
    sent = TimedAnswer(
        head=["HTTP/1.1 200 OK", head.get(framing, "x: y")],
        framing=framing,
        lower_hex=lower,
        chunks=[Chunk(0, piece) for piece in pieces],
    )
    if framing == "chunked":
        sent.chunks.append(Chunk(0, b""))
    raw, reader, at = sent.raw(), AnswerReader("GET"), 0
    for size in [*cuts, len(raw) + 1]:
        reader.feed(raw[at : at + size], 0)
        at += size
    answer = reader.end("closed", 0)
    assert answer.raw() == raw
    assert answer.body == body
    if framing == "chunked":
        assert [chunk.data for chunk in answer.chunks] == [chunk.data for chunk in sent.chunks]


@pytest.mark.slow
@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1))
def test_whatever_a_server_sends_is_kept(raw: bytes, cuts: list[int]) -> None:
    reader, at = AnswerReader("GET"), 0
    for data in (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", raw):
        for size in [*cuts, len(data) + 1]:
            at = min(at, len(data))
            if data[at : at + size] and not reader.is_complete:
                reader.feed(data[at : at + size], 0)
            at += size
        at = 0
    answer = reader.end("closed", 0)
    assert (CHUNKED + raw).startswith(answer.raw())
    if not answer.chunks or answer.chunks[-1].data or answer.chunks[-1].marker:
        assert answer.raw() == CHUNKED + raw


@pytest.mark.slow
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1), st.lists(st.integers(1, 30)))
def test_a_request_in_chunks_is_read_whole(pieces: list[bytes], cuts: list[int]) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    head = b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    raw, reader, at = (head + body) * 2, RequestReader(), 0
    parts: list[object] = []
    for size in [*cuts, len(raw) + 1]:
        parts += reader.feed(raw[at : at + size])
        at += size
    assert sum(isinstance(part, RequestHead) for part in parts) == 2
    assert sum(isinstance(part, End) for part in parts) == 2
    bodies = [part for part in parts if isinstance(part, Body)]
    assert b"".join(part.raw for part in bodies) == body * 2
    assert b"".join(part.content for part in bodies) == b"".join(pieces) * 2


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_given_back(raw: bytes) -> None:
    reader = RequestReader()
    parts: list[object] = []
    with pytest.raises(NotUnderstoodError):
        parts += reader.feed(raw)
    assert raw.endswith(reader.rest())


def test_a_recording_says_in_json_what_it_can(recording: Recording, upstream: Start) -> None:
    upstream(*[sends(b"HTTP/1.1 204 No Content\r\n\r\n")] * 3)
    for body in (b'{"a":[1]}', b"not json", b"\xff\xfe"):
        recording.ask(body, end=b"\r\n\r\n")
    documents = [each.recording.request.document() for each in recording.take(3)]
    assert [set(each) - {"method", "path"} for each in documents] == [
        {"json"},
        {"text"},
        {"base64"},
    ]
    assert json.dumps(documents)
