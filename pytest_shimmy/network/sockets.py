"""Sockets that are ours whatever a test does to `socket.socket`.

Plugins that forbid or record network use (pytest-socket, pytest-recording) replace `socket.socket`
or its methods. They mean the user's code: our own line to a server must neither fail a test nor
appear in a recording. The class beneath, of which `socket.socket` is a subclass, is the system's.

What a keeper loads takes names from the module beneath, too: to load `socket` takes two
milliseconds, for which every first server would wait.
"""

from __future__ import annotations

import _socket
from typing import Any, Self

LOOPBACK = "127.0.0.1"


class Socket(_socket.socket):
    """What we use of `socket.socket`."""

    def accept(self) -> tuple[Socket, Any]:
        """The next connection, blocking, and the peer's address."""
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        peer = Socket(fileno=descriptor)
        peer.settimeout(None)  # whatever default a test has set
        return peer, address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(host: str, port: int, timeout: float | None) -> Socket:
    """A connection, made within `timeout` seconds for each address of `host`. Raises `OSError`."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in _socket.getaddrinfo(
        host, port, 0, _socket.SOCK_STREAM
    ):
        peer = Socket(family, kind, protocol)
        try:
            peer.settimeout(timeout)
            peer.connect(address)
        except OSError as error:
            peer.close()
            failure = failure or error
        except BaseException:
            peer.close()
            raise
        else:
            return peer
    raise failure or OSError(f"{host} has no address")


def listen(backlog: int) -> tuple[Socket, tuple[str, int]]:
    """A listener on a free port of this machine's loopback, and its address. Raises `OSError`."""
    listener = Socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.settimeout(None)
        listener.bind((LOOPBACK, 0))
        listener.listen(backlog)
        host, port = listener.getsockname()[:2]
    except BaseException:
        listener.close()
        raise
    return listener, (host, port)
