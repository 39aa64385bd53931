"""How the server's port is opened: at the start, and again after connections were refused."""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BACKLOG = 1024
"""Connections that may wait to be accepted."""


def listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    """A listening socket; raises ``OSError`` as the system says."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
