"""The sockets by which our processes on one machine talk, and who is at the other end.

On Linux they are Unix sockets with random abstract names. The kernel says which user and which
process is at the other end, no other program comes by such a name by chance, and it is gone with
its listener; neither a file nor a network interface is needed. Elsewhere they are TCP on loopback,
where only the token of a message tells who speaks.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import _socket
import contextlib
import os
import struct
import sys
import time
from typing import Any, NamedTuple

from ..network.sockets import Socket
from ..network.sockets import listen as listen_on_loopback

ABSTRACT = sys.platform == "linux"
"""Whether `listen` makes Unix sockets."""

QUEUE = 1024
"""Connections that may wait for a listener; Linux takes at most net.core.somaxconn."""

Address = str | tuple[str, int]
"""The name of a Unix socket, or host and port. `to_address` reads it back from JSON."""


class Peer(NamedTuple):
    """The process at the other end, as the kernel tells it."""

    pid: int
    user: int


def listen() -> Socket:
    """A listener at an address of its own. Raises `OSError`."""
    if sys.platform != "linux" or not ABSTRACT:
        return listen_on_loopback(QUEUE)[0]
    listener = Socket(_socket.AF_UNIX)
    try:
        listener.bind(f"\0pytest-shimmy-{os.urandom(16).hex()}")
        listener.listen(QUEUE)
    except BaseException:
        listener.close()
        raise
    return listener


def pair() -> tuple[Socket, Socket]:
    """Both ends of a connection. Raises `OSError`."""
    if sys.platform == "win32":
        import socket

        near, far = socket.socketpair()
    else:
        near, far = _socket.socketpair()
    return Socket(fileno=near.detach()), Socket(fileno=far.detach())


def address_of(listener: Socket) -> Address:
    """Where `connect` finds it."""
    name = listener.getsockname()
    if isinstance(name, bytes):
        return name[1:].decode()
    return name[0], name[1]


def to_address(value: Any) -> Address:
    """An `Address` that has been through JSON. Raises `ValueError`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        host, port = value
        if isinstance(host, str) and type(port) is int:
            return host, port
    raise ValueError(f"not an address: {value!r}")


def _family(address: Address) -> int:
    if sys.platform != "win32" and isinstance(address, str):
        return _socket.AF_UNIX
    return _socket.AF_INET


def connect(address: Address, timeout: float) -> Socket:
    """A connection to a process of this user; nothing has been sent.

    It keeps `timeout`. Raises `OSError`: `PermissionError` when another user listens there.
    """
    deadline = time.monotonic() + timeout
    while True:
        peer = Socket(_family(address))
        try:
            peer.settimeout(timeout)
            peer.connect(f"\0{address}" if isinstance(address, str) else address)
            if is_stranger(peer):
                raise PermissionError(f"{address} belongs to another user")
        except BlockingIOError:  # a Unix socket whose queue is full does not make us wait
            peer.close()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{address} has no room for another connection") from None
            time.sleep(0.01)
        except BaseException:
            peer.close()
            raise
        else:
            return peer


def peer_of(connection: Socket) -> Peer | None:
    """Who is at the other end; None where the system does not tell."""
    if sys.platform == "linux" and connection.family == _socket.AF_UNIX:
        with contextlib.suppress(OSError):
            data: bytes = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
            pid, user, _ = struct.unpack("3i", data)
            return Peer(pid, user)
    return None


def is_stranger(connection: Socket) -> bool:
    """Whether another user is at the other end, as far as the system tells."""
    peer = peer_of(connection)
    return sys.platform != "win32" and peer is not None and peer.user != os.getuid()
