"""Faults for the whole life of a process: a start that fails, a death on its own, an ill health.

Strategy: one method for each moment of a life; what is due there happens there, and may end the
process. Death after a while comes by an alarm, so it is on time whatever the server waits for;
the log is flooded from a thread, so a reader who does not keep up stops the flood and not the
answers. The words of a process without memory are those of 2.5.0, both builds, and 1.8.1.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from fake_shimmy.rust import console
from fake_shimmy.rust.process import end_process
from fake_shimmy.stage import alarm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from fake_shimmy.script.rules import Life

OK = "ok"
UNHEALTHY = "unhealthy"
_HEALTH = {None: OK, "never": UNHEALTHY, "garbage": "garbage", "silent": "silent"}

_NO_MEMORY = (
    "memory allocation of 417792 bytes failed\n"
    "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"
)
_NO_LIST = "\udcff\udcfe\0\x1b[ =>> no list of models, as scripted {]\n\udcc3("

_FLOOD_LINE = b"fake-shimmy floods its log, as scripted ".ljust(63, b"~") + b"\n"
_FLOOD_LINES = 64
"""At once: so many bytes stay together in a pipe, and do not mix with the server's own lines."""

_FLOOD_PAUSE = 0.02
_LONG = 3600.0
"""Seconds."""


class Lifetime:
    """The life that is scripted for this process. Any method but ``health`` may end it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._born = 0.0
        self._answered = 0
        self._checks = 0

    def begin(self) -> None:
        """A command begins."""
        if self._life.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif self._life.stop_delay:
            signal.signal(signal.SIGTERM, lambda _number, _frame: self._stop_later())

    def spoil_list(self) -> bool:
        """Models are to be listed; whether that was prevented."""
        if self._life.list == "hang":
            while True:
                time.sleep(_LONG)
        if self._life.list == "garbage":
            console.out(_NO_LIST)
        return self._life.list is not None

    def before_listening(self) -> None:
        """The server has claimed to be ready and is about to listen."""
        life = self._life
        if life.log_flood:
            from _thread import start_new_thread

            start_new_thread(_flood, (life.log_flood,))
        time.sleep(life.start_delay)
        if life.refuse is not None:
            if life.refuse.stderr:
                console.err(life.refuse.stderr)
            sys.exit(life.refuse.status)

    def listening(self) -> None:
        """Connections are taken from now on."""
        self._born = time.monotonic()
        death = self._life.exit
        if death is None:
            return
        if death.after_requests == 0 or death.after_seconds == 0:
            self._die()
        if death.after_seconds is None:
            return
        if sys.platform == "win32":
            from _thread import start_new_thread

            start_new_thread(self._die_later, (death.after_seconds,))
        else:
            alarm.call_at(self._born + death.after_seconds, self._die)

    @property
    def is_failing(self) -> bool:
        """Whether no model loads."""
        return self._life.failing

    def health(self) -> str:
        """What the next health check finds: ok, unhealthy, garbage, silent."""
        life = self._life
        if time.monotonic() < self._born + life.healthy_after:
            return UNHEALTHY
        if not isinstance(life.health, list):
            return _HEALTH[life.health]
        is_healthy = life.health[self._checks % len(life.health)]
        self._checks += 1
        return OK if is_healthy else UNHEALTHY

    @property
    def counts_answers(self) -> bool:
        """Whether it matters how many there were."""
        return self._life.exit is not None and self._life.exit.after_requests is not None

    def answered(self, path: str) -> None:
        """The answer to a request for ``path`` is over."""
        death = self._life.exit
        if death is None or death.after_requests is None or path == "/health":
            return
        self._answered += 1
        if self._answered >= death.after_requests:
            self._die()

    def _stop_later(self) -> None:
        # The second signal changes nothing.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        when = time.monotonic() + self._life.stop_delay
        alarm.call_at(when, lambda: end_process(-signal.SIGTERM))

    def _die_later(self, seconds: float) -> None:
        time.sleep(seconds)
        self._die()

    def _die(self) -> NoReturn:
        death = self._life.exit
        assert death is not None
        if death.out_of_memory:
            console.err(_NO_MEMORY)
            end_process(-signal.SIGABRT)
        end_process(death.status if death.signal is None else -signal.Signals[death.signal])


def _flood(rate: int) -> None:
    """Write ``rate`` bytes a second to stdout until the pipe is closed."""
    begun = time.monotonic()
    written = 0
    with suppress(OSError):
        while True:
            due = int((time.monotonic() - begun) * rate) - written
            lines = min(due // len(_FLOOD_LINE), _FLOOD_LINES)
            if lines:
                written += os.write(1, _FLOOD_LINE * lines)
            else:
                time.sleep(_FLOOD_PAUSE)
