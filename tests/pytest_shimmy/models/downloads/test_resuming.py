"""A server that cuts, stalls and lies: what has arrived is used as far as it is certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import fileserver
from tests.programs.fileserver import NAME, FileServer, chunked, claim, cut, reset, stall, status
from tests.support.downloads import (
    CONTENT,
    HALF,
    Fetch,
    left_in,
    refusal,
)

PASSING = {
    "cut": cut(HALF),
    "stalled": stall(HALF),
    "shorter than said": claim(len(CONTENT), CONTENT[:HALF], ETag='"one"'),
    "only a head": cut(0),
    "no answer": reset,
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "504": status(504),
    "429 at once": status(429, Retry_After=0),
    "503 since long ago": status(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    "429 soon": status(429, Retry_After="soon"),
    "no last chunk": chunked(CONTENT[:HALF], end=False),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", PASSING)
def test_a_passing_failure_is_got_over(
    failure: str, fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [PASSING[failure]]
    assert fetch(timeout=1).read_bytes() == CONTENT
    assert left_in(target) == [NAME]
    assert len(files.requests) == 2


def test_what_has_arrived_is_not_asked_for_again(fetch: Fetch, files: FileServer) -> None:
    files.answers = [cut(200_000), cut(400_000), cut(600_000)]
    assert fetch(retries=1).read_bytes() == CONTENT
    begins = [int((asked or "bytes=0-")[6:-1]) for asked in files.ranges]
    assert begins == sorted(begins)
    assert [begin // 100_000 for begin in begins] == [0, 1, 3, 5]
    assert [request.headers.get("if-range") for request in files.requests] == [
        None,
        *['"one"'] * 3,
    ]


def test_a_server_without_ranges_sends_all_of_it_again(fetch: Fetch, files: FileServer) -> None:
    files.answers = [cut(HALF), claim(len(CONTENT), CONTENT)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[1] is not None


def test_without_a_validator_only_a_digest_lets_pieces_be_joined(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.etag = None
    files.answers = [cut(HALF)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None, None]
    (target / NAME).unlink()
    files.answers = [cut(HALF)]
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert files.ranges[3] is not None


def test_a_weak_tag_is_no_validator(fetch: Fetch, files: FileServer) -> None:
    files.etag = 'W/"one"'
    files.answers = [cut(HALF)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None, None]


def test_the_date_of_the_last_change_is_a_validator_too(fetch: Fetch, files: FileServer) -> None:
    date = "Sat, 01 Aug 2026 00:00:00 GMT"
    files.answers = [claim(len(CONTENT), CONTENT[:HALF], Last_Modified=date)]
    assert fetch().read_bytes() == CONTENT
    assert files.requests[1].headers["if-range"] == date


def test_a_piece_that_comes_without_the_tag_does_not_lose_it(
    fetch: Fetch, files: FileServer
) -> None:
    def untagged(handler: fileserver.Handler, asked: fileserver.Request) -> None:
        files.etag, tag = None, files.etag
        headers = {name: value for name, value in asked.headers.items() if name != "if-range"}
        fileserver.piece(handler, asked._replace(headers=headers), 700_000)
        files.etag = tag

    files.answers = [cut(300_000), untagged]
    assert fetch().read_bytes() == CONTENT
    assert files.requests[2].headers["if-range"] == '"one"'


def test_a_file_that_changed_meanwhile_is_fetched_anew(fetch: Fetch, files: FileServer) -> None:
    def replace(handler: fileserver.Handler, asked: fileserver.Request) -> None:
        files.content, files.etag = CONTENT[::-1], '"two"'
        fileserver.whole(handler, asked)

    files.answers = [cut(HALF), replace]
    assert fetch().read_bytes() == CONTENT[::-1]


def test_a_piece_of_another_file_is_not_joined_even_if_the_server_ignores_the_condition(
    fetch: Fetch, files: FileServer
) -> None:
    def replace(handler: fileserver.Handler, asked: fileserver.Request) -> None:
        files.content, files.etag = CONTENT[::-1], '"two"'
        unconditional = {k: v for k, v in asked.headers.items() if k != "if-range"}
        fileserver.whole(handler, asked._replace(headers=unconditional))

    files.answers = [cut(HALF), replace]
    assert fetch().read_bytes() == CONTENT[::-1]
    assert files.ranges[2] is None


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/10", "bytes */10", "nonsense", "", f"bytes 5-{HALF}/{HALF}"]
)
def test_another_range_than_was_asked_for_is_not_joined(
    content_range: str, fetch: Fetch, files: FileServer
) -> None:
    files.answers = [cut(HALF), claim(10, b"x" * 10, 206, Content_Range=content_range)]
    assert fetch().read_bytes() == CONTENT


def test_a_file_that_has_become_shorter_is_fetched_anew(fetch: Fetch, files: FileServer) -> None:
    files.answers = [cut(HALF), status(416, Content_Range="bytes */10")]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[2] is None


def test_pieces_that_do_not_fit_are_fetched_anew_once(fetch: Fetch, files: FileServer) -> None:
    files.answers = [claim(len(CONTENT), b"x" * HALF, ETag='"one"')]
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert len(files.requests) == 3


def test_a_later_call_goes_on_where_an_earlier_one_failed(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [cut(HALF), status(404)]
    refusal(fetch)
    kept = (target / f"{NAME}.part").stat().st_size
    assert 0 < kept <= HALF
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[-1] == f"bytes={kept}-"
    assert left_in(target) == [NAME]


def test_a_partial_download_of_another_address_is_not_used(fetch: Fetch, files: FileServer) -> None:
    files.answers = [cut(HALF), status(404)]
    refusal(fetch)
    fetch(f"{files.base}/other/{NAME}")
    assert files.ranges[-1] is None


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 1}', "\x00"])
def test_a_partial_download_without_a_good_note_is_not_used(
    note: str, fetch: Fetch, files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / f"{NAME}.part").write_bytes(b"?")
    (target / f"{NAME}.part.json").write_text(note)
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None]


def test_a_partial_download_that_is_whole_only_needs_its_name(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert files.requests == []
    assert left_in(target) == [NAME]
