"""`ShimmyProcessManager`: what the server writes, in its log and as events."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessManager, ShimmyProcessOptions
from tests.support.manager_events import LONG, Pretend, Raised, Recorder, Step, ask, pid_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.usefixtures("quick_restarts"),
]


# Output


def test_the_log_is_whole_in_the_file(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "server.log"
    manager.start(pretend(["flood", 1, 30_000], ["serve"], log_path=path))
    manager.ensure_ready()
    assert manager.log_path == path
    assert manager.log_size() == 3_000_000 == path.stat().st_size
    assert path.read_bytes() == b"".join(b"%099d\n" % n for n in range(30_000))
    recorder.wait_until(lambda: recorder.text("stdout") == path.read_text())


def test_a_flood_is_not_kept_in_memory(
    manager: ShimmyProcessManager, pretend: Pretend, tmp_path: Path
) -> None:
    # Not before: a child that is forked while another thread is being traced may wait for ever.
    manager.once("starting", lambda _: tracemalloc.start())
    manager.start(pretend(["flood", 2, 60_000], ["serve"], log_path=tmp_path / "server.log"))
    try:
        manager.ensure_ready()
        assert manager.log_size() == 6_000_000
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000


def test_the_log_of_a_crash_is_told_from_that_of_its_successor(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "server.log"
    manager.start(
        pretend(
            ["say", "first\n"], ["serve"], again=[["say", "second\n"], ["serve"]], log_path=path
        )
    )
    manager.ensure_ready()
    ask(manager, "GET", "/say/last-words")
    os.kill(pid_of(manager), signal.SIGKILL)
    recorder.wait_for("ready", 2)
    (crash,) = manager.crashes
    text = path.read_bytes()
    assert text[: crash.log_offset] == b"first\nlast-words\n"
    assert text[crash.log_offset :] == b"second\n"
    manager.stop()
    assert path.read_bytes() == text


def test_the_size_of_the_log_counts_what_was_just_written(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    for size in (10, 20, 30):
        ask(manager, "GET", "/say/123456789")
        assert manager.log_size() == size


@pytest.mark.parametrize("where", ["", "file/server.log", "a" * 300])
def test_a_log_that_cannot_be_written_is_named(
    manager: ShimmyProcessManager, pretend: Pretend, tmp_path: Path, raised: Raised, where: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / where
    manager.start(pretend(["serve"], log_path=path))
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready()
    assert caught.value.code is ShimmyErrorCode.START_FAILED
    assert f"the server's log cannot be written to {path}: " in caught.value.message
    assert caught.value.details == {"log_path": str(path)}
    assert not raised


@pytest.mark.slow
def test_a_temporary_log_goes_with_the_server(
    manager: ShimmyProcessManager,
    pretend: Pretend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    assert [manager.log_path] == list((tmp_path / "tmp").iterdir())
    manager.stop()
    assert not list((tmp_path / "tmp").iterdir())
    manager.start(pretend(["exit", 1]))
    with pytest.raises(ShimmyError):
        manager.ensure_ready()
    manager.stop()
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.shimmy_real
def test_the_real_executable_is_not_frozen_by_its_own_log(
    manager: ShimmyProcessManager, real_shimmy: Path, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(shimmy_path=real_shimmy, models_dir=models_dir))
    manager.ensure_ready()
    before = manager.log_size()
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    body = json.dumps({"model": "nope" * 20, "prompt": "x"})
    for _ in range(1500):
        connection.request("POST", "/api/generate", body, {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 404
        response.read()
    connection.close()
    # More than a pipe holds: an undrained one would have stopped it long ago.
    assert manager.log_size() - before > 2 * 65536
    assert ask(manager, "GET", "/health") == 200


def test_output_that_is_no_text_is_kept_as_it_is_and_heard_as_text(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend, tmp_path: Path
) -> None:
    path = tmp_path / "server.log"
    manager.start(pretend(["raw", "e282ac20ff0afe"], ["serve"], log_path=path))
    manager.ensure_ready()
    manager.log_size()
    recorder.wait_until(lambda: recorder.text("stdout") == "€ \ufffd\n\ufffd")
    assert path.read_bytes() == bytes.fromhex("e282ac20ff0afe")


def test_a_character_that_arrives_in_two_pieces_is_heard_whole(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gate:
        step: Step = ["gate", gate.getsockname()[1]]
        manager.start(pretend(["raw", "e2"], step, ["raw", "82ac"], ["serve"]))
        visitor, _ = gate.accept()
        manager.log_size()  # the first piece was taken on its own
        visitor.close()
    manager.ensure_ready()
    recorder.wait_until(lambda: recorder.text("stdout") == "€")


def test_streams_are_heard_apart(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["say", "out"], ["complain", "err"], ["serve"]))
    manager.ensure_ready()
    manager.log_size()
    # Listeners hear on a thread of their own.
    recorder.wait_until(lambda: len(recorder.text("stdout") + recorder.text("stderr")) >= 6)
    assert recorder.text("stdout") == "out"
    assert recorder.text("stderr") == "err"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_stop_the_server(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    manager.start(pretend(["flood", 1, 3000], ["serve"], log_path="/dev/full"))
    manager.ensure_ready()
    assert ask(manager, "GET", "/say/more") == 200
