"""One client's connection: plays the steps that answer its requests, and closes.

Strategy: a small state machine that never waits. What is due at once is sent in one piece, but a
stream's first event leaves alone and at once, and after it every stream gets a bounded burst per
turn, so they share fairly. A connection produces only while its socket takes what it produced, and
reads only so far ahead; so no client can make the server grow.
"""

from __future__ import annotations

import _socket
import selectors
import time
from contextlib import suppress
from itertools import chain

from fake_shimmy.serving.incoming import CONTINUE, Incoming
from fake_shimmy.wire.steps import (
    Cut,
    Exit,
    HalfClose,
    Hang,
    Pause,
    Refuse,
    Reset,
    Sent,
    Upgrade,
    Wait,
    Work,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.api.application import Application
    from fake_shimmy.serving.loop import Loop
    from fake_shimmy.wire.steps import Step, Steps

BURST_STEPS = 48
"""Steps of one stream that are played in one turn."""

BURST_BYTES = 128 * 1024
"""Bytes of one connection that are sent in one turn."""

READ_SIZE = 64 * 1024
READ_AHEAD = 256 * 1024
"""Bytes that are read ahead of the request being answered."""

UPGRADED_READ_SIZE = 4096
"""As the real one reads after an upgrade: what is not read by the end makes the end a reset."""

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_LINGER_RESET = b"\1\0\0\0\0\0\0\0"


class Connection:
    """A client's socket and the state of the exchange, of which ``loop`` calls the methods.
    ``refuse`` is asked to refuse connections for some seconds."""

    __slots__ = (
        "_application",
        "_incoming",
        "_is_new",
        "_loop",
        "_out",
        "_refuse",
        "_steps",
        "_wait",
        "closed",
        "left",
        "mask",
        "number",
        "queued",
        "sent",
        "sock",
        "waiting",
    )

    def __init__(
        self,
        loop: Loop,
        application: Application,
        sock: _socket.socket,
        number: int,
        refuse: Callable[[float], None],
    ) -> None:
        self.sock = sock
        self.number = number
        """Of the connections of this server, from 1."""
        self.left: Callable[[], None] | None = None
        """Called when the connection ends, by whomever."""
        self.sent: Callable[[], None] | None = None
        """Called, once, when the running answer was given to the system."""
        self.mask = _READ
        self.queued = False
        self.waiting = False
        """A timer will continue the answer, or nothing will."""
        self.closed = False
        self._loop = loop
        self._application = application
        self._refuse = refuse
        self._incoming = Incoming()
        self._steps: Iterator[Step] | None = None
        self._out = b""
        self._is_new = False
        """No event of the running answer has been sent yet."""
        self._wait = 0
        """Number of the last wait: what would end an older one comes too late."""

    def on_event(self, mask: int) -> None:
        """The socket can be read or written."""
        if mask & _WRITE:
            self._flush()
            if not self._out and not self.closed:
                self.play()
        if mask & _READ and not self.closed:
            incoming = self._incoming
            try:
                data = self.sock.recv(UPGRADED_READ_SIZE if incoming.is_upgraded else READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return
            if not data:
                self._on_end()
                return
            if incoming.is_upgraded and incoming.listener is None:
                # Only whether the client is still there matters by now.
                return
            incoming.buffer += data
            if self._steps is None and not self._out:
                self._advance()
            elif len(incoming.buffer) > READ_AHEAD:
                self._want(self.mask & ~_READ)

    def play(self) -> None:
        """One turn of the running answer: produce a burst, send it, and queue for the next."""
        steps = self._steps
        if self._out or self.waiting:
            return
        if steps is None:
            self._advance()
            return
        pieces: list[bytes] = []
        size = 0
        # The first event must not wait for its successors.
        limit = 1 if self._is_new else BURST_STEPS
        for step in steps:
            if type(step) is bytes:
                self._is_new = False
                pieces.append(step)
                size += len(step)
                limit -= 1
                if limit <= 0 or size >= BURST_BYTES:
                    break
            elif self._play_special(step, pieces):
                break
        else:
            self._steps = None
        if self.closed:
            return
        if pieces and pieces[0]:
            self._send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._steps is None:
            if not self._out and not self.closed:
                self._finish()
        elif not self.waiting and not self._out and not self.closed:
            self._loop.enqueue(self)

    def resume(self, result: Steps | Exception) -> None:
        """Go on with what was done aside."""
        if isinstance(result, Exception):
            raise result
        self.waiting = False
        self._start(result)

    def close(self, in_order: bool = False) -> None:
        """Close; ``in_order`` says goodbye first, or unread bytes would make it a reset that can
        overtake the answer."""
        if self.closed:
            return
        self.closed = True
        self._want(0)
        if in_order:
            with suppress(OSError):
                self.sock.shutdown(_socket.SHUT_WR)
        self.sock.close()
        self._steps = None
        if self.left is not None:
            self.left()

    def wake_up(self, wait: int) -> None:
        """Go on, if that is the wait that goes on."""
        if self.waiting and wait == self._wait and not self.closed:
            self.waiting = False
            self._loop.enqueue(self)

    def is_local(self) -> bool:
        """Whether the client is on this machine."""
        try:
            host: str = self.sock.getpeername()[0]
        except OSError:
            # It has left.
            return False
        return host == "::1" or host.removeprefix("::ffff:").startswith("127.")

    def _on_end(self) -> None:
        """The client sends no more: it breaks a body off, or it has left."""
        steps = self._incoming.break_off()
        if steps is None:
            self.close()
        else:
            self._want(self.mask & ~_READ)
            self._start(steps)

    def _advance(self) -> None:
        """Take up requests as long as complete ones are there and answers are sent at once."""
        application = self._application
        incoming = self._incoming
        while not self.closed and self._steps is None and not self._out:
            steps = incoming.answer(application, self)
            if steps is None:
                return
            if steps is CONTINUE:
                self._send(CONTINUE[0])
                continue
            if incoming.is_upgraded:
                # The real one reads no further, so neither a flood nor a goodbye is noticed.
                self._want(self.mask & ~_READ)
            self._start(steps)
            if not incoming.buffer:
                return

    def _start(self, steps: Steps) -> None:
        self._steps = iter(steps)
        # Only what is made while it is sent has a first event that must not wait.
        self._is_new = type(steps) is not tuple
        self.play()

    def _play_special(self, step: Step, pieces: list[bytes]) -> bool:
        """Play a step that is not bytes; whether the turn ends here."""
        if isinstance(step, Sent):
            return self._play_after(step, pieces)
        if isinstance(step, Pause):
            if not step.seconds:
                return True  # the others are served before the next turn
            self._loop.wake(time.monotonic() + step.seconds, self, self._begin_wait())
            return True
        if isinstance(step, Hang):
            self._begin_wait()
            self._want(self.mask | _READ)
            return True
        if isinstance(step, Work):
            self._begin_wait()
            self._loop.work(self, step.work)
            return True
        if isinstance(step, Wait):
            wait = self._begin_wait()
            step.subscribe(lambda: self.wake_up(wait))
            if step.seconds is not None:
                self._loop.wake(time.monotonic() + step.seconds, self, wait)
            return True
        if isinstance(step, Refuse):
            self._refuse(step.seconds)
            return False
        if isinstance(step, Upgrade):
            self._incoming.upgrade(step)
            return False
        return self._play_after(step, pieces)

    def _play_after(self, step: Step, pieces: list[bytes]) -> bool:
        """The same for a step before which all that was said must be out."""
        if pieces:
            self._send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()
        if self._out and self._steps is not None:
            self._steps = chain((step,), self._steps)
            return True
        if isinstance(step, Sent):
            step.tell()
            return False
        if isinstance(step, HalfClose):
            self._begin_wait()
            self.sock.shutdown(_socket.SHUT_WR)
            self._want(self.mask | _READ)
            return True
        if isinstance(step, Exit):
            from fake_shimmy.rust.process import end_process

            end_process(step.status)
        if isinstance(step, Reset):
            self.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _LINGER_RESET)
            self.close()
        elif isinstance(step, Cut):
            self._steps = None
            self._incoming.has_ended = True
        return True

    def _begin_wait(self) -> int:
        self.waiting = True
        self._wait += 1
        return self._wait

    def _send(self, data: bytes) -> None:
        if self._out:
            self._out += data
            return
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            self._out = data[sent:]
            self._want(self.mask | _WRITE)

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        self._out = self._out[sent:]
        if not self._out:
            self._want(self.mask & ~_WRITE)
            if self._steps is None and not self._incoming.waits_for_body:
                self._finish()

    def _finish(self) -> None:
        """The answer is out: close, or go on with what comes next."""
        if self.sent is not None:
            tell, self.sent = self.sent, None
            tell()
        incoming = self._incoming
        if incoming.listener is not None:
            self._want(self.mask | _READ)
            self._loop.enqueue(self)
            return
        if incoming.is_last:
            self.close(in_order=not incoming.is_upgraded)
            return
        if incoming.is_unread:
            # One more look, then the connection is given up rather than read to its end.
            with suppress(BlockingIOError, InterruptedError):
                incoming.buffer += self.sock.recv(READ_SIZE)
            if not incoming.skip_rest():
                self.close(in_order=True)
                return
        if not self.mask & _READ:
            self._want(self.mask | _READ)
        if incoming.buffer:
            # Not from here: a thousand pipelined requests would be a thousand calls deep.
            self._loop.enqueue(self)

    def _want(self, mask: int) -> None:
        """Watch the socket for ``mask``."""
        if mask == self.mask:
            return
        selector = self._loop.selector
        if not mask:
            selector.unregister(self.sock)
        elif not self.mask:
            selector.register(self.sock, mask, self)
        else:
            selector.modify(self.sock, mask, self)
        self.mask = mask
