"""Port leases: two runs of ours never pick the same port, and a stranger's port is skipped.

A lease is a locked file per port, held for as long as the server lives and never deleted
(deleting a lock file lets two holders lock two files of the same name). The kernel frees the
lock with its holder, however that ends. The probe by binding covers everybody who does not
lease; the moment between probe and the server's own bind stays open to strangers, and the
manager answers it by taking the next port.
"""

from __future__ import annotations

import _socket
import errno
import itertools
import os
import sys
from collections.abc import Iterator

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, lacks_resources, refusals_reported
from ..network.sockets import Socket
from ..process.file_lock import FileLock, LockedError
from ..runtime_dir import subdir

SHIMMY_AUTO_PORTS = range(11435, 11536)
"""Where ``--bind auto`` looks (seen on 2.5.0): left to servers that are not ours."""


class PortLease:
    """The right to use `port` among this user's processes, until `release` or process exit."""

    def __init__(self, port: int, lock: FileLock) -> None:
        self.port = port
        self._lock = lock

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> PortLease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lease(
    first: int | None = None,
    *,
    host: str = ShimmyProcessDefaults.bind_host,
    skip: frozenset[int] = frozenset(),
    limit: int | None = None,
) -> PortLease:
    """Lease the first free port, counting up from `first`, of `limit` ports if that is given.

    Without `first`, counting begins at a random place of the default range, so that a port which
    was just given up is not reused at once: a client that outlived its server would talk to ours.

    Raises `ShimmyError` (``PORT_IN_USE``) when no port is left.
    """
    tried = 0
    for port in itertools.islice(_candidates(first), limit):
        if port in skip:
            continue
        tried += 1
        with refusals_reported("no port could be leased"):
            lock = FileLock(subdir("ports") / f"{port}.lock")
            try:
                lock.acquire()
            except LockedError:
                continue
            try:
                if is_free(host, port):
                    return PortLease(port, lock)
            except BaseException:
                lock.release()
                raise
            lock.release()
    begin = ShimmyProcessDefaults.port_range.start if first is None else first
    raise ShimmyError(
        ShimmyErrorCode.PORT_IN_USE,
        f"no free port on {host}: tried {tried}, from {begin} up"
        f"{'' if limit is None else f', of at most {limit}'}; "
        "all are leased by other runs or bound by other programs.\n"
        "Stop what holds them, or choose another first port (--shimmy-port).",
        {"host": host, "first": begin, "tried": tried},
    )


def is_free(host: str, port: int) -> bool:
    """Whether `port` can be bound on `host` right now.

    Raises `ShimmyError` (``START_FAILED``) when `host` is no address of this machine, `OSError`
    when the system refuses to try.
    """
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    try:
        with Socket(family, _socket.SOCK_STREAM) as probe:
            # On POSIX the option ignores connections in TIME_WAIT, as the server's own bind does;
            # on Windows it would let two servers share the port.
            if sys.platform != "win32":
                probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        not_ours = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        if error.errno in not_ours or isinstance(error, _socket.gaierror):
            raise ShimmyError(
                ShimmyErrorCode.START_FAILED,
                f"{host} is no address of this machine: {error.strerror or error}.\nA server can "
                "listen on 127.0.0.1, or on another IP address of one of its network interfaces.",
                {"host": host},
            ) from error
        if lacks_resources(error):
            raise
        return False
    return True


def _candidates(first: int | None) -> Iterator[int]:
    ports = ShimmyProcessDefaults.port_range
    if first is None:
        begin = int.from_bytes(os.urandom(4), "big") % len(ports)
        yield from ports[begin:]
        yield from ports[:begin]
        return
    # A person who asks for one of shimmy's own ports gets it; counting on skips them.
    yield first
    for port in range(first + 1, min(first + len(ports), 65536)):
        if port not in SHIMMY_AUTO_PORTS:
            yield port
