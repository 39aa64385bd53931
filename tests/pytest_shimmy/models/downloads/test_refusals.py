"""A server that refuses, misleads or is away: the download ends, says why and leaves nothing."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pytest_shimmy.models import transfer
from tests.programs.fileserver import NAME, FileServer, claim, cut, stall, status
from tests.support.downloads import (
    CONTENT,
    HALF,
    Fetch,
    left_in,
    refusal,
)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 416, 451])
def test_a_refusal_is_not_asked_again(
    code: int, fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [status(code, b"no")]
    assert f"the server answered {code}" in refusal(fetch).message
    assert len(files.requests) == 1
    assert left_in(target) == []


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_long_wait_is_left_to_the_caller(form: str, fetch: Fetch, files: FileServer) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    wait = "3600" if form == "seconds" else format_datetime(later, usegmt=True)
    files.answers = [status(429, Retry_After=wait)]
    message = refusal(fetch).message
    assert "asks to wait 36" in message or "asks to wait 35" in message
    assert len(files.requests) == 1


class Clock(threading.Event):
    """Nobody cancels; waiting takes no time, but is written down."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


def test_the_wait_that_the_server_asks_for_is_kept(fetch: Fetch, files: FileServer) -> None:
    clock = Clock()
    files.answers = [status(429, Retry_After=7), status(503)]
    fetch(cancel=clock)
    assert clock.waits == [7, 0]


def test_pauses_grow_until_something_arrives(
    fetch: Fetch, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BACKOFF", 0.5)
    clock = Clock()
    files.answers = [*[status(503)] * 8, cut(HALF), *[status(503)] * 2]
    fetch(retries=8, cancel=clock)
    assert clock.waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5, 1, 2]


def test_attempts_that_gain_nothing_come_to_an_end(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [cut(HALF), *[status(503)] * 10]
    error = refusal(fetch, retries=3)
    assert len(files.requests) == 4
    assert "503" in error.message
    assert "attempts: 4" in error.message
    assert files.url in error.message
    assert str(target / f"{NAME}.part") in "".join(error.__notes__)
    assert error.details["resumable"] == (target / f"{NAME}.part").stat().st_size > 0
    assert "the next call goes on from there" in "".join(error.__notes__)


def test_a_server_that_is_not_there(fetch: Fetch, target: Path) -> None:
    error = refusal(fetch, url=f"http://127.0.0.1:1/{NAME}?token=secret", retries=2)
    assert "attempts: 3" in error.message
    assert "refused" in error.message
    assert "secret" not in error.message
    assert left_in(target) == []


@pytest.mark.slow
def test_a_server_that_says_nothing(fetch: Fetch, files: FileServer) -> None:
    files.answers = [stall(0)] * 2
    assert "nothing came for 0.2 s" in refusal(fetch, retries=1, timeout=0.2).message


def test_redirects_are_followed_with_the_range(fetch: Fetch, files: FileServer) -> None:
    there = status(302, Location=f"{files.base}/elsewhere?signed=1")
    files.answers = [there, cut(HALF), there]
    assert fetch().read_bytes() == CONTENT
    assert [request.path for request in files.requests] == [
        *(f"/files/{NAME}", "/elsewhere?signed=1") * 2
    ]
    assert files.ranges[3] is not None


def test_redirects_in_a_circle_are_an_error(fetch: Fetch, files: FileServer) -> None:
    files.answers = [status(302, Location=files.url)] * 50
    assert "redirects" in refusal(fetch).message


def test_a_redirect_to_another_scheme_is_an_error(fetch: Fetch, files: FileServer) -> None:
    files.answers = [status(302, Location="ftp://127.0.0.1/x")]
    refusal(fetch)
    assert len(files.requests) == 1


def test_a_web_page_is_no_model(fetch: Fetch, files: FileServer, target: Path) -> None:
    files.answers = [status(200, b"<!DOCTYPE html>", Content_Type="text/html; charset=utf-8")]
    assert "a web page" in refusal(fetch).message
    assert left_in(target) == []


def test_an_empty_file_is_no_model(fetch: Fetch, files: FileServer, target: Path) -> None:
    files.answers = [status(200)]
    assert "an empty file" in refusal(fetch).message
    assert left_in(target) == []


def test_a_coding_that_was_not_asked_for_is_refused(fetch: Fetch, files: FileServer) -> None:
    files.answers = [status(200, b"x", Content_Encoding="gzip")]
    assert "'gzip'" in refusal(fetch).message
    assert files.requests[0].headers["accept-encoding"] == "identity"


def test_wrong_bytes_are_told_by_the_digest_and_removed(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    other = b"not the model"
    files.answers = [claim(len(other), other)]
    error = refusal(fetch, sha256=files.sha256)
    assert hashlib.sha256(other).hexdigest() in error.message
    assert files.sha256 in error.message
    assert error.details["found"] == hashlib.sha256(other).hexdigest()
    assert left_in(target) == []
    assert len(files.requests) == 1


def test_a_length_that_is_too_small_is_told_by_the_digest(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [claim(10, CONTENT)]
    refusal(fetch, sha256=files.sha256)
    assert left_in(target) == []


def test_a_length_that_is_too_large_is_not_waited_for_forever(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.etag = None
    files.answers = [claim(len(CONTENT) + 1, CONTENT)] * 10
    error = refusal(fetch, retries=2)
    assert len(files.requests) == 3
    assert error.details["resumable"] == 0
    assert left_in(target) == []
