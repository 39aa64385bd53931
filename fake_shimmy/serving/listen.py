"""How the server's port is opened: at the start, and again after connections were refused.

Strategy: the module beneath `socket`, which takes a tenth of the time to load.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BACKLOG = 1024
"""Connections that may wait to be accepted."""


class Listener(_socket.socket):
    """A socket that can accept."""

    def accept(self) -> tuple[_socket.socket, Any]:
        """The next connection, and its client's address; raises ``OSError``."""
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return _socket.socket(self.family, self.type, self.proto, fileno=descriptor), address


def listen(family: int, address: tuple[Any, ...]) -> Listener:
    """A listening socket; raises ``OSError`` as the system says."""
    listener = Listener(family, _socket.SOCK_STREAM)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
