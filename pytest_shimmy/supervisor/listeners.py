"""Calls listeners, one at a time and in order, on a thread of their own.

Not on the thread where something happens: a listener may stop the server, or ask for its log, and
must not find the locks of the one who reports. The thread exists only while there is something
to tell.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args, overload

from ..errors import REFUSALS, is_ours, misused
from ..events import (
    Event,
    EventName,
    Exited,
    Failed,
    Output,
    Ready,
    Restarting,
    Starting,
    Stopped,
)
from ..process.thread import start_thread

__tracebackhide__ = is_ours

Listener = Callable[[Any], object]

MAX_PENDING = 10_000
"""Events waiting for a slow listener; output beyond that is not told any more (the log has it)."""
MAX_PENDING_TEXT = 16 * 1024 * 1024
"""The same in characters: a server that floods its log sends them in pieces of 65,536."""


class Listeners:
    """Who wants to hear which event. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._listeners: dict[str, list[tuple[Listener, bool]]] = {}
        """By event, and whether they hear it once only."""
        self._pending: deque[tuple[str, Event]] = deque()
        self._pending_text = 0
        self._teller: threading.Thread | None = None

    def add(self, event: str, listener: Listener, *, once: bool = False) -> None:
        with self._changed:
            self._listeners.setdefault(event, []).append((listener, once))

    def remove(self, event: str, listener: Listener) -> None:
        with self._changed:
            known = self._listeners.get(event, [])
            for place, (each, _) in enumerate(known):
                if each == listener:
                    del known[place]
                    return

    def want(self, event: str) -> bool:
        """Whether anybody listens to `event`."""
        return bool(self._listeners.get(event))

    def tell(self, event: str, payload: Event) -> None:
        """Have the listeners called; returns at once."""
        with self._changed:
            if not self.want(event):
                return
            if isinstance(payload, Output):
                if len(self._pending) >= MAX_PENDING or self._pending_text >= MAX_PENDING_TEXT:
                    return
                self._pending_text += len(payload.text)
            self._pending.append((event, payload))
            if self._teller is not None:
                return
            self._teller = threading.Thread(
                target=self._tell_all, name="shimmy-listeners", daemon=True
            )
            try:
                start_thread(self._teller)
                return
            except REFUSALS:  # or the interpreter is shutting down, and starts no thread any more
                self._teller = threading.current_thread()
        self._tell_all()

    def wait(self, timeout: float) -> None:
        """Wait until all that was told has been heard. A listener itself does not wait."""
        with self._changed:
            if self._teller is not threading.current_thread():
                self._changed.wait_for(lambda: self._teller is None, timeout)

    def _tell_all(self) -> None:
        while True:
            with self._changed:
                if not self._pending:
                    self._teller = None
                    self._changed.notify_all()
                    return
                event, payload = self._pending.popleft()
                if isinstance(payload, Output):
                    self._pending_text -= len(payload.text)
                listeners = self._listeners.get(event, [])
                self._listeners[event] = [each for each in listeners if not each[1]]
            for listener, _ in listeners:
                try:
                    listener(payload)
                except BaseException:  # pytest.fail() is one; the next listener is to hear it too
                    with contextlib.suppress(BaseException):
                        threading.excepthook(
                            threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
                        )


class Listening:
    """What has listeners: the part of `ShimmyProcessManager` that is about them."""

    def __init__(self) -> None:
        self._listeners = Listeners()

    @overload
    def on(self, event: Literal["starting"], listener: Callable[[Starting], object]) -> None: ...
    @overload
    def on(self, event: Literal["ready"], listener: Callable[[Ready], object]) -> None: ...
    @overload
    def on(self, event: Literal["exited"], listener: Callable[[Exited], object]) -> None: ...
    @overload
    def on(
        self, event: Literal["restarting"], listener: Callable[[Restarting], object]
    ) -> None: ...
    @overload
    def on(self, event: Literal["stopped"], listener: Callable[[Stopped], object]) -> None: ...
    @overload
    def on(
        self, event: Literal["stdout", "stderr"], listener: Callable[[Output], object]
    ) -> None: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[Failed], object]) -> None: ...
    def on(self, event: EventName, listener: Listener) -> None:
        """Call `listener(payload)` at each `event`; the payloads are in `pytest_shimmy.events`."""
        self._listeners.add(_known(event), listener)

    @overload
    def once(self, event: Literal["starting"], listener: Callable[[Starting], object]) -> None: ...
    @overload
    def once(self, event: Literal["ready"], listener: Callable[[Ready], object]) -> None: ...
    @overload
    def once(self, event: Literal["exited"], listener: Callable[[Exited], object]) -> None: ...
    @overload
    def once(
        self, event: Literal["restarting"], listener: Callable[[Restarting], object]
    ) -> None: ...
    @overload
    def once(self, event: Literal["stopped"], listener: Callable[[Stopped], object]) -> None: ...
    @overload
    def once(
        self, event: Literal["stdout", "stderr"], listener: Callable[[Output], object]
    ) -> None: ...
    @overload
    def once(self, event: Literal["error"], listener: Callable[[Failed], object]) -> None: ...
    def once(self, event: EventName, listener: Listener) -> None:
        """Call `listener(payload)` at the next `event`, and never again."""
        self._listeners.add(_known(event), listener, once=True)

    def off(self, event: EventName, listener: Listener) -> None:
        """Remove a listener. One that is not there is ignored."""
        self._listeners.remove(_known(event), listener)


def _known(event: str) -> str:
    names = get_args(EventName)
    if event not in names:
        raise misused(f"there is no event {event!r}; there are: {', '.join(names)}")
    return event
