"""`ShimmyProcessManager` and servers that break in the middle, flood, or leave somebody behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pytest_shimmy import ShimmyErrorCode, ShimmyProcessManager
from tests.support.manager_events import LONG, Pretend, Recorder, Step, ask, failure, pid_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.usefixtures("quick_restarts"),
]


def test_a_client_sees_the_end_of_a_stream_that_the_server_dies_in(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"]))
    manager.ensure_ready()
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    before = time.monotonic()
    connection.request("GET", "/break")
    answer = connection.getresponse()
    assert answer.read(3) == b"abc"
    # Whether the client sees an end or a reset is the kernel's choice.
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    assert [str(crash.exit) for crash in manager.crashes] == ["killed by SIGKILL"]
    manager.ensure_ready(LONG)
    assert time.monotonic() - before < LONG / 2
    assert ask(manager, "GET", "/health") == 200
    assert manager.restarts == 1


def test_a_server_that_breaks_each_stream_is_given_up_at_its_limit(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    manager.start(pretend(["serve"], max_restarts=2))
    for life in (1, 2, 3):
        recorder.wait_for("ready", life)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(manager, "GET", "/break")
    error = recorder.wait_for("error").error
    assert error.code is ShimmyErrorCode.RESTARTS_EXHAUSTED
    assert error.details["exits"] == ["killed by SIGKILL"] * 3


@pytest.mark.parametrize("own_session", [False, True], ids=["in our group", "in its own session"])
def test_a_restart_is_not_held_up_by_a_child_that_holds_the_pipe(
    manager: ShimmyProcessManager,
    recorder: Recorder,
    pretend: Pretend,
    tmp_path: Path,
    own_session: bool,
) -> None:
    litter: Step = ["litter", str(tmp_path / "pid"), own_session]
    manager.start(pretend(litter, ["serve"], again=[["serve"]]))
    manager.ensure_ready()
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    try:
        os.kill(pid_of(manager), signal.SIGKILL)
        recorder.wait_for("ready", 2)
        assert manager.log_size() == 0
    finally:
        if own_session:  # it is nobody's business but its own
            child.kill()


@pytest.mark.parametrize("stream", [1, 2])
def test_a_server_that_floods_its_log_becomes_ready_answers_and_stops(
    manager: ShimmyProcessManager, pretend: Pretend, stream: int
) -> None:
    before = time.monotonic()
    manager.start(pretend(["gush", stream], ["serve"], log_path="/dev/null"))
    manager.ensure_ready(LONG)
    for _ in range(20):
        assert ask(manager, "GET", "/health") == 200
    size = manager.log_size()
    assert size > 0
    manager.stop()
    assert time.monotonic() - before < LONG / 2
    assert not manager.crashes


@pytest.mark.slow
def test_a_server_that_floods_its_log_and_never_listens_is_told_by_its_newest_lines(
    manager: ShimmyProcessManager, pretend: Pretend
) -> None:
    options = pretend(["gush", 2], ["silent"], log_path="/dev/null", health_timeout=1)
    error = failure(manager, options)
    assert error.code is ShimmyErrorCode.START_TIMEOUT
    assert "0" * 999 in error.message
    assert len(error.message) < 100_000


QUOTA = """
import json, resource, sys
from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
with ShimmyProcessManager() as manager:
    manager.start(ShimmyProcessOptions(**json.loads(sys.argv[1])))
    manager.ensure_ready()
    print(json.dumps([manager.log_size(), manager.restarts]))
# What measures this process writes more than that when it ends.
resource.setrlimit(resource.RLIMIT_FSIZE, before)
"""


def test_a_log_that_has_reached_its_quota_stops_neither_the_server_nor_us(
    pretend: Pretend, tmp_path: Path
) -> None:
    """There the system sends a signal, which ends who does not expect it."""
    path = tmp_path / "server.log"
    options = pretend(["flood", 1, 3000], ["serve"], log_path=path)
    done = subprocess.run(
        [sys.executable, "-c", QUOTA, json.dumps(options.to_json())],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [100_000, 0]
    assert path.read_bytes() == b"".join(b"%099d\n" % n for n in range(1000))


def test_a_server_that_first_refuses_to_be_healthy_is_waited_for(
    manager: ShimmyProcessManager, recorder: Recorder, pretend: Pretend
) -> None:
    """As one that loads its model after it has begun to listen."""
    manager.start(pretend(["serve", {"service": "shimmy"}, 5]))
    manager.ensure_ready(LONG)
    assert recorder.names() == ["starting", "ready"]
    assert manager.version == "2.5.0"
    assert ask(manager, "GET", "/health") == 200
