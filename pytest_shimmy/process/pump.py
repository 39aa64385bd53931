"""Move a child's output from its pipes to a sink, and know what "everything so far" means.

Two ways of the same shape. Where pipes can be waited for together (POSIX), one thread does that,
and anybody may take what is there at once. Where they cannot (Windows), each pipe has a thread
that blocks in it. Both leave a pipe alone that a stray grandchild keeps open.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Protocol

from .thread import start_thread

READ_SIZE = 64 * 1024
CLOSE_TIMEOUT = 1.0
"""Seconds that a `BlockingPump` waits for the ends of its pipes."""

Sink = Callable[[str, bytes], None]


class Pump(Protocol):
    """Runs from its making to `close`. The sink is called by one thread at a time."""

    def drain(self) -> None:
        """Hand over all output that has been written so far, where the system allows it."""

    def close(self) -> None:
        """Hand over the rest and stop. The sink is not called any more when this returns."""


class SelectingPump:
    """Waits for readability and then takes what is there under a lock, as `drain` does."""

    def __init__(self, pipes: Mapping[str, IO[bytes]], sink: Sink) -> None:
        self._pipes = dict(pipes)
        self._sink = sink
        self._lock = threading.Lock()
        self._closed = False
        # Whatever can be refused is asked for here, and not on the thread.
        with contextlib.ExitStack() as refused:
            self._selector = refused.enter_context(selectors.DefaultSelector())
            self._wake, self._waker = os.pipe()
            refused.callback(os.close, self._wake)
            refused.callback(os.close, self._waker)
            self._selector.register(self._wake, selectors.EVENT_READ)
            for stream, pipe in self._pipes.items():
                if sys.platform != "win32":  # no such call there, and no select() for pipes either
                    os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, stream)
            self._reader = threading.Thread(target=self._run, name="shimmy-pump", daemon=True)
            start_thread(self._reader)
            refused.pop_all()

    def drain(self) -> None:
        with self._lock:
            if not self._closed:
                for stream, pipe in self._pipes.items():
                    self._take(stream, pipe)

    def close(self) -> None:
        self.drain()
        with self._lock:
            self._closed = True
        os.write(self._waker, b"x")
        self._reader.join()
        self._selector.close()
        os.close(self._wake)
        os.close(self._waker)
        for pipe in self._pipes.values():
            pipe.close()

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                if self._closed:
                    return
                for key, _ in ready:
                    if key.data is None:
                        continue
                    if not self._take(key.data, self._pipes[key.data]):
                        self._selector.unregister(key.fileobj)

    def _take(self, stream: str, pipe: IO[bytes]) -> bool:
        """Hand over what the pipe holds; False at its end. Bounded, so streams take turns."""
        for _ in range(16):
            try:
                data = os.read(pipe.fileno(), READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._sink(stream, data)
            if len(data) < READ_SIZE:  # it was all that there was
                return True
        return True


class BlockingPump:
    """A thread for each pipe. What is under way in a pipe cannot be drained."""

    def __init__(self, pipes: Mapping[str, IO[bytes]], sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._closed = False
        self._readers = [
            threading.Thread(target=self._run, args=item, name="shimmy-pump", daemon=True)
            for item in pipes.items()
        ]
        for reader in self._readers:  # one whose pipe is closed by our caller ends by that
            start_thread(reader)

    def drain(self) -> None:
        pass

    def close(self) -> None:
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._closed = True

    def _run(self, stream: str, pipe: IO[bytes]) -> None:
        # Closed by the one who reads: on Windows, closing waits for a read that is under way.
        with pipe, contextlib.suppress(OSError):
            while data := os.read(pipe.fileno(), READ_SIZE):
                with self._lock:
                    if self._closed:
                        return
                    self._sink(stream, data)
