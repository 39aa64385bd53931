"""Work that takes long, done aside, so that the one thread with the sockets never stands still.

Strategy: one thread takes tasks from a queue, one at a time, and hands the results back through a
socket pair that the selector watches. Loaded only when there is such work.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections import deque
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.serving.connection import Connection
    from fake_shimmy.wire.steps import Steps


class Worker:
    """The thread and its two queues. ``wakeup`` can be read when a task is done."""

    def __init__(self) -> None:
        self.wakeup, self._signal = socket.socketpair()
        self.wakeup.setblocking(False)
        self._signal.setblocking(False)
        self._tasks: queue.SimpleQueue[tuple[Connection, Callable[[], Steps]]]
        self._tasks = queue.SimpleQueue()
        self._done: deque[tuple[Connection, Steps | Exception]] = deque()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, connection: Connection, work: Callable[[], Steps]) -> None:
        """Do ``work`` for ``connection`` when all earlier tasks are done."""
        self._tasks.put((connection, work))

    def finished(self) -> list[tuple[Connection, Steps | Exception]]:
        """What was done since the last call."""
        with suppress(BlockingIOError):
            self.wakeup.recv(4096)
        return [self._done.popleft() for _ in range(len(self._done))]

    def _run(self) -> None:
        while True:
            connection, work = self._tasks.get()
            if connection.closed:
                continue
            try:
                result: Steps | Exception = work()
            except Exception as error:
                result = error
            self._done.append((connection, result))
            # A full pair has been signalled enough.
            with suppress(BlockingIOError):
                self._signal.send(b"!")
