"""What was sent is read again: bodies, events, messages, and when each of them left."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.run_report import answers

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def read(*pieces: bytes, status: int = 200) -> answers.Answer:
    """The answer whose pieces left a second apart."""
    moments = [(float(number), len(piece)) for number, piece in enumerate(pieces)]
    return answers.read(b64encode(b"".join(pieces)).decode(), moments, status)


def test_a_body_is_text() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"
    answer = read(head + '{"a":"é"}'.encode())
    assert (answer.text, answer.events) == ('{"a":"é"}', [])
    assert answer.headers.startswith("HTTP/1.1 200 OK")


def test_each_event_of_a_stream_has_its_moment() -> None:
    events = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
    answer = read(HEAD, *map(chunk, events[:2]), chunk(events[2]) + b"0\r\n\r\n")
    assert answer.events == [(1.0, "data: one"), (2.0, "data: two"), (3.0, "data: [DONE]")]


def test_a_chunk_of_a_size_that_is_none_ends_what_is_read() -> None:
    answer = read(HEAD, chunk(b"data: one\n\n"), b"-c\r\ndata: two\n\n")
    assert [text for _, text in answer.events] == ["data: one"]


def test_a_stream_that_was_cut_shows_what_came() -> None:
    answer = read(HEAD, chunk(b"data: one\n\n"), b"b\r\ndata: tw")
    assert [text for _, text in answer.events] == ["data: one", "data: tw"]


def test_messages_of_a_websocket_are_events() -> None:
    # A server's frames are not masked.
    frames = [b"\x81\x03one", b"\x81\x7e\x00\x80" + b"x" * 128]
    answer = read(*frames, status=101)
    assert answer.events == [(0.0, "one"), (1.0, "x" * 128)]


@given(st.binary(max_size=400), st.sampled_from([200, 101, None, 500]))
def test_nothing_that_was_sent_is_an_error(raw: bytes, status: int | None) -> None:
    answers.read(b64encode(raw).decode(), [(0.5, len(raw))], status)
    answers.read(b64encode(HEAD + raw).decode(), [], status)
