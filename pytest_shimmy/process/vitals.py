"""What Linux tells of a process without disturbing it: whether it lives, and whether it has
written anything since the last look."""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import contextlib
import os
import sys

PF_EXITING = 0x4


class Watched:
    """A process that is looked at again and again."""

    def __init__(self, pid: int) -> None:
        """Raises `OSError` where it is gone, or where the system does not tell."""
        self.pid = pid
        # What is open stays that of this process, whatever gets its number later.
        self._memory = _Told(f"/proc/{pid}/statm")
        self._counters = _Told(f"/proc/{pid}/io")
        self.parent = int(_fields(_Told(f"/proc/{pid}/stat").read())[1])
        """Its parent's process id, as it was then."""

    def written(self) -> int | None:
        """Bytes that it has written so far to files and pipes; None where it is exiting or gone.
        What it sends over sockets counts, too, where it does that with ``write()``."""
        try:
            counters = self._counters.read()
        except OSError:  # gone; or a kernel that does not count, or tells only root
            return None
        if not self.is_there():
            return None
        return int(counters.partition(b"wchar: ")[2].partition(b"\n")[0])

    def is_there(self) -> bool:
        """Whether it lives, and is not exiting."""
        try:
            # A process that exits gives up its memory before its sockets. This is the quickest to
            # be told of what says so.
            return not self._memory.read().startswith(b"0 ")
        except OSError:
            return False


def watch(pid: int) -> Watched | None:
    """None where it is gone, or where the system does not tell of it."""
    if sys.platform != "linux":
        return None
    try:
        return Watched(pid)
    except OSError:
        return None


def is_exiting(pid: int) -> bool:
    """Whether a child of this process has exited, or is just exiting."""
    if sys.platform == "linux":
        # A dying process closes its sockets before it can be waited for, and may lose the
        # processor in between. Its flag is up before both.
        try:
            return bool(int(_fields(_Told(f"/proc/{pid}/stat").read())[6]) & PF_EXITING)
        except OSError:  # reaped since, or there is no /proc
            pass
    if sys.platform == "win32" or not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:  # reaped since
        return True


class _Told:
    """A file of the kernel, which says something new each time. It is open as long as this lives,
    and read without Python's own buffers: that is done before every test."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY)

    def read(self) -> bytes:
        if sys.platform == "win32":  # there is no such file
            raise OSError
        return os.pread(self._file, 4096, 0)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            os.close(self._file)


def _fields(status: bytes) -> list[bytes]:
    """Those after the program's name, which may hold anything."""
    return status.rpartition(b")")[2].split()
