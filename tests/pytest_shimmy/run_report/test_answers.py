"""What was sent is read again: bodies, events, messages, and when each of them left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.run_report import answers
from pytest_shimmy.run_report.answers import Writes

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def read(*pieces: bytes, status: int = 200) -> answers.Answer:
    """The answer whose pieces left a second apart."""
    return answers.read(b"".join(pieces), writes(*pieces), status)


def writes(*pieces: bytes) -> Writes:
    return Writes(range(len(pieces)), [len(piece) for piece in pieces])


def told(answer: answers.Answer) -> list[tuple[float, str]]:
    return list(zip(answer.moments, answers.events(answer), strict=True))


def test_a_body_is_text() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"
    answer = read(head + '{"a":"é"}'.encode())
    assert (answer.text, answer.moments) == ('{"a":"é"}', [])
    assert answer.headers.startswith("HTTP/1.1 200 OK")


def test_each_event_of_a_stream_has_its_moment() -> None:
    events = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
    answer = read(HEAD, *map(chunk, events[:2]), chunk(events[2]) + b"0\r\n\r\n")
    assert told(answer) == [(1, "data: one"), (2, "data: two"), (3, "data: [DONE]")]


def test_a_chunk_of_a_size_that_is_none_ends_what_is_read() -> None:
    answer = read(HEAD, chunk(b"data: one\n\n"), b"-c\r\ndata: two\n\n")
    assert answers.events(answer) == ["data: one"]


def test_a_stream_that_was_cut_shows_what_came() -> None:
    answer = read(HEAD, chunk(b"data: one\n\n"), b"b\r\ndata: tw")
    assert answers.events(answer) == ["data: one", "data: tw"]


def test_messages_of_a_websocket_are_events() -> None:
    # A server's frames are not masked.
    frames = [b"\x81\x03one", b"\x81\x7e\x00\x80" + b"x" * 128]
    answer = read(*frames, status=101)
    assert told(answer) == [(0, "one"), (1, "x" * 128)]


@given(st.binary(max_size=400), st.sampled_from([200, 101, None, 500]))
def test_nothing_that_was_sent_is_an_error(raw: bytes, status: int | None) -> None:
    told(answers.read(raw, writes(raw), status))
    told(answers.read(HEAD + raw, writes(HEAD, raw), status))
    told(answers.read(HEAD + raw, writes(), status))


@given(st.lists(st.lists(st.sampled_from([b"\n", b"a", b"\r\n", b"b"]), max_size=9), max_size=5))
def test_what_is_read_does_not_depend_on_how_it_was_cut(parts: list[list[bytes]]) -> None:
    bodies = [b"".join(part) for part in parts]
    whole = b"".join(map(chunk, filter(None, bodies))) + b"0\r\n\r\n"
    answer = read(HEAD, whole)
    assert answer.text == b"".join(bodies).decode()
    assert [text for _, text in told(answer)] == [
        text for each in answer.text.split("\n\n") if (text := each.strip("\n"))
    ]
