"""The one interval timer of the process, for what has to happen on time whatever is going on.

Strategy: the timer is set for the nearest of a few moments. Its signal interrupts even a regular
expression, which looks for signals while it searches; so what is due may also raise, and end that.
Only in the main thread, and not on Windows.
"""

from __future__ import annotations

import signal
import sys
import time
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAIN = get_ident()

_due: dict[object, tuple[float, Callable[[], None]]] = {}


def is_possible() -> bool:
    """Whether this thread can be interrupted."""
    return sys.platform != "win32" and get_ident() == _MAIN


def call_at(when: float, call: Callable[[], None]) -> object:
    """Have ``call`` called at ``when`` of the monotonic clock, unless what this returns is given to
    :func:`cancel` before."""
    key = object()
    _due[key] = (when, call)
    _set()
    return key


def cancel(key: object) -> None:
    """What is not due yet is not called any more."""
    if _due.pop(key, None) is not None:
        _set()


def _set() -> None:
    if sys.platform == "win32":
        return
    # A copy: the signal may come meanwhile, and take something out.
    moments = [when for when, _ in list(_due.values())]
    if not moments:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return
    signal.signal(signal.SIGALRM, _ring)
    # Zero would be no timer.
    signal.setitimer(signal.ITIMER_REAL, max(min(moments) - time.monotonic(), 1e-6))


def _ring(_number: int, _frame: object) -> None:
    due = sorted(
        ((when, key) for key, (when, _) in list(_due.items()) if when <= time.monotonic()),
        key=_moment,
    )
    # One at a time, because a call may raise; the timer comes again for the others.
    call = _due.pop(due[0][1])[1] if due else None
    _set()
    if call is not None:
        call()


def _moment(due: tuple[float, object]) -> float:
    return due[0]
