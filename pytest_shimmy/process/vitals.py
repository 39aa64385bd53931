"""What Linux tells of a process without disturbing it: whether it lives, and whether it has
written anything since the last look."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

PF_EXITING = 0x4


class Vitals(NamedTuple):
    """Of a process that is not exiting."""

    parent: int
    """Its parent's process id."""
    started: bytes
    """When it was started; with the process id, that tells it from all others."""
    written: int
    """Bytes that it has written so far to files and pipes. What it sends over sockets counts, too,
    where it does that with ``write()``."""


def vitals_of(pid: int) -> Vitals | None:
    """None where it is exiting or gone, or where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        fields = _status(pid)
        counters = _read(f"/proc/{pid}/io")
    except OSError:  # gone; or a kernel that does not count, or tells only root
        return None
    if int(fields[6]) & PF_EXITING:
        return None
    written = counters.partition(b"wchar: ")[2].partition(b"\n")[0]
    return Vitals(int(fields[1]), fields[19], int(written))


def is_exiting(pid: int) -> bool:
    """Whether a child of this process has exited, or is just exiting."""
    if sys.platform == "linux":
        # A dying process closes its sockets before it can be waited for, and may lose the
        # processor in between. Its flag is up before both.
        try:
            return bool(int(_status(pid)[6]) & PF_EXITING)
        except OSError:  # reaped since, or there is no /proc
            pass
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:  # reaped since
        return True


def _status(pid: int) -> list[bytes]:
    """The fields of ``/proc/PID/stat`` after the program's name, which may hold anything."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    # A file of the kernel is read at once, and before every test: without Python's own buffers.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
