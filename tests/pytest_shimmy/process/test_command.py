"""A command that is run to its end, or to ours: bounded in time and output, leaving nobody."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_shimmy.process.command import Outcome, run
from pytest_shimmy.process.process import ExitStatus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")

LONG = 60.0


def sh(script: str, **how: Any) -> Outcome:
    settings = {"env": {"PATH": os.defpath}, "timeout": LONG, "limit": 1 << 20, **how}
    return run(["/bin/sh", "-c", script], **settings)


def test_output_and_end_are_told() -> None:
    done = sh("echo out; echo err >&2; exit 3")
    assert (done.stdout, done.stderr, done.exit, done.cut) == (b"out\n", b"err\n", (3, None), None)
    assert done.command[:2] == ("/bin/sh", "-c")
    assert 0 < done.seconds < LONG
    text = done.told()
    assert "ended with exit code 3." in text
    assert "On stdout:\n  out\nOn stderr:\n  err" in text
    assert done.details() == {
        "command": list(done.command),
        "exit_code": 3,
        "signal": None,
        "stopped": None,
        "stdout": "out\n",
        "stderr": "err\n",
    }


def test_it_finds_its_input_at_its_end() -> None:
    assert sh("cat; echo the end").stdout == b"the end\n"


def test_environment_and_directory_are_those_that_were_given(tmp_path: Path) -> None:
    done = sh('echo "$A"; pwd -P', env={"A": "b"}, cwd=tmp_path)
    assert done.stdout.decode() == f"b\n{tmp_path.resolve()}\n"


@pytest.mark.slow
def test_one_that_hangs_is_killed_with_its_children(
    tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; echo here; sleep 600 & echo $$ $! > {shlex.quote(str(pids))}; wait"
    done = sh(script, timeout=0.5)
    assert done.cut == "had not ended after 0.5 s and was stopped"
    assert done.exit == (None, signal.SIGKILL) or done.exit == (None, signal.SIGTERM)
    assert done.stdout == b"here\n"
    assert done.details()["stopped"] == done.cut
    for pid in pids.read_text().split():
        wait_until_gone(int(pid))


def test_a_child_that_holds_the_pipe_is_not_waited_for(
    tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    pid = tmp_path / "pid"
    done = sh(f"sleep 600 & echo $! > {shlex.quote(str(pid))}; echo done")
    assert (done.stdout, done.cut) == (b"done\n", None)
    wait_until_gone(int(pid.read_text()))


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_flood_is_kept_up_to_the_limit_and_stopped(stream: str) -> None:
    tracemalloc.start()
    try:
        done = sh(f"cat /dev/zero {stream}", limit=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.cut == "wrote more than 1 MiB and was stopped"
    assert len(done.stdout) + len(done.stderr) == 1 << 20
    assert peak < 10 << 20


def test_a_flood_in_small_pieces_to_both_streams_is_stopped_too() -> None:
    done = sh("while :; do echo a; echo b >&2; done", limit=2048)
    assert done.cut == "wrote more than 2 KiB and was stopped"
    assert len(done.stdout) + len(done.stderr) == 2048


def test_what_fits_exactly_is_whole() -> None:
    done = sh("printf 12345678", limit=8)
    assert (done.stdout, done.cut) == (b"12345678", None)


def test_one_byte_too_many_is_told_even_of_what_has_ended_by_itself() -> None:
    done = sh("printf 123456789", limit=8)
    assert done.stdout == b"12345678"
    assert done.cut is not None


def test_an_answer_that_nobody_wants_any_more_is_not_waited_for() -> None:
    unwanted = threading.Event()
    threading.Timer(0.1, unwanted.set).start()
    before = time.monotonic()
    done = sh("echo here; trap '' TERM; sleep 600", cancelled=unwanted.is_set)
    assert time.monotonic() - before < LONG / 2
    assert done.cut == "was stopped, because its caller gave up"


@pytest.mark.parametrize(
    ("command", "env", "kind"),
    [
        (["/no/such/program"], {}, FileNotFoundError),
        ([os.sep], {}, PermissionError),
        ([sys.executable, "a\0b"], {}, ValueError),
        ([sys.executable], {"A=B": ""}, ValueError),
    ],
)
def test_what_cannot_be_executed_raises(
    command: list[str], env: dict[str, str], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        run(command, env=env, timeout=LONG, limit=1)


def test_an_interrupted_wait_leaves_nobody_behind(
    tmp_path: Path, wait_until_gone: Callable[[int], None], wait_for_threads: Callable[[], None]
) -> None:
    pid = tmp_path / "pid"

    def interrupt() -> bool:
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        sh(f"echo $$ > {shlex.quote(str(pid))}; exec sleep 600", cancelled=interrupt)
    wait_until_gone(int(pid.read_text()))
    wait_for_threads()


@settings(max_examples=50)
@given(
    out=st.binary(max_size=300),
    err=st.text(max_size=300),
    lines=st.integers(0, 50),
    cut=st.sampled_from([None, "was stopped"]),
)
def test_any_outcome_can_be_told(out: bytes, err: str, lines: int, cut: str | None) -> None:
    stderr = err.encode("utf-8", "surrogatepass") + b"line\n" * lines
    outcome = Outcome(("a", "b c"), ExitStatus(0, None), out, stderr, cut, 0.1)
    text = outcome.told()
    assert text.startswith("a 'b c'\n")
    assert len(text.splitlines()) < 150
    assert ("It wrote nothing." in text) == (not out and not stderr)
    assert outcome.details()["stopped"] == cut
