"""The listening socket: connections are accepted, or refused for a while.

Strategy: a member of the loop, like the connections are. A refusal closes the socket, and at its
end the port is opened again.
"""

from __future__ import annotations

import _socket
import selectors
import time
from contextlib import suppress

from fake_shimmy.serving.connection import Connection
from fake_shimmy.serving.listen import listen
from fake_shimmy.serving.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.application import Application
    from fake_shimmy.serving.listen import Listener

ACCEPT_RETRY = 1.0
"""Seconds without accepting after the system refused a descriptor."""


def serve(application: Application, listener: Listener) -> None:
    """Answer what comes in on ``listener`` until a signal ends the process."""
    loop = Loop(application.server.panicked)
    Acceptor(loop, application, listener)
    loop.run()


class Acceptor:
    """Accepts on ``listener`` for ``application``; the connections become members of ``loop``."""

    def __init__(self, loop: Loop, application: Application, listener: Listener) -> None:
        self.closed = False
        self._loop = loop
        self._application = application
        self._listener = listener
        self._family = listener.family
        self._count = 0
        self._address: tuple[object, ...] | None = None
        """Of the closed listener, while connections are refused."""
        self._refused_until = 0.0
        self._watch()

    def on_event(self, mask: int) -> None:  # noqa: ARG002
        """A client connects."""
        if self._address is not None:
            # Refused since the selector was asked.
            return
        # A few at a time, so that a flood of connects leaves room for the others.
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                self._loop.selector.unregister(self._listener)
                self._retry_at(time.monotonic() + ACCEPT_RETRY)
                return
            sock.setblocking(False)
            # Some systems refuse it where the client has left by now.
            with suppress(OSError):
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._count += 1
            connection = Connection(self._loop, self._application, sock, self._count, self.refuse)
            self._loop.selector.register(sock, selectors.EVENT_READ, connection)

    def wake_up(self, wait: int = 0) -> None:  # noqa: ARG002
        """Accept again, if nothing is against it."""
        if self._address is not None:
            # An earlier refusal's end is not this one's.
            if time.monotonic() >= self._refused_until:
                self._listen_again(self._address)
        elif self._listener.fileno() not in self._loop.selector.get_map():
            self._watch()

    def refuse(self, seconds: float) -> None:
        """Refuse connections for ``seconds``; for 0, take them again."""
        self._refused_until = time.monotonic() + seconds
        if seconds and self._address is None:
            self._address = self._listener.getsockname()
            self.close()
        if seconds:
            self._retry_at(self._refused_until)
        else:
            self.wake_up()

    def close(self, in_order: bool = False) -> None:  # noqa: ARG002
        """Close the listening socket."""
        if self._listener.fileno() in self._loop.selector.get_map():
            self._loop.selector.unregister(self._listener)
        self._listener.close()

    def _listen_again(self, address: tuple[object, ...]) -> None:
        try:
            listener = listen(self._family, address)
        except OSError:
            # Another process has the port by now.
            self._retry_at(time.monotonic() + ACCEPT_RETRY)
            return
        self._address, self._listener = None, listener
        self._watch()

    def _watch(self) -> None:
        self._listener.setblocking(False)
        self._loop.selector.register(self._listener, selectors.EVENT_READ, self)

    def _retry_at(self, when: float) -> None:
        self._loop.wake(when, self)
