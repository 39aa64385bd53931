"""Downloads from a server that cuts, stalls, lies and refuses: the file arrives whole or not."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.models import transfer
from pytest_shimmy.models.downloads import from_hub, from_url
from pytest_shimmy.models.progress import Progress
from pytest_shimmy.paths import subdir
from tests.programs import fileserver
from tests.programs.fileserver import NAME, FileServer, chunked, claim, cut, reset, stall, status

FETCHER = Path(__file__).parents[1] / "programs" / "fetcher.py"

CONTENT = random.Random(0).randbytes(1_000_000)
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def _own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, certificates or locks but the test's own, and no pause between attempts."""
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setattr(transfer, "BACKOFF", 0)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer(CONTENT) as files:
        yield files


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def fetch(files: FileServer, target: Path) -> Callable[..., Path]:
    """Download from `files`; returns where the file is."""

    def fetch(url: str = files.url, **how: Any) -> Path:
        from_url(url, **{"timeout": 10, **how})("any", target)
        return target / NAME

    return fetch


def refusal(fetch: Callable[..., Path], **how: Any) -> ShimmyError:
    with pytest.raises(ShimmyError) as caught:
        fetch(**how)
    assert caught.value.code is ShimmyErrorCode.DOWNLOAD_FAILED
    return caught.value


def left_in(target: Path) -> list[str]:
    return sorted(path.name for path in target.iterdir())


def test_a_file_arrives_and_nothing_else(
    fetch: Callable[..., Path], files: FileServer, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fetch().read_bytes() == CONTENT
    assert left_in(target) == [NAME]
    assert files.ranges == [None]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("written", ["{}", "sha256:{}"])
def test_a_file_with_the_right_digest_arrives(
    written: str, fetch: Callable[..., Path], files: FileServer
) -> None:
    assert fetch(sha256=written.format(files.sha256.upper())).read_bytes() == CONTENT


def test_the_name_can_be_another_than_the_address_has(
    fetch: Callable[..., Path], target: Path
) -> None:
    fetch(filename="tiny llama.gguf")
    assert left_in(target) == ["tiny llama.gguf"]


def test_an_address_with_escapes_names_the_file_without(
    fetch: Callable[..., Path], files: FileServer, target: Path
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


# What the server does to an answer


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


@pytest.mark.parametrize("failure", PASSING)
def test_a_passing_failure_is_got_over(
    failure: str, fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [PASSING[failure]]
    assert fetch(timeout=1).read_bytes() == CONTENT
    assert left_in(target) == [NAME]
    assert len(files.requests) == 2


def test_what_has_arrived_is_not_asked_for_again(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [cut(200_000), cut(400_000), cut(600_000)]
    assert fetch(retries=1).read_bytes() == CONTENT
    begins = [int((asked or "bytes=0-")[6:-1]) for asked in files.ranges]
    assert begins == sorted(begins)
    assert [begin // 100_000 for begin in begins] == [0, 1, 3, 5]
    assert [request.headers.get("if-range") for request in files.requests] == [
        None,
        *['"one"'] * 3,
    ]


def test_attempts_that_gain_nothing_come_to_an_end(
    fetch: Callable[..., Path], files: FileServer, target: Path
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


def test_a_server_that_is_not_there(fetch: Callable[..., Path], target: Path) -> None:
    error = refusal(fetch, url=f"http://127.0.0.1:1/{NAME}?token=secret", retries=2)
    assert "attempts: 3" in error.message
    assert "refused" in error.message
    assert "secret" not in error.message
    assert left_in(target) == []


def test_a_server_that_says_nothing(fetch: Callable[..., Path], files: FileServer) -> None:
    files.answers = [stall(0)] * 2
    assert "nothing came for 0.2 s" in refusal(fetch, retries=1, timeout=0.2).message


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 416, 451])
def test_a_refusal_is_not_asked_again(
    code: int, fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [status(code, b"no")]
    assert f"the server answered {code}" in refusal(fetch).message
    assert len(files.requests) == 1
    assert left_in(target) == []


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_long_wait_is_left_to_the_caller(
    form: str, fetch: Callable[..., Path], files: FileServer
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    wait = "3600" if form == "seconds" else format_datetime(later, usegmt=True)
    files.answers = [status(429, Retry_After=wait)]
    message = refusal(fetch).message
    assert "asks to wait 36" in message or "asks to wait 35" in message
    assert len(files.requests) == 1


def test_the_wait_that_the_server_asks_for_is_kept(
    fetch: Callable[..., Path], files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    files.answers = [status(429, Retry_After=7), status(503)]
    fetch()
    assert waits == [7, 0]


def test_redirects_are_followed_with_the_range(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    there = status(302, Location=f"{files.base}/elsewhere?signed=1")
    files.answers = [there, cut(HALF), there]
    assert fetch().read_bytes() == CONTENT
    assert [request.path for request in files.requests] == [
        *(f"/files/{NAME}", "/elsewhere?signed=1") * 2
    ]
    assert files.ranges[3] is not None


def test_redirects_in_a_circle_are_an_error(fetch: Callable[..., Path], files: FileServer) -> None:
    files.answers = [status(302, Location=files.url)] * 50
    assert "redirects" in refusal(fetch).message


def test_a_redirect_to_another_scheme_is_an_error(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [status(302, Location="ftp://127.0.0.1/x")]
    refusal(fetch)
    assert len(files.requests) == 1


def test_a_server_without_ranges_sends_all_of_it_again(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [cut(HALF), claim(len(CONTENT), CONTENT)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[1] is not None


def test_without_a_validator_only_a_digest_lets_pieces_be_joined(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.etag = None
    files.answers = [cut(HALF)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None, None]
    (target / NAME).unlink()
    files.answers = [cut(HALF)]
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert files.ranges[3] is not None


def test_a_weak_tag_is_no_validator(fetch: Callable[..., Path], files: FileServer) -> None:
    files.etag = 'W/"one"'
    files.answers = [cut(HALF)]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None, None]


def test_the_date_of_the_last_change_is_a_validator_too(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    date = "Sat, 01 Aug 2026 00:00:00 GMT"
    files.answers = [claim(len(CONTENT), CONTENT[:HALF], Last_Modified=date)]
    assert fetch().read_bytes() == CONTENT
    assert files.requests[1].headers["if-range"] == date


def test_a_piece_that_comes_without_the_tag_does_not_lose_it(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    def untagged(handler: fileserver.Handler, asked: fileserver.Request) -> None:
        files.etag, tag = None, files.etag
        headers = {name: value for name, value in asked.headers.items() if name != "if-range"}
        fileserver.piece(handler, asked._replace(headers=headers), 700_000)
        files.etag = tag

    files.answers = [cut(300_000), untagged]
    assert fetch().read_bytes() == CONTENT
    assert files.requests[2].headers["if-range"] == '"one"'


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    def replace(handler: fileserver.Handler, asked: fileserver.Request) -> None:
        files.content, files.etag = CONTENT[::-1], '"two"'
        fileserver.whole(handler, asked)

    files.answers = [cut(HALF), replace]
    assert fetch().read_bytes() == CONTENT[::-1]


def test_a_piece_of_another_file_is_not_joined_even_if_the_server_ignores_the_condition(
    fetch: Callable[..., Path], files: FileServer
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
    content_range: str, fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [cut(HALF), claim(10, b"x" * 10, 206, Content_Range=content_range)]
    assert fetch().read_bytes() == CONTENT


def test_a_file_that_has_become_shorter_is_fetched_anew(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [cut(HALF), status(416, Content_Range="bytes */10")]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[2] is None


def test_wrong_bytes_are_told_by_the_digest_and_removed(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    other = b"not the model"
    files.answers = [claim(len(other), other)]
    error = refusal(fetch, sha256=files.sha256)
    assert hashlib.sha256(other).hexdigest() in error.message
    assert files.sha256 in error.message
    assert error.details["found"] == hashlib.sha256(other).hexdigest()
    assert left_in(target) == []
    assert len(files.requests) == 1


def test_pieces_that_do_not_fit_are_fetched_anew_once(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [claim(len(CONTENT), b"x" * HALF, ETag='"one"')]
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert len(files.requests) == 3


def test_a_length_that_is_too_small_is_told_by_the_digest(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [claim(10, CONTENT)]
    refusal(fetch, sha256=files.sha256)
    assert left_in(target) == []


def test_a_length_that_is_too_large_is_not_waited_for_forever(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.etag = None
    files.answers = [claim(len(CONTENT) + 1, CONTENT)] * 10
    error = refusal(fetch, retries=2)
    assert len(files.requests) == 3
    assert error.details["resumable"] == 0
    assert left_in(target) == []


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [claim(10**18, b"x")]
    message = refusal(fetch).message
    assert "needs 888.2 PiB" in message
    assert str(target) in message
    assert len(files.requests) == 1
    assert left_in(target) == []


def test_a_file_without_a_length_arrives(fetch: Callable[..., Path], files: FileServer) -> None:
    files.answers = [chunked(CONTENT[:10], CONTENT[10:])]
    assert fetch().read_bytes() == CONTENT


def test_a_web_page_is_no_model(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [status(200, b"<!DOCTYPE html>", Content_Type="text/html; charset=utf-8")]
    assert "a web page" in refusal(fetch).message
    assert left_in(target) == []


def test_an_empty_file_is_no_model(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [status(200)]
    assert "an empty file" in refusal(fetch).message
    assert left_in(target) == []


def test_a_coding_that_was_not_asked_for_is_refused(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [status(200, b"x", Content_Encoding="gzip")]
    assert "'gzip'" in refusal(fetch).message
    assert files.requests[0].headers["accept-encoding"] == "identity"


# What is there already


def test_a_file_that_is_there_is_not_fetched_again(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    fetch()
    fetch()
    fetch(sha256=files.sha256)
    assert len(files.requests) == 1


def test_a_file_with_another_digest_is_replaced(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / NAME).write_bytes(b"old")
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT


def test_a_file_is_not_replaced_by_a_failure(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / NAME).write_bytes(b"old")
    files.answers = [status(404)]
    refusal(fetch, sha256=files.sha256)
    assert (target / NAME).read_bytes() == b"old"


def test_a_later_call_goes_on_where_an_earlier_one_failed(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [cut(HALF), status(404)]
    refusal(fetch)
    kept = (target / f"{NAME}.part").stat().st_size
    assert 0 < kept <= HALF
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[-1] == f"bytes={kept}-"
    assert left_in(target) == [NAME]


def test_a_partial_download_of_another_address_is_not_used(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [cut(HALF), status(404)]
    refusal(fetch)
    fetch(f"{files.base}/other/{NAME}")
    assert files.ranges[-1] is None


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 1}', "\x00"])
def test_a_partial_download_without_a_good_note_is_not_used(
    note: str, fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / f"{NAME}.part").write_bytes(b"?")
    (target / f"{NAME}.part.json").write_text(note)
    assert fetch().read_bytes() == CONTENT
    assert files.ranges == [None]


def test_a_partial_download_that_is_whole_only_needs_its_name(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    target.mkdir()
    (target / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(sha256=files.sha256).read_bytes() == CONTENT
    assert files.requests == []
    assert left_in(target) == [NAME]


def test_a_directory_that_cannot_be(fetch: Callable[..., Path], target: Path) -> None:
    target.write_text("a file")
    assert str(target) in refusal(fetch).message


# Cancelling and sharing


def fetcher(url: str, target: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(FETCHER), "url", url, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_bytes(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while int(process.stdout.readline()) == 0:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_resumed(
    number: signal.Signals, fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [stall(HALF)]
    process = fetcher(files.url, target)
    try:
        wait_for_bytes(process)
        process.send_signal(number)
        _, stderr = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -number
    assert left_in(target) == [f"{NAME}.part", f"{NAME}.part.json"]
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in stderr
        assert f"kept in {target / NAME}.part; the next call goes on from there." in stderr
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[1] is not None


def test_a_listener_cancels_by_raising(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    class StopError(Exception):
        pass

    def listen(progress: Progress) -> None:
        if progress.done > HALF:
            raise StopError

    with pytest.raises(StopError) as caught:
        fetch(progress=listen)
    assert "goes on from there" in caught.value.__notes__[0]
    assert left_in(target) == [f"{NAME}.part", f"{NAME}.part.json"]
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[1] is not None


def test_a_download_that_is_cancelled_before_its_first_byte_leaves_nothing(
    fetch: Callable[..., Path], target: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(_progress: Progress) -> None:
        raise StopError

    with pytest.raises(StopError):
        fetch(progress=stop)
    assert left_in(target) == []


def test_of_many_processes_one_fetches_and_the_others_wait(files: FileServer, target: Path) -> None:
    processes = [fetcher(files.url, target) for _ in range(6)]
    try:
        for process in processes:
            _, stderr = process.communicate()
            assert (process.returncode, stderr) == (0, "")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (target / NAME).read_bytes() == CONTENT
    assert len(files.requests) == 1


def test_waiting_for_another_process_has_an_end(
    fetch: Callable[..., Path], files: FileServer, target: Path
) -> None:
    files.answers = [stall(HALF)]
    process = fetcher(files.url, target)
    try:
        wait_for_bytes(process)
        with pytest.raises(ShimmyError) as caught:
            fetch(lock_timeout=0.1)
    finally:
        process.kill()
        process.communicate()
    assert caught.value.code is ShimmyErrorCode.LOCK_TIMEOUT
    assert str(target / NAME) in caught.value.message
    assert Path(caught.value.details["lock"]).parent == subdir("models")
    assert fetch().read_bytes() == CONTENT


# The environment


def test_proxies_of_the_environment_are_used(
    fetch: Callable[..., Path], files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", files.base)
    assert fetch(f"http://models.invalid/{NAME}").read_bytes() == CONTENT
    assert files.requests[0].path == f"http://models.invalid/{NAME}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(path), "-out", str(path.with_name("cert.pem"))),
            *("-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_name("cert.pem").read_text())
    return path


@pytest.fixture
def secure_files(certificate: Path) -> Iterator[FileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FileServer(CONTENT, context) as files:
        yield files


def test_a_certificate_that_nobody_trusts_is_refused_at_once(
    fetch: Callable[..., Path], secure_files: FileServer
) -> None:
    message = refusal(fetch, url=secure_files.url).message
    assert "no secure connection" in message
    assert "REQUESTS_CA_BUNDLE" in message
    assert secure_files.requests == []


def test_certificates_of_the_environment_are_trusted(
    fetch: Callable[..., Path],
    secure_files: FileServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert fetch(secure_files.url).read_bytes() == CONTENT


# Progress


def test_a_listener_hears_of_every_step(fetch: Callable[..., Path], files: FileServer) -> None:
    heard: list[Progress] = []
    files.answers = [cut(HALF)]
    fetch(progress=heard.append)
    assert heard[0] == Progress(NAME, 0, len(CONTENT))
    assert heard[-1] == Progress(NAME, len(CONTENT), len(CONTENT))
    assert [step.done for step in heard] == sorted(step.done for step in heard)


def test_where_there_is_no_terminal_progress_is_a_few_whole_lines(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    out = io.StringIO()
    files.answers = [cut(HALF)]
    fetch(progress=out)
    lines = out.getvalue().splitlines()
    assert lines[0] == f"{NAME}:   0 %  0 B of 976.6 KiB"
    assert lines[-1] == f"{NAME}: 100 %  976.6 KiB of 976.6 KiB"
    assert len([line for line in lines if "; again in 0 s" in line]) == 1
    assert len(lines) <= 13
    assert not set(out.getvalue()) & set("\r\x1b")


def test_progress_goes_to_stderr(
    fetch: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100 %" in err


def read_all(controller: int) -> str:
    """What was written to a pseudo-terminal that is closed by now."""
    shown = b""
    with os.fdopen(controller, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while data := screen.read(4096):  # Linux says EIO at the end
            shown += data
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_on_a_terminal_progress_is_one_line_that_is_rewritten(
    term: str, fetch: Callable[..., Path], files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty

    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "80")
    files.answers = [cut(HALF)]
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        fetch(progress=stream)
    shown = read_all(controller)
    if term == "dumb":
        assert "\x1b" not in shown
        return
    *_, last = shown.rstrip("\r\n").split("\r\x1b[K")
    assert last.startswith(f"{NAME} [####")
    assert last.endswith("100 %  976.6 KiB of 976.6 KiB")
    assert len(last) <= 79
    assert shown.endswith("\r\n")
    assert "; again in 0 s\r\n" in shown


def test_errors_cross_process_boundaries_whole(
    fetch: Callable[..., Path], files: FileServer
) -> None:
    files.answers = [status(404)]
    error = refusal(fetch)
    assert str(ShimmyError.from_json(error.to_json())) == str(error)


def test_nothing_is_loaded_before_a_download_runs() -> None:
    program = (
        "import sys; from pytest_shimmy.models.downloads import from_url; "
        "from_url('http://h/x.gguf'); print('requests' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"


def test_without_huggingface_hub_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ShimmyError) as caught:
        from_hub("org/repo", "x.gguf")("any", tmp_path)
    assert caught.value.code is ShimmyErrorCode.CLIENT_MISSING
    assert "pip install 'pytest-shimmy[hub]'" in caught.value.message


def from_stand_in(files: FileServer, name: str, target: Path) -> tuple[str, str]:
    """Have a process fetch from `files` as if it were Hugging Face; what it wrote."""
    pytest.importorskip("huggingface_hub")
    files.etag = f'"{files.sha256}"'
    done = subprocess.run(
        [sys.executable, FETCHER, "hub", "org/name-GGUF", name, target],
        env={**os.environ, "HF_ENDPOINT": files.base, "HF_HOME": str(target.parent / "hf")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", ["model.Q4_K_M.gguf", "sub/model.gguf"])
def test_a_repository_s_file_arrives_and_nothing_else(
    name: str, files: FileServer, target: Path
) -> None:
    assert from_stand_in(files, name, target) == ("", "")
    assert [path for path in target.rglob("*") if path.is_file()] == [target / name]
    assert (target / name).read_bytes() == CONTENT
    assert not (target / ".cache").exists()


def test_a_repository_s_missing_file_is_an_error_that_leaves_nothing(
    files: FileServer, target: Path
) -> None:
    out, _ = from_stand_in(files, "missing.gguf", target)
    assert out == "DOWNLOAD_FAILED\n"
    assert left_in(target) == []
