"""Regular expressions with a time limit, so that a slow one does not stop the whole server.

Strategy: in the main thread the process's timer interrupts the search; elsewhere (long bodies are
looked into by a worker, and Windows has no such timer) another process searches and is ended.
"""

from __future__ import annotations

import time

from fake_shimmy.script.matching import Request
from fake_shimmy.stage import alarm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

LIMIT = 0.05
"""Seconds for one search."""

PROCESS_LIMIT = 1.0
"""The same for another process, its start included."""

_PROGRAM = (
    "import re, sys\n"
    "flags, size = map(int, sys.stdin.buffer.readline().split())\n"
    "data = sys.stdin.buffer.read().decode('utf-8', 'surrogatepass')\n"
    "sys.exit(0 if re.search(data[:size], data[size:], flags) else 3)\n"
)


class _SlowError(Exception):
    pass


class LimitedRequest(Request):
    """A request whose texts are searched in limited time."""

    slow: str | None = None
    """The pattern that was given up last."""

    def is_found(self, pattern: Pattern[str], text: str) -> bool:
        search = _search if alarm.is_possible() else _search_elsewhere
        try:
            return search(pattern, text)
        except _SlowError:
            self.slow = pattern.pattern
            return False


def _search(pattern: Pattern[str], text: str) -> bool:
    # The signal may come when the search is over: then it is over, too.
    is_searching = True

    def give_up() -> None:
        if is_searching:
            raise _SlowError

    key = alarm.call_at(time.monotonic() + LIMIT, give_up)
    try:
        found = pattern.search(text)
        is_searching = False
    finally:
        is_searching = False
        alarm.cancel(key)
    return found is not None


def _search_elsewhere(pattern: Pattern[str], text: str) -> bool:
    import subprocess
    import sys

    data = (pattern.pattern + text).encode("utf-8", "surrogatepass")
    head = b"%d %d\n" % (int(pattern.flags), len(pattern.pattern))
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    try:
        done = subprocess.run(command, input=head + data, timeout=PROCESS_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise _SlowError from None
    return done.returncode == 0
