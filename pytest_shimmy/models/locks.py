"""One at a time, across processes: a lock file per thing, in the runtime directory.

The files are never deleted (deleting a lock file lets two holders lock two files of the same
name), and the kernel frees the lock with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from ..errors import ShimmyError, ShimmyErrorCode
from ..runtime_dir import subdir

LOCK_TIMEOUT = 3600.0
"""Seconds: the holder of the lock is downloading, and models are large."""


@contextlib.contextmanager
def only_one(what: str, key: str, timeout: float) -> Iterator[None]:
    """Hold the lock of `key`. `what` names it for people.

    Raises `ShimmyError` (``LOCK_TIMEOUT``) when another process holds it for `timeout` seconds.
    """
    path = subdir("models") / f"{lock_name(key)}.lock"
    lock = FileLock(str(path), thread_local=False)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise ShimmyError(
            ShimmyErrorCode.LOCK_TIMEOUT,
            f"another process has been fetching {what} for more than {timeout:g} s.\n"
            f"It holds {path}.\nWait until it is done, or end it.",
            {"lock": str(path), "timeout": timeout, "what": what},
        ) from None
    try:
        yield
    finally:
        lock.release()


def lock_name(key: str) -> str:
    """A file name for `key`, which may be long and hold anything."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
