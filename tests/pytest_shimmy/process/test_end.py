"""The end of a child is waited for, and not for long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pytest_shimmy.process.end import wait_for_end

LONG = 60.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.read()))"],
        stdin=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def end(process: subprocess.Popen[bytes], code: int) -> None:
    assert process.stdin is not None
    process.stdin.write(b"x" * code)
    process.stdin.close()


def test_its_end_is_noticed_and_its_status_known(child: subprocess.Popen[bytes]) -> None:
    ender = threading.Thread(target=end, args=(child, 3))
    ender.start()
    wait_for_end(child, LONG)
    ender.join()
    assert child.returncode == 3
    wait_for_end(child, 0)


def test_one_that_lives_on_is_waited_for_no_longer_than_said(
    child: subprocess.Popen[bytes],
) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        wait_for_end(child, 0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        wait_for_end(child, 0)
    assert child.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has descriptors of processes")
def test_where_no_descriptor_is_left_it_is_waited_for_as_elsewhere(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    end(child, 2)
    wait_for_end(child, LONG)
    assert child.returncode == 2
