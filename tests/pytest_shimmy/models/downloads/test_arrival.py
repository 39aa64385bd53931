"""A file that is fetched is there whole, under its name, and fetched no more than needed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import ShimmyError
from pytest_shimmy.models.downloads import from_url
from pytest_shimmy.models.progress import Progress
from tests.programs.fileserver import NAME, FileServer, chunked, claim, status
from tests.support.downloads import (
    CONTENT,
    Fetch,
    left_in,
    refusal,
)


def test_a_file_arrives_and_nothing_else(
    fetch: Fetch, files: FileServer, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fetch().read_bytes() == CONTENT
    assert left_in(target) == [NAME]
    assert files.ranges == [None]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("written", ["{}", "sha256:{}"])
def test_a_file_with_the_right_digest_arrives(
    written: str, fetch: Fetch, files: FileServer
) -> None:
    assert fetch(sha256=written.format(files.sha256.upper())).read_bytes() == CONTENT


def test_the_name_can_be_another_than_the_address_has(fetch: Fetch, target: Path) -> None:
    fetch(filename="tiny llama.gguf")
    assert left_in(target) == ["tiny llama.gguf"]


def test_an_address_with_escapes_names_the_file_without(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    fetch(f"{files.base}/a%20b%C3%A9.gguf?token=1#x")
    assert left_in(target) == ["a bé.gguf"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"url": "ftp://host/x.gguf"}, "no http or https address"),
        ({"url": "model.gguf"}, "no http or https address"),
        ({"url": "https:///x.gguf"}, "no http or https address"),
        ({"url": "https://host/"}, "cannot be a file's name"),
        ({"url": "https://host/a%2Fb"}, "cannot be a file's name"),
        ({"url": "https://host/.."}, "cannot be a file's name"),
        ({"url": "https://host/x", "filename": "../x"}, "cannot be a file's name"),
        ({"url": "https://host/x", "filename": "a\nb"}, "cannot be a file's name"),
        ({"url": "https://host/x", "sha256": "abc"}, "no SHA-256"),
        ({"url": "https://host/x", "retries": -1}, "negative"),
        ({"url": "https://host/x", "timeout": 0}, "not positive"),
    ],
)
def test_arguments_that_cannot_be_right_are_refused_at_once(
    arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        from_url(**arguments)


def test_a_file_without_a_length_arrives(fetch: Fetch, files: FileServer) -> None:
    files.answers = [chunked(CONTENT[:10], CONTENT[10:])]
    assert fetch().read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again(fetch: Fetch, files: FileServer) -> None:
    fetch()
    fetch()
    fetch(sha256=files.sha256)
    assert len(files.requests) == 1


def test_a_file_with_another_digest_is_replaced(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / NAME).write_bytes(b"old")
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT


def test_a_file_is_not_replaced_by_a_failure(fetch: Fetch, files: FileServer, target: Path) -> None:
    target.mkdir()
    (target / NAME).write_bytes(b"old")
    files.answers = [status(404)]
    refusal(fetch, sha256=files.sha256)
    assert (target / NAME).read_bytes() == b"old"


def test_a_file_has_its_name_only_when_it_is_whole(fetch: Fetch, target: Path) -> None:
    """And an old one keeps it until then."""
    target.mkdir()
    seen = set()
    for before in (None, b"old"):
        if before is not None:
            (target / NAME).write_bytes(before)

        def look(_progress: Progress, before: bytes | None = before) -> None:
            there = (target / NAME).read_bytes() if (target / NAME).exists() else None
            seen.add(there == before)

        sha256 = hashlib.sha256(CONTENT).hexdigest()
        assert fetch(progress=look, sha256=sha256).read_bytes() == CONTENT
    assert seen == {True}


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [claim(10**18, b"x")]
    message = refusal(fetch).message
    assert "needs 888.2 PiB" in message
    assert str(target) in message
    assert len(files.requests) == 1
    assert left_in(target) == []


def test_a_directory_that_cannot_be(fetch: Fetch, target: Path) -> None:
    target.write_text("a file")
    assert str(target) in refusal(fetch).message


def test_errors_cross_process_boundaries_whole(fetch: Fetch, files: FileServer) -> None:
    files.answers = [status(404)]
    error = refusal(fetch)
    assert str(ShimmyError.from_json(error.to_json())) == str(error)


def test_nothing_is_loaded_before_a_download_runs() -> None:
    program = (
        "import sys; from pytest_shimmy.models.downloads import from_url; "
        "from_url('http://h/x.gguf'); print('requests' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"
