"""A lock in a file: one holder at a time, whatever becomes of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock as OtherLock
from filelock import Timeout

from pytest_shimmy.process.file_lock import FileLock, LockedError

SOON = 30.0

HOLDER = """
import sys
from pytest_shimmy.process.file_lock import FileLock
with FileLock(sys.argv[1]).acquire():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.lock"


def is_free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire()
    except LockedError:
        return False
    lock.release()
    return True


def test_it_has_one_holder_in_a_process_too(path: Path) -> None:
    with FileLock(path).acquire():
        assert not is_free(path)
        with pytest.raises(Timeout), OtherLock(str(path)).acquire(blocking=False):
            pass
    assert is_free(path)


def test_a_lock_that_was_given_back_can_be_given_back_again(path: Path) -> None:
    lock = FileLock(path).acquire()
    lock.release()
    lock.release()
    assert is_free(path)


def test_who_waits_gets_it_when_the_holder_lets_go(path: Path) -> None:
    held, waiter = FileLock(path).acquire(), FileLock(path)
    waiting = threading.Thread(target=waiter.acquire, args=(SOON,))
    waiting.start()
    held.release()
    waiting.join()
    assert not is_free(path)
    waiter.release()


def test_a_killed_holder_holds_nothing(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        assert not is_free(path)
        holder.kill()
    with FileLock(path).acquire(SOON):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_file_that_its_holder_removed_locks_nobody_out_and_nobody_in(path: Path) -> None:
    with FileLock(path).acquire():
        path.unlink()
        with FileLock(path).acquire():
            assert not is_free(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_hold_what_its_parent_held(path: Path) -> None:
    lock = FileLock(path).acquire()
    ours, childs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(childs)
        os.read(ours, 1)  # until its parent has let go
        os._exit(0)
    try:
        lock.release()
        assert is_free(path), "although the child lives"
    finally:
        os.close(childs)
        os.close(ours)
        os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be opened there either")
def test_what_cannot_be_a_lock_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        FileLock(tmp_path).acquire()


def test_a_lock_that_nobody_has_any_more_is_free(path: Path) -> None:
    FileLock(path).acquire()
    gc.collect()
    with FileLock(path).acquire():
        pass
