"""Which process owns a listening socket, as the operating system tells it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from ..errors import lacks_resources

INVISIBLE = 0
"""`listener`: a process listens that this user may not see."""
NOBODY = -1
"""`listener`: no process listens."""


def listener(port: int, likely: int) -> int | None:
    """Process id of the listener on TCP `port`, looking at process `likely` first.

    `NOBODY`, `INVISIBLE`, or None when the system does not say (no ``/proc/net`` in some
    sandboxes). Raises `OSError` where it cannot be asked for want of a descriptor.
    """
    return _listener_proc(port, likely) if sys.platform == "linux" else _listener_psutil(port)


TCP_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def _listener_proc(port: int, likely: int) -> int | None:
    readable = False
    sockets = set()
    for table in TCP_TABLES:
        try:
            for inode in _listening_inodes(table, port):
                sockets.add(f"socket:[{inode}]")
                if _holds(likely, sockets):
                    return likely
            readable = True
        except OSError as error:
            if lacks_resources(error):
                raise
    if not sockets:
        return NOBODY if readable else None
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and _holds(int(name), sockets):
            return int(name)
    return INVISIBLE


def _holds(pid: int, sockets: set[str]) -> bool:
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):  # closed since the scan
                    if os.readlink(descriptor.path) in sockets:  # noqa: PTH115
                        return True
    except OSError as error:  # gone, or not ours to see
        if lacks_resources(error):
            raise
    return False


def _listening_inodes(table: str, port: int) -> Iterator[str]:
    # The kernel lists listening sockets first, and looks for connections only when it is asked
    # for more: that search can take longer than the rest of a start. So no row is read ahead.
    with open(table, "rb", buffering=0) as file:
        unread = b""
        header = True
        while data := file.read(ROW):
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                column = line.split()
                if header:
                    header = False
                elif column[3] != b"0A":  # LISTEN
                    return
                elif int(column[1].rpartition(b":")[2], 16) == port:
                    yield column[9].decode()


ROW = 150
"""Bytes of a row of /proc/net/tcp; those of tcp6 are a little longer."""


def _listener_psutil(port: int) -> int | None:
    import psutil

    hidden = False
    # Process by process, because a listing of the whole system needs root on macOS.
    for process in psutil.process_iter():
        try:
            for entry in process.net_connections("tcp"):
                if entry.status == psutil.CONN_LISTEN and entry.laddr.port == port:
                    return int(process.pid)
        except psutil.Error:
            hidden = True
    return INVISIBLE if hidden else NOBODY
