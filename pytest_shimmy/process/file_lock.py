"""A lock in a file: one holder on this machine, and the kernel frees it with its process.

On POSIX this is ``flock`` and little more, and not the package filelock, which locks in the same
way: to load that takes a third of the time that a keeper needs to start.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from typing import Any, Self

PAUSE = 0.005
"""Seconds between two tries."""


class LockedError(Exception):
    """Another holder did not let go in time."""


class FileLock:
    """The lock of the file at `path`, which is made where it is missing.

    Two objects exclude each other in one process, too. A forked child does not hold what its parent
    holds.
    """

    _held: Any = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        _locks.add(self)

    def acquire(self, timeout: float = 0.0) -> Self:
        """Take it, and wait at most `timeout` seconds for that. As a context manager it is given
        back at the end. Raises `LockedError`, `OSError`."""
        deadline = time.monotonic() + timeout
        while True:
            self._held = _lock(self.path)
            if self._held is not None:
                return self
            if time.monotonic() >= deadline:
                raise LockedError(f"{self.path} is held by another process")
            time.sleep(PAUSE)

    def release(self) -> None:
        """Give it back; a no-op where it is not held. The file stays."""
        held, self._held = self._held, None
        if held is not None:
            _unlock(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        # Memory can be refused between taking it and handing it on, and then nobody has it.
        self.release()

    def _forget(self) -> None:
        held, self._held = self._held, None
        if held is not None and sys.platform != "win32":
            os.close(held)  # the lock stays with the parent's descriptor


_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


if sys.platform == "win32":
    import filelock

    def _lock(path: str) -> Any:
        lock = filelock.FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return None
        return lock

    def _unlock(lock: Any) -> None:
        lock.release()

else:
    import fcntl

    def _lock(path: str) -> int | None:
        """A descriptor that holds the lock; None while another does."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                # Who held it before may have removed the file: then others lock a new one.
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116
                    return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _unlock(descriptor: int) -> None:
        # A child between fork and exec has a copy, and to close ours would leave the lock with it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
