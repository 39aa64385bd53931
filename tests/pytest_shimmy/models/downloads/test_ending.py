"""Downloads that are cancelled, killed or wanted by many at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.models.progress import Progress
from pytest_shimmy.runtime_dir import subdir
from tests.programs.fileserver import NAME, FileServer, Handler, Request, stall, status
from tests.support.downloads import (
    CONTENT,
    FETCHER,
    HALF,
    Fetch,
    left_in,
    refusal,
    run_fetcher,
    wait_for_bytes,
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_resumed(
    number: signal.Signals, fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [stall(HALF)]
    process = run_fetcher(files.url, target)
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


def test_a_listener_cancels_by_raising(fetch: Fetch, files: FileServer, target: Path) -> None:
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
    fetch: Fetch, target: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(_progress: Progress) -> None:
        raise StopError

    with pytest.raises(StopError):
        fetch(progress=stop)
    assert left_in(target) == []


def test_another_thread_cancels(fetch: Fetch, files: FileServer, target: Path) -> None:
    cancel = threading.Event()

    def listen(progress: Progress) -> None:
        if progress.done > HALF:
            cancel.set()

    error = refusal(fetch, progress=listen, cancel=cancel)
    assert error.details["cancelled"]
    assert "it was cancelled" in error.message
    assert error.details["resumable"] == (target / f"{NAME}.part").stat().st_size > HALF
    assert refusal(fetch, cancel=cancel).details["cancelled"]
    assert len(files.requests) == 1
    cancel.clear()
    assert fetch(cancel=cancel).read_bytes() == CONTENT


def test_a_pause_between_attempts_is_cut_short(fetch: Fetch, files: FileServer) -> None:
    cancel = threading.Event()

    def refuse(handler: Handler, asked: Request) -> None:
        status(503, Retry_After=100)(handler, asked)
        cancel.set()

    files.answers = [refuse]
    assert refusal(fetch, cancel=cancel).details["cancelled"]
    assert len(files.requests) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of files")
def test_a_disk_that_fills_up_ends_it_and_keeps_what_has_arrived(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    blocks, block = 600, 512
    done = subprocess.run(
        [
            *("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"),
            *(sys.executable, FETCHER, "url", files.url, target),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    part = target / f"{NAME}.part"
    assert f"{part} cannot be written: " in done.stderr
    assert "DOWNLOAD_FAILED" in done.stderr
    assert part.stat().st_size == blocks * block
    assert fetch().read_bytes() == CONTENT
    assert files.ranges[1] == f"bytes={blocks * block}-"


@pytest.mark.slow
def test_of_many_processes_one_fetches_and_the_others_wait(files: FileServer, target: Path) -> None:
    processes = [run_fetcher(files.url, target) for _ in range(6)]
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


@pytest.mark.slow
def test_waiting_for_another_process_has_an_end(
    fetch: Fetch, files: FileServer, target: Path
) -> None:
    files.answers = [stall(HALF)]
    process = run_fetcher(files.url, target)
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
