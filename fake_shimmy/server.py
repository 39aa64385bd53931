"""The only room with sockets: reads requests, plays the steps of the answers.

Strategy: one thread, one selector, a small state machine per connection. What is due at once is
sent in one piece, but a stream's first event leaves alone and at once, and after it every stream
gets a bounded burst per turn, so they share fairly. A connection produces only while its socket
takes what it produced, and reads only so far ahead; so no client can make the server grow.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush

from fake_shimmy import http1
from fake_shimmy.app import MAX_BODY
from fake_shimmy.steps import Cut, Exit, Hang, Log, Pause, Reset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.app import App, BodyHandler
    from fake_shimmy.http1 import Head
    from fake_shimmy.steps import Step, Steps

BURST_STEPS = 48
"""Steps of one stream that are played in one turn."""

BURST_BYTES = 128 * 1024
"""Bytes of one connection that are sent in one turn."""

READ_SIZE = 64 * 1024
READ_AHEAD = 256 * 1024
"""Bytes that are read ahead of the request being answered."""

ACCEPT_RETRY = 1.0
"""Seconds without accepting after the system refused a descriptor."""

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_LINGER_RESET = b"\1\0\0\0\0\0\0\0"


class _Connection:
    __slots__ = (
        "closed",
        "ended",
        "handler",
        "head",
        "is_new",
        "mask",
        "out",
        "queued",
        "reader",
        "sock",
        "steps",
        "unread_body",
        "waiting",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = http1.RequestReader()
        self.head: Head | None = None
        self.handler: BodyHandler | None = None
        self.steps: Iterator[Step] | None = None
        self.out = b""
        self.mask = _READ
        self.is_new = False
        """No event of the running answer has been sent yet."""
        self.unread_body = False
        """The answer began before the request's body was complete."""
        self.ended = False
        """Close once everything is sent."""
        self.queued = False
        self.waiting = False
        """A timer will continue the answer, or nothing will."""
        self.closed = False


class Server:
    """Serves ``app`` on a listening socket until a signal ends the process.

    ``log`` writes one line; it may block, and then the whole server does, as the real one.
    """

    def __init__(self, app: App, listener: socket.socket, log: Callable[[str], None]) -> None:
        self._app = app
        self._log = log
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._ready: deque[_Connection] = deque()
        self._timers: list[tuple[float, int, _Connection | None]] = []
        self._timer_count = 0
        listener.setblocking(False)
        self._selector.register(listener, _READ, None)

    def run(self) -> None:
        """Serve for ever."""
        select = self._selector.select
        ready = self._ready
        timers = self._timers
        monotonic = time.monotonic
        while True:
            timeout: float | None = None
            if ready:
                timeout = 0
            elif timers:
                timeout = max(0.0, timers[0][0] - monotonic())
            for key, mask in select(timeout):
                connection: _Connection | None = key.data
                if connection is None:
                    self._accept()
                elif not connection.closed:
                    self._guarded(self._on_event, connection, mask)
            if timers:
                self._fire_timers(monotonic())
            for _ in range(len(ready)):
                connection = ready.popleft()
                connection.queued = False
                if not connection.closed:
                    self._guarded(self._play, connection)

    def _guarded(self, action: Callable[..., None], connection: _Connection, *args: int) -> None:
        # Whatever one connection does, the others go on.
        try:
            action(connection, *args)
        except (ConnectionError, TimeoutError):
            self._close(connection)
        except Exception:
            import traceback

            traceback.print_exc()
            self._close(connection)

    def _accept(self) -> None:
        # A few at a time, so that a flood of connects leaves room for the others.
        for _ in range(64):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                self._selector.unregister(self._listener)
                self._add_timer(time.monotonic() + ACCEPT_RETRY, None)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(sock, _READ, _Connection(sock))

    def _add_timer(self, when: float, connection: _Connection | None) -> None:
        self._timer_count += 1
        heappush(self._timers, (when, self._timer_count, connection))

    def _fire_timers(self, now: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            connection = heappop(timers)[2]
            if connection is None:
                self._selector.register(self._listener, _READ, None)
            elif not connection.closed:
                connection.waiting = False
                self._enqueue(connection)

    def _enqueue(self, connection: _Connection) -> None:
        if not connection.queued:
            connection.queued = True
            self._ready.append(connection)

    def _on_event(self, connection: _Connection, mask: int) -> None:
        if mask & _WRITE:
            self._flush(connection)
            if not connection.out and not connection.closed:
                self._play(connection)
        if mask & _READ and not connection.closed:
            try:
                data = connection.sock.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            if not data:
                self._on_end(connection)
                return
            connection.reader.buffer += data
            if connection.steps is None and not connection.out:
                self._advance(connection)
            elif len(connection.reader.buffer) > READ_AHEAD:
                self._want(connection, connection.mask & ~_READ)

    def _on_end(self, connection: _Connection) -> None:
        head = connection.head
        if connection.handler is not None and head is not None:
            # The client closed its half in the middle of a body that somebody waits for.
            connection.handler = None
            connection.ended = True
            self._want(connection, connection.mask & ~_READ)
            self._start(connection, self._app.broken_body(head))
        else:
            self._close(connection)

    def _advance(self, connection: _Connection) -> None:
        """Take up requests as long as complete ones are there and answers are sent at once."""
        reader = connection.reader
        while not connection.closed and connection.steps is None and not connection.out:
            if connection.handler is not None:
                if not self._take_body(connection, connection.handler):
                    return
                continue
            try:
                head = reader.read_head()
            except http1.RefusedError as error:
                connection.ended = True
                reader.buffer.clear()
                refusal = http1.refusal(error, self._app.date())
                self._start(connection, (refusal,))
                return
            if head is None:
                return
            connection.head = head
            steps, connection.handler = self._app.respond(head)
            if steps is not None:
                connection.unread_body = not reader.skip_body()
                self._start(connection, steps)
            elif head.expects_continue:
                self._send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take_body(self, connection: _Connection, handler: BodyHandler) -> bool:
        head = connection.head
        assert head is not None
        body = connection.reader.read_body(MAX_BODY)
        if body is None:
            return False
        connection.handler = None
        if isinstance(body, bytes):
            steps = handler(head, body)
        elif body == http1.BODY_BROKEN:
            connection.ended = True
            steps = self._app.broken_body(head)
        else:
            connection.unread_body = not connection.reader.skip_body()
            steps = self._app.too_large(head)
        self._start(connection, steps)
        return True

    def _start(self, connection: _Connection, steps: Steps) -> None:
        connection.steps = iter(steps)
        # Only what is made while it is sent has a first event that must not wait.
        connection.is_new = type(steps) is not tuple
        self._play(connection)

    def _play(self, connection: _Connection) -> None:
        """One turn of the running answer: produce a burst, send it, and queue for the next."""
        steps = connection.steps
        if connection.out or connection.waiting:
            return
        if steps is None:
            self._advance(connection)
            return
        pieces: list[bytes] = []
        size = 0
        # The first event must not wait for its successors.
        limit = 1 if connection.is_new else BURST_STEPS
        for step in steps:
            if type(step) is bytes:
                connection.is_new = False
                pieces.append(step)
                size += len(step)
                limit -= 1
                if limit <= 0 or size >= BURST_BYTES:
                    break
            elif self._play_special(connection, step, pieces):
                break
        else:
            connection.steps = None
        if connection.closed:
            return
        if pieces and pieces[0]:
            self._send(connection, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if connection.steps is None:
            if not connection.out and not connection.closed:
                self._finish(connection)
        elif not connection.waiting and not connection.out and not connection.closed:
            self._enqueue(connection)

    def _play_special(self, connection: _Connection, step: Step, pieces: list[bytes]) -> bool:
        """Play a step that is not bytes; whether the turn ends here."""
        if isinstance(step, Log):
            self._log(step.text)
            return False
        if isinstance(step, Pause):
            connection.waiting = True
            self._add_timer(time.monotonic() + step.seconds, connection)
            return True
        if isinstance(step, Hang):
            connection.waiting = True
            return True
        # The rest ends the connection; what was said before it must be out by then.
        if pieces:
            self._send(connection, b"".join(pieces))
            pieces.clear()
        if isinstance(step, Exit):
            if step.status < 0:
                os.kill(os.getpid(), -step.status)
            os._exit(step.status)
        if isinstance(step, Reset):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            self._close(connection)
        elif isinstance(step, Cut):
            connection.steps = None
            connection.ended = True
        return True

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.out:
            connection.out += data
            return
        try:
            sent = connection.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            connection.out = data[sent:]
            self._want(connection, connection.mask | _WRITE)

    def _flush(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.out)
        except (BlockingIOError, InterruptedError):
            return
        connection.out = connection.out[sent:]
        if not connection.out:
            self._want(connection, connection.mask & ~_WRITE)
            if connection.steps is None and connection.handler is None:
                self._finish(connection)

    def _finish(self, connection: _Connection) -> None:
        """The answer is out: close, or go on to the next request."""
        head = connection.head
        if connection.ended or head is None or not head.keep_alive:
            self._close(connection, in_order=True)
            return
        if connection.unread_body:
            connection.unread_body = False
            # One more look, then the connection is given up rather than read to its end.
            with suppress(BlockingIOError, InterruptedError):
                connection.reader.buffer += connection.sock.recv(READ_SIZE)
            if not connection.reader.skip_body():
                self._close(connection, in_order=True)
                return
        if not connection.mask & _READ:
            self._want(connection, connection.mask | _READ)
        if connection.reader.buffer:
            # Not from here: a thousand pipelined requests would be a thousand calls deep.
            self._enqueue(connection)

    def _want(self, connection: _Connection, mask: int) -> None:
        if mask == connection.mask:
            return
        if not mask:
            self._selector.unregister(connection.sock)
        elif not connection.mask:
            self._selector.register(connection.sock, mask, connection)
        else:
            self._selector.modify(connection.sock, mask, connection)
        connection.mask = mask

    def _close(self, connection: _Connection, in_order: bool = False) -> None:
        """Close; ``in_order`` says goodbye first, or unread bytes would make it a reset that can
        overtake the answer."""
        if connection.closed:
            return
        connection.closed = True
        self._want(connection, 0)
        if in_order:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
        connection.sock.close()
        connection.steps = None
