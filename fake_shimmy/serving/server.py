"""The only room with sockets: accepts connections and gives each its turn.

Strategy: one thread, one selector. A connection that has something to do at once is queued; the
others are woken by their socket or by a timer. Whatever happens to one connection, the others go
on.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from heapq import heappop, heappush

from fake_shimmy.rust.backtrace import Panic
from fake_shimmy.serving.connection import Connection
from fake_shimmy.serving.listening import listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.api.app import App
    from fake_shimmy.serving.aside import Worker
    from fake_shimmy.wire.steps import Steps

ACCEPT_RETRY = 1.0
"""Seconds without accepting after the system refused a descriptor."""

LONGEST_SLEEP = 3600.0
"""Seconds; systems refuse to sleep for some millions of them."""


class Server:
    """Serves ``app`` on a listening socket until a signal ends the process."""

    def __init__(self, app: App, listener: socket.socket) -> None:
        self.app = app
        self.selector = selectors.DefaultSelector()
        self._listener = listener
        self._listener_family = listener.family
        self._ready: deque[Connection] = deque()
        self._timers: list[tuple[float, int, Connection | None, int]] = []
        self._timer_count = 0
        self._worker: Worker | None = None
        self._count = 0
        self._address: tuple[object, ...] | None = None
        """Of the closed listener, while connections are refused."""
        self._refused_until = 0.0
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Serve for ever."""
        select = self.selector.select
        ready = self._ready
        timers = self._timers
        monotonic = time.monotonic
        while True:
            timeout: float | None = None
            if ready:
                timeout = 0
            elif timers:
                timeout = min(max(0.0, timers[0][0] - monotonic()), LONGEST_SLEEP)
            for key, mask in select(timeout):
                connection: Connection | None = key.data
                if connection is None:
                    self._on_own_event(key.fileobj)
                elif not connection.closed:
                    self._guarded(connection, connection.on_event, mask)
            if timers:
                self._fire_timers(monotonic())
            for _ in range(len(ready)):
                connection = ready.popleft()
                connection.queued = False
                if not connection.closed:
                    self._guarded(connection, connection.play)

    def enqueue(self, connection: Connection) -> None:
        """Give ``connection`` a turn soon."""
        if not connection.queued:
            connection.queued = True
            self._ready.append(connection)

    def wake(self, when: float, connection: Connection | None, wait: int = 0) -> None:
        """End that ``wait`` of ``connection`` (or look whether to accept) at ``when`` of the
        monotonic clock."""
        self._timer_count += 1
        heappush(self._timers, (when, self._timer_count, connection, wait))

    def work(self, connection: Connection, work: Callable[[], Steps]) -> None:
        """Do ``work`` aside; ``connection`` resumes with what it gives."""
        if self._worker is None:
            from fake_shimmy.serving.aside import Worker

            self._worker = Worker()
            self.selector.register(self._worker.wakeup, selectors.EVENT_READ, None)
        self._worker.submit(connection, work)

    def refuse(self, seconds: float) -> None:
        """Refuse connections for ``seconds``; for 0, take them again."""
        self._refused_until = time.monotonic() + seconds
        if seconds and self._address is None:
            self._address = self._listener.getsockname()
            if self._listener.fileno() in self.selector.get_map():
                self.selector.unregister(self._listener)
            self._listener.close()
        if seconds:
            self.wake(self._refused_until, None)
        else:
            self._accept_again()

    def _listen_again(self, address: tuple[object, ...]) -> None:
        try:
            listener = listen(self._listener_family, address)
        except OSError:
            # Somebody else has the port by now.
            self.wake(time.monotonic() + ACCEPT_RETRY, None)
            return
        listener.setblocking(False)
        self._address, self._listener = None, listener
        self.selector.register(listener, selectors.EVENT_READ, None)

    def _on_own_event(self, source: object) -> None:
        if source is self._listener or self._worker is None:
            self._accept()
            return
        for connection, result in self._worker.finished():
            if not connection.closed:
                self._guarded(connection, connection.resume, result)

    def _guarded(
        self, connection: Connection, action: Callable[..., None], *arguments: object
    ) -> None:
        try:
            action(*arguments)
        except (ConnectionError, TimeoutError):
            connection.close()
        except Panic as panic:
            self.app.panicked(panic)
            connection.close(in_order=True)
        except Exception:
            import traceback

            traceback.print_exc()
            connection.close()

    def _accept(self) -> None:
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
                self.selector.unregister(self._listener)
                self.wake(time.monotonic() + ACCEPT_RETRY, None)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._count += 1
            connection = Connection(self, sock, self._count)
            self.selector.register(sock, selectors.EVENT_READ, connection)

    def _accept_again(self) -> None:
        if self._address is not None:
            # An earlier refusal's end is not this one's.
            if time.monotonic() >= self._refused_until:
                self._listen_again(self._address)
        elif self._listener.fileno() not in self.selector.get_map():
            self.selector.register(self._listener, selectors.EVENT_READ, None)

    def _fire_timers(self, now: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, _, connection, wait = heappop(timers)
            if connection is None:
                self._accept_again()
            else:
                connection.wake_up(wait)
