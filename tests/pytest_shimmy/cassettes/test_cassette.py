"""Cassettes as files: exact, readable, and touched only by what has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script.same_request import Sameness
from fake_shimmy.script.timed_answer import Chunk, TimedAnswer, frame_head, read_recording
from pytest_shimmy.cassettes import folder as room
from pytest_shimmy.cassettes.cassette import (
    Cassette,
    Origin,
    read_cassette,
    text_of,
    write_document,
)
from pytest_shimmy.cassettes.folder import Folder
from pytest_shimmy.cassettes.merge import is_alike, merged
from pytest_shimmy.cassettes.rules import Rules, read_rules
from pytest_shimmy.errors import ShimmyError, ShimmyErrorCode
from tests.pytest_shimmy.cassettes.recordings import answered, asked, event, recording

ORIGIN = Origin("2026-11-20", "shimmy 2.6.5", model="tiny")


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.binary(min_size=1, max_size=40))),
    st.sampled_from(["chunked", "close", "length", "frames"]),
    st.booleans(),
)
def test_what_was_written_is_read_back_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[tuple[float, bytes]],
    framing: str,
    lower: bool,
) -> None:
    if framing == "chunked":
        chunks = [*chunks, (0.0, b"")]
    answer = TimedAnswer(
        head=["HTTP/1.1 200 OK", "x: \xe9"],
        framing=framing,
        lower_hex=lower,
        chunks=[Chunk(at, data) for at, data in chunks],
    )
    whole = recording({"a": 1})
    whole.answer = answer
    folder = Folder(tmp_path_factory.mktemp("c"))
    folder.write("a/b", Cassette(ORIGIN, [whole]))
    read = folder.read("a/b")
    assert read is not None
    assert read.origin == ORIGIN
    again = read.exchanges[0].answer
    assert again.raw() == answer.raw()
    assert [(chunk.moment, chunk.data) for chunk in again.chunks] == chunks


def test_chunks_are_framed_as_they_were() -> None:
    answer = answered(b"x" * 10, trailers=["x-sum: 1"])
    assert answer.raw() == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"A\r\nxxxxxxxxxx\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    answer.lower_hex = True
    assert b"\r\na\r\nxxx" in answer.raw()
    answer.chunks[0].marker = "000a;ext=1"
    assert b"000a;ext=1\r\nxxx" in answer.raw()


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_are_framed_as_a_server_does(size: int) -> None:
    answer = TimedAnswer(framing="frames", chunks=[Chunk(0, b"x" * size)])
    assert answer.raw() == frame_head(size) + b"x" * size
    other = TimedAnswer(framing="frames", chunks=[Chunk(0, b"x", "0101")])
    assert other.raw() == b"\x01\x01x"


def test_a_person_can_read_it() -> None:
    whole = recording({"model": "tiny", "stream": True}, event("Par"), b"\xff\x00")
    text = text_of(Cassette(ORIGIN, [whole]).document())
    assert (
        text
        == """{
  "format": 1,
  "recorded": {
    "at": "2026-11-20",
    "server": "shimmy 2.6.5",
    "model": "tiny"
  },
  "exchanges": [
    {
      "request": {
        "method": "POST",
        "path": "/v1/chat/completions",
        "json": {
          "model": "tiny",
          "stream": true
        }
      },
      "answer": {
        "head": [
          "HTTP/1.1 200 OK",
          "transfer-encoding: chunked"
        ],
        "at": 0.0,
        "framing": "chunked",
        "chunks": [
          [0.0, "data: {\\"choices\\": [{\\"delta\\": {\\"content\\": \\"Par\\"}}]}\\n\\n"],
          [1.0, {"base64": "/wA="}],
          [2.0, ""]
        ]
      }
    }
  ]
}
"""
    )


def chunked(chunks: str, framing: str = "chunked") -> str:
    """A cassette with these chunks, in its third line."""
    return (
        '{"format":1,"recorded":{"at":"","server":""},"exchanges":[{"request":{},"answer":\n'
        f'{{"head":["HTTP/1.1 200 OK"],"framing":"{framing}","chunks":[\n{chunks}]}}}}]}}'
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("[1]", "its format is None, and this release reads 1"),
        ('{"format": 9}', "its format is 9, and this release reads 1: record it again"),
        ("{", "cannot be read"),
        ('{"format": 1}', "it is not a cassette"),
        (
            '{"format":1,"recorded":{"at":"","server":""},"exchanges":[{"request":{"methd":"GET"}}]}',
            "exchanges[0].request.methd: there is no such member",
        ),
        (
            '{"format":1,"recorded":{"at":"","server":""},"exchanges":[{"request":{},'
            '"answer":{"framing":"chunked","chunks":[[1,{"base64":"!"}]]}}]}',
            "exchanges[0].answer.chunks[0][1]: this is not base64",
        ),
        (
            '{"format":1,"recorded":{"at":"","server":""},"exchanges":[{"request":{},'
            '"answer":{"head":["HTTP/1.1 200 OK\\r\\nx: y"]}}]}',
            "is not a line of a head",
        ),
        (
            '{"format":1,"recorded":{"at":"","server":""},"exchanges":[{"request":{},"answer":'
            '{"head":["HTTP/1.1 200 OK","content-length: 3"],"framing":"length",'
            '"chunks":[[0,"ab"]]}}]}',
            "exchanges[0].answer: its content-length is 3, and its chunks have 2 bytes; "
            "write content-length: 2, or record it again",
        ),
        (chunked('[0,"ab"]'), ", line 3: exchanges[0].answer.chunks[0]: its last chunk is missing"),
        (chunked('[0,"ab"],[2.5,"c"]'), 'add [2.5, ""] after the others'),
        (chunked(""), ", line 2: exchanges[0].answer.chunks[0]: its last chunk is missing"),
        (chunked('[0,""],[2,"c"],[3,""]'), "an empty chunk is the last of an answer"),
        (
            chunked('[0,"abc","2;x"],[3,""]'),
            "chunks[0]: '2;x' says that it has 2 bytes, and it has 3; correct that, or take it out",
        ),
        (chunked('[0,"abc","82"]', "frames"), "'82' is not a marker of a chunk"),
        (chunked('[0,"abc","8202"]', "frames"), "'8202' says that it has 2 bytes, and it has 3"),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_with_its_name_and_place(
    tmp_path: Path, document: str, reason: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(document)
    with pytest.raises(ShimmyError) as caught:
        read_cassette(path)
    assert caught.value.code is ShimmyErrorCode.CASSETTE_INVALID
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_cassette(tmp_path / "a.json") is None


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(ShimmyError, match="cannot be written"):
        write_document(tmp_path / "a" / "b.json", {})


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    write_document(tmp_path / "a" / "b.json", {"format": 1})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("tests/test_a.py::test_b", "tests/test_a/test_b"),
        ("test_a.py::TestB::test_c[x-1]", "test_a/TestB.test_c[x-1]"),
        ("test_a.py::test_c[a::b]", "test_a/test_c[a.b]"),
    ],
)
def test_a_test_has_a_file_by_its_name(node_id: str, name: str) -> None:
    assert room.test_name(node_id) == name


@pytest.mark.parametrize("parameter", ["a/b", "a b\n", "é*", "x" * 300, "../../etc"])
def test_a_name_that_no_file_can_have_is_told_apart_by_its_digest(
    tmp_path: Path, parameter: str
) -> None:
    names = {room.test_name(f"test_a.py::test_c[{each}]") for each in (parameter, f"{parameter}?")}
    assert len(names) == 2
    folder = Folder(tmp_path)
    for name in names:
        folder.write(name, Cassette(ORIGIN, []))
    assert set(folder.names()) == names


def test_a_test_outside_of_the_root_stays_in_the_folder() -> None:
    assert room.test_name("../other/test_a.py::test_b") == "_/other/test_a/test_b"


def test_the_fixtures_file_is_next_to_those_of_its_module() -> None:
    assert room.fixture_name("tests/test_a.py", "warm") == "tests/test_a/fixture-warm"
    assert room.fixture_name("tests", "warm") == "tests/fixture-warm"
    assert room.fixture_name("", "warm[0]") == "fixture-warm[0]"


def test_names_of_the_users_choice_stay_in_the_folder() -> None:
    assert room.marker_name("greetings/one.json") == "greetings/one"
    for wrong in ("", "/etc/x", "../x", "a/../../b", "a*"):
        with pytest.raises(ValueError, match="is not a name"):
            room.marker_name(wrong)


def test_a_removed_cassette_takes_its_empty_folder_along(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a/b/c", Cassette(ORIGIN, []))
    folder.write("a/d", Cassette(ORIGIN, []))
    folder.remove("a/b/c")
    assert [*folder.names()] == ["a/d"]
    assert not (tmp_path / "a" / "b").exists()


def test_what_is_known_of_the_server_is_written_when_it_is_news(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_server({"format": 1, "version": "2.6.5"})
    before = folder.file("server").stat().st_mtime_ns
    folder.write_server({"format": 1, "version": "2.6.5"})
    assert folder.file("server").stat().st_mtime_ns == before
    assert folder.server() == {"format": 1, "version": "2.6.5"}
    assert [*folder.names()] == []


# What a new recording changes


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (answered(event("a", id="x", created=1)), answered(event("a", id="y", created=2)), True),
        (answered(event("a")), answered(event("b")), False),
        (answered(event("a"), event("b")), answered(event("a") + event("b")), False),
        (answered(head=["date: Mon"]), answered(head=["date: Tue"]), True),
        (answered(head=["x-request-id: 1"]), answered(head=["x-request-id: 2"]), True),
        (answered(head=["a: 1", "b: 2"]), answered(head=["b: 2", "a: 1"]), False),
        (answered(end="reset"), answered(), False),
        (
            answered(framing="close", chunks=[Chunk(0, b"ab"), Chunk(1, b"c")]),
            answered(framing="close", chunks=[Chunk(0, b"abc")]),
            True,
        ),
        (
            answered(end="left", chunks=[Chunk(0, b"a"), Chunk(1, b"b")]),
            answered(end="left", chunks=[Chunk(0, b"a")]),
            True,
        ),
        (
            answered(framing="frames", end="left", chunks=[Chunk(0, b"a"), Chunk(1, b"b")]),
            answered(framing="frames", end="left", chunks=[Chunk(0, b"a")]),
            True,
        ),
        (  # it answers what a client makes up each time
            answered(framing="frames", chunks=[], head=["sec-websocket-accept: a="]),
            answered(framing="frames", chunks=[], head=["sec-websocket-accept: b="]),
            True,
        ),
    ],
)
def test_answers_are_alike_apart_from_moments_ids_and_dates(
    one: TimedAnswer, other: TimedAnswer, alike: bool
) -> None:
    one.at, other.at = 1.0, 2.0
    assert is_alike(one, other) is alike


def test_an_answer_that_says_the_same_keeps_its_stored_form_and_place() -> None:
    stored = [recording({"n": n}, event(f"{n}", id="old")) for n in range(3)]
    new = [recording({"n": n}, event(f"{n}", id="new")) for n in (2, 0, 1)]
    new[1].answer = answered(event("other"))
    result = merged(stored, new, Sameness())
    assert result[0] is new[1]
    assert result[1:] == stored[1:]


def test_repeated_requests_are_compared_in_their_order() -> None:
    stored = [recording({}, b"1"), recording({}, b"2")]
    new = [recording({}, b"1"), recording({}, b"3"), recording({}, b"4")]
    assert merged(stored, new, Sameness()) == [stored[0], new[1], new[2]]


def test_what_is_not_asked_any_more_goes_unless_it_is_to_be_kept() -> None:
    stored, new = (
        [recording({"a": 1}, b"1"), recording({"b": 1}, b"2")],
        [recording({"b": 1}, b"9")],
    )
    assert merged(stored, new, Sameness()) == new
    assert merged(stored, new, Sameness(), keep=True) == [stored[0], new[0]]


def test_only_what_is_missing_is_added_if_that_is_wanted() -> None:
    stored, new = (
        [recording({"a": 1}, b"1")],
        [recording({"a": 1}, b"9"), recording({"b": 1}, b"2")],
    )
    assert merged(stored, new, Sameness(), only_missing=True) == [stored[0], new[1]]


def test_exchanges_with_other_servers_of_the_test_are_other_exchanges() -> None:
    shared, own = recording({}, b"1"), recording({}, b"2")
    own.server = 1
    assert merged([own], [shared], Sameness()) == [shared]
    assert read_recording(own.document()).server == 1


# The rules


def test_rules_are_read_from_the_folder(tmp_path: Path) -> None:
    assert read_rules(tmp_path) == Rules()
    (tmp_path / "cassettes.toml").write_text('ignore = ["metadata.id"]\nsecret = ["a+"]')
    assert read_rules(tmp_path) == Rules(ignore=("metadata.id",), secret=("a+",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ignore = 1", "ignore is a list of strings"),
        ("ignor = []", "there is no 'ignor'; there are: ignore, varying, secret"),
        ('ignore = ["a["]', "is not a path"),
        ('varying = ["("]', "is not a pattern"),
        ("=", "Invalid statement"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "cassettes.toml").write_text(text)
    with pytest.raises(ShimmyError, match=reason) as caught:
        Folder(tmp_path)
    assert "cassettes.toml" in str(caught.value)


def test_a_recording_of_half_a_character_is_kept_as_text() -> None:
    request = asked(b'{"a": "\\ud800"}')
    assert request.json is ...
    assert request.text == '{"a": "\\ud800"}'
    document: Any = json.loads(text_of(request.document()))
    assert document["text"] == '{"a": "\\ud800"}'
