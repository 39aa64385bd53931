"""What Linux tells of a process that is watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pytest_shimmy.process.vitals import watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

WRITES = "import os, sys; os.write(1, b'.' * int(sys.stdin.readline())); sys.stdin.read()"


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_process_is_there_until_it_exits_whether_it_was_waited_for_or_not(
    child: subprocess.Popen[bytes],
) -> None:
    watched = watch(child.pid)
    assert watched is not None
    with child:
        assert watched.is_there()
        assert watched.parent == os.getpid()
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not watched.is_there()
        assert watched.written() is None
    assert not watched.is_there()
    assert watched.written() is None
    assert watch(child.pid) is None


def test_what_a_process_has_written_is_counted(child: subprocess.Popen[bytes]) -> None:
    watched = watch(child.pid)
    assert watched is not None
    with child:
        before = watched.written()
        assert before is not None
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"1000\n")
        child.stdin.flush()
        assert len(child.stdout.read(1000)) == 1000
        assert watched.written() == before + 1000
