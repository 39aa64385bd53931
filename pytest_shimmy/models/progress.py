"""How far a download is: a bar on a terminal, a line now and then elsewhere, or a callable.

Strategy: one line that is rewritten needs a terminal that can, so ``TERM=dumb``, files and pipes
get whole lines, one per tenth of the way or per `LINE_INTERVAL`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TextIO

LINE_INTERVAL = 10.0
"""Seconds between plain lines while nothing else is worth one."""
BAR_INTERVAL = 0.1
"""Seconds between two states of the bar."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Progress(NamedTuple):
    """How far a download is."""

    name: str
    """The file's name."""
    done: int
    """Bytes that are here, those of an earlier, interrupted call included."""
    total: int | None
    """Bytes in all; None where the server has not said."""


ProgressListener = Callable[[Progress], None]
"""Called from the downloading thread. What it raises ends the download, which can be resumed."""


class Display(Protocol):
    """Where progress goes."""

    def update(self, progress: Progress) -> None:
        """So far is it."""

    def say(self, text: str) -> None:
        """Something that a person who waits should know."""

    def close(self) -> None:
        """There is no more to come."""


class Silence:
    """Shows no progress."""

    def update(self, progress: Progress) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class Listener(Silence):
    """A program wants to know."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener

    def update(self, progress: Progress) -> None:
        self._listener(progress)


class Lines(Silence):
    """Whole lines, few of them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: tuple[int, float] | None = None

    def update(self, progress: Progress) -> None:
        tenth = 10 * progress.done // progress.total if progress.total else 0
        now = time.monotonic()
        if self._last is None or tenth != self._last[0] or now >= self._last[1] + LINE_INTERVAL:
            self._last = tenth, now
            self.say(f"{progress.name}: {_amount(progress)}")

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bar(Silence):
    """One line, rewritten."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = float("-inf")
        self._begin: tuple[float, int] | None = None
        self._is_open = False

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._begin is None:
            self._begin = now, progress.done
        if now < self._shown + BAR_INTERVAL and progress.done != progress.total:
            return
        self._shown = now
        seconds, gained = now - self._begin[0], progress.done - self._begin[1]
        rate = f"  {human(int(gained / seconds))}/s" if seconds > 1 else ""
        text = f"  {_amount(progress)}{rate}"
        columns = shutil.get_terminal_size().columns - 1
        room = columns - len(progress.name) - len(text) - 3
        bar = ""
        if progress.total and room >= 10:
            filled = room * progress.done // progress.total
            bar = f" [{'#' * filled}{'.' * (room - filled)}]"
        self._rewrite(f"{progress.name}{bar}{text}"[:columns])

    def say(self, text: str) -> None:
        self._rewrite("")
        print(text, file=self._stream, flush=True)
        self._is_open = False

    def close(self) -> None:
        if self._is_open:
            print(file=self._stream, flush=True)
            self._is_open = False

    def _rewrite(self, text: str) -> None:
        if text or self._is_open:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
            self._is_open = True


def display(progress: bool | TextIO | ProgressListener | None) -> Display:
    """What `progress` means: nothing, stderr, another stream, or a callable."""
    if progress is None or progress is False:
        return Silence()
    if callable(progress):
        return Listener(progress)
    stream = sys.stderr if progress is True else progress
    if stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        return Bar(stream)
    return Lines(stream)


def human(count: int) -> str:
    """A number of bytes, for a person."""
    size, units = float(count), iter(_UNITS)
    unit = next(units)
    while size >= 1024 and unit != _UNITS[-1]:
        size, unit = size / 1024, next(units)
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def _amount(progress: Progress) -> str:
    if progress.total is None:
        return human(progress.done)
    percent = 100 * progress.done // progress.total if progress.total else 100
    return f"{percent:3d} %  {human(progress.done)} of {human(progress.total)}"
