"""A keeper's connections: who may speak, who holds the server, who waits for its end.

One thread waits for all of them. A peer that connects has a few seconds to prove that it belongs to
us; strangers are few at a time, say little, and are closed to make room. So none of them, however
many, keeps a test process from being heard.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable
from typing import Any

from . import sockets
from .protocol import MAX_HELLO, MAX_LINE, Channel, is_hello

HELLO_TIMEOUT = 5.0
"""Seconds in which a peer must have proved that it belongs to us."""
MAX_STRANGERS = 64
"""How many may be just about to prove it; the oldest makes room."""
SEND_TIMEOUT = 5.0
"""Seconds for an answer to be taken; a peer that reads none is given up."""
ACCEPT_PAUSE = 0.1
"""Seconds to wait where the system refuses a descriptor for a connection."""

Answer = Callable[[Channel, dict[str, Any]], None]


class Connections:
    """Listens at `address`. `answer(channel, message)` is called for what our own people say.

    Raises `OSError` where the system gives no socket.
    """

    def __init__(self, token: str, answer: Answer) -> None:
        self._token = token
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._strangers: dict[Channel, float] = {}  # and when their time is over; oldest first
        self._paused_until: float | None = None
        self.holders: set[Channel] = set()
        """Those that have proved who they are; each is a lifeline."""
        self.leavers: list[Channel] = []
        """Those that have said that they are done, and wait for us to be."""
        self._listener = sockets.listen()
        self._listener.setblocking(False)
        self.address = sockets.address_of(self._listener)
        self.watch(self._listener, self._on_connection)

    def watch(self, readable: Any, call: Callable[[], None]) -> None:
        """Call `call()` whenever there is something to read."""
        self._selector.register(readable, selectors.EVENT_READ, call)

    def forget(self, readable: Any) -> None:
        """Undo `watch`."""
        self._selector.unregister(readable)

    def hold(self, channel: Channel) -> None:
        """Take a connection whose other end is known to belong to us."""
        channel.socket.settimeout(SEND_TIMEOUT)
        channel.limit = MAX_LINE
        self.holders.add(channel)
        self.watch(channel.socket, lambda: self._on_message(channel))

    def close(self) -> None:
        """Close all of them."""
        for channel in (*self._strangers, *self.holders, *self.leavers):
            channel.close()
        self._listener.close()
        self._selector.close()

    def wait(self) -> None:
        """Deal with what comes next."""
        for key, _ in self._selector.select(self._pause()):
            key.data()
        now = time.monotonic()
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            self.watch(self._listener, self._on_connection)
        for channel in [c for c, deadline in self._strangers.items() if now >= deadline]:
            self._show_out(channel)

    def _pause(self) -> float | None:
        moments = list(self._strangers.values())[:1]
        if self._paused_until is not None:
            moments.append(self._paused_until)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _on_connection(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it is gone again
            return
        except OSError:
            # No descriptor is left. It stays readable: asked at once again, we would spin.
            if self._strangers:
                self._show_out(next(iter(self._strangers)))
            else:
                self.forget(self._listener)
                self._paused_until = time.monotonic() + ACCEPT_PAUSE
            return
        if sockets.is_stranger(connection):
            connection.close()
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._show_out(next(iter(self._strangers)))
        try:
            connection.setblocking(False)
            channel = Channel(connection, MAX_HELLO)
            self.watch(connection, lambda: self._on_hello(channel))
        except OSError:  # it has hung up, or nothing more can be watched
            connection.close()
            return
        self._strangers[channel] = time.monotonic() + HELLO_TIMEOUT

    def _show_out(self, channel: Channel) -> None:
        del self._strangers[channel]
        self.forget(channel.socket)
        channel.close()

    def _on_hello(self, channel: Channel) -> None:
        if channel not in self._strangers:  # shown out in this very round
            return
        is_one_of_us = False
        with contextlib.suppress(OSError, ValueError):
            is_open = channel.feed()
            message = channel.next_received()
            if message is None and is_open:
                return
            is_one_of_us = message is not None and is_hello(message, self._token)
        if not is_one_of_us:
            self._show_out(channel)
            return
        del self._strangers[channel]
        self.forget(channel.socket)
        self.hold(channel)
        self._dispatch(channel, True)  # it may have asked in the same breath

    def _on_message(self, channel: Channel) -> None:
        is_open = False
        with contextlib.suppress(OSError):
            is_open = channel.feed()
        self._dispatch(channel, is_open)

    def _dispatch(self, channel: Channel, is_open: bool) -> None:
        try:
            while (message := channel.next_received()) is not None:
                self._answer(channel, message)
        except (OSError, ValueError):
            is_open = False
        if not is_open and channel in self.holders:
            self.forget(channel.socket)
            self.holders.discard(channel)
            # It stays open in this direction: that it closes tells a leaver that all is done.
            self.leavers.append(channel)
