"""The loop that gives every socket its turn.

Strategy: one thread, one selector. Who has something to do at once is queued; the others are woken
by their socket or by a timer. Whatever happens to one, the others go on.
"""

from __future__ import annotations

import _socket
import selectors
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush

from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from fake_shimmy.serving.worker import Worker
    from fake_shimmy.wire.steps import Steps

    class Member(Protocol):
        """Who has a socket or a timer. Any method but ``close`` may raise what a socket raises,
        and the member is closed then."""

        closed: bool

        def on_event(self, mask: int) -> None:
            """The registered socket can be read or written."""

        def wake_up(self, wait: int) -> None:
            """That wait is over."""

        def close(self, in_order: bool = False) -> None:
            """Take no more turns."""

    class Player(Member, Protocol):
        """Who has something to do without being asked as well."""

        queued: bool

        def play(self) -> None:
            """The turn that was asked for has come."""

        def resume(self, result: Steps | Exception) -> None:
            """The work that was given to the worker is done."""


LONGEST_SLEEP = 3600.0
"""Seconds; systems refuse to sleep for some millions of them."""


class Loop:
    """Gives turns until a signal ends the process; ``panicked`` is told what ends a member."""

    def __init__(self, panicked: Callable[[Panic], None]) -> None:
        self.selector = selectors.DefaultSelector()
        self._panicked = panicked
        self._ready: deque[Player] = deque()
        self._timers: list[tuple[float, int, Member, int]] = []
        self._timer_count = 0
        self._worker: Worker | None = None

    def run(self) -> None:
        """Go round for ever, in the main thread."""
        self._wakeup, self._waker = _pair()
        self._wakeup.setblocking(False)
        self._waker.setblocking(False)
        self.selector.register(self._wakeup, selectors.EVENT_READ, None)
        # A signal that comes just before the sleep does not interrupt it.
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
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
                member: Member | None = key.data
                if member is None:
                    self._woken_up()
                elif not member.closed:
                    self._guarded(member, member.on_event, mask)
            if timers:
                self._fire_timers(monotonic())
            for _ in range(len(ready)):
                player = ready.popleft()
                player.queued = False
                if not player.closed:
                    self._guarded(player, player.play)

    def enqueue(self, player: Player) -> None:
        """Give ``player`` a turn soon."""
        if not player.queued:
            player.queued = True
            self._ready.append(player)

    def wake(self, when: float, member: Member, wait: int = 0) -> None:
        """End that ``wait`` of ``member`` at ``when`` of the monotonic clock."""
        self._timer_count += 1
        heappush(self._timers, (when, self._timer_count, member, wait))

    def work(self, player: Player, work: Callable[[], Steps]) -> None:
        """Do ``work`` in another thread; ``player`` resumes with what it gives."""
        from fake_shimmy.serving.worker import Task, Worker

        if self._worker is None:
            self._worker = Worker(self._wake_up)

        def done(result: Steps | Exception) -> None:
            if not player.closed:
                self._guarded(player, player.resume, result)

        self._worker.submit(Task(work, lambda: not player.closed, done))

    def _wake_up(self) -> None:
        """End the sleep, from another thread."""
        # A full pair wakes it already.
        with suppress(BlockingIOError):
            self._waker.send(b"!")

    def _woken_up(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(4096)
        if self._worker is not None:
            self._worker.hand_back()

    def _guarded(self, member: Member, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(*arguments)
        except (ConnectionError, TimeoutError):
            member.close()
        except Panic as panic:
            self._panicked(panic)
            member.close(in_order=True)
        except Exception:
            import traceback

            traceback.print_exc()
            member.close()

    def _fire_timers(self, now: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, _, member, wait = heappop(timers)
            member.wake_up(wait)


def _pair() -> tuple[_socket.socket, _socket.socket]:
    """Both ends of a connection."""
    if sys.platform == "win32":
        import socket

        return socket.socketpair()
    return _socket.socketpair()
