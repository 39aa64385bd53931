"""What is in the runtime directory now: ports that are leased, and what killed keepers left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from ..runtime_dir import subdir

PROC = Path("/proc")


class Lease(NamedTuple):
    """A port that a process of this user holds."""

    port: int
    pid: int | None
    """Its holder; None where the system does not say."""
    command: str | None
    """The holder's command line, likewise."""


class KeptLogs(NamedTuple):
    """The logs of failed runs."""

    directory: Path
    files: int
    size: int


def leases() -> list[Lease]:
    """The ports that are leased at this moment. Raises `ShimmyError`, see `paths`."""
    held = []
    for lock_file in sorted(subdir("ports").glob("*.lock")):
        if lock_file.stem.isdecimal() and _is_held(lock_file):
            pid = _holder(lock_file)
            held.append(Lease(int(lock_file.stem), pid, None if pid is None else _command(pid)))
    return held


def left_behind() -> list[Path]:
    """Directories of keepers that were killed; the next keeper that starts removes them."""
    servers = subdir("servers")
    return [
        lock_file.with_suffix("")
        for lock_file in sorted(servers.glob("*.lock"))
        if not _is_held(lock_file)
    ]


def kept_logs() -> KeptLogs:
    """The logs in the default place for them."""
    directory = subdir("logs")
    sizes = []
    for path in directory.iterdir():
        with contextlib.suppress(OSError):  # a session that goes on removes old ones
            sizes.append(path.stat().st_size)
    return KeptLogs(directory, len(sizes), sum(sizes))


def _is_held(lock_file: Path) -> bool:
    # Opened anew for each look: where the file is gone by now, looking would make it again.
    if not lock_file.exists():
        return True
    try:
        with FileLock(str(lock_file), thread_local=False).acquire(blocking=False):
            return False
    except (Timeout, OSError):
        return True


def _holder(lock_file: Path) -> int | None:
    """Who holds a lock on the file, on Linux; None for others', and in other containers."""
    with contextlib.suppress(OSError):
        inode = str(lock_file.stat().st_ino)
        for pid in _lockers(inode):
            # An inode's number says little without its file system, whose own is not always
            # the one that stat tells; what the process has open says all.
            for descriptor in (PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if descriptor.samefile(lock_file):
                        return pid
    return None


def _lockers(inode: str) -> Iterator[int]:
    """A line is such as ``1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF``."""
    for line in (PROC / "locks").read_text().splitlines():
        words = line.split()
        if len(words) == 8 and words[5].rpartition(":")[2] == inode and int(words[4]) > 0:
            yield int(words[4])


def _command(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode("utf-8", "replace").strip() or None
    return None
