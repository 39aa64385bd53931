"""What a program that starts the fake may want of it beyond what shimmy does: a line when it
listens, and an end with its parent.

Strategy: by variables alone, so the command line stays shimmy's. A thread waits for what the
process is to end with, so neither a scripted sleep nor a full pipe keeps it alive.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import start_new_thread

from fake_shimmy.rust import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from fake_shimmy.serving.listen import Listener

READY = "FAKE_SHIMMY_READY"
"""Set: a line on stdout says when requests are answered, and where."""
ENDS_WITH = "FAKE_SHIMMY_ENDS_WITH"
"""What ``serve`` ends with: ``stdin`` (its end), ``parent``, or the number of a process."""

_PERIOD = 0.1
"""Seconds between two looks at a process, where the system does not tell of its end."""


class InvalidError(Exception):
    """An invalid value; the text says what is allowed."""


def watch(environ: Mapping[str, str]) -> None:
    """End this process with what ``environ`` names; raises :class:`InvalidError`."""
    value = environ.get(ENDS_WITH)
    if value is None:
        return
    if value == "stdin":
        start_new_thread(_end_with_stdin, ())
    elif value == "parent":
        start_new_thread(_end_with_process, (os.getppid(),))
    elif value.isascii() and value.isdigit() and 0 < int(value[:10]) < 2**31:
        start_new_thread(_end_with_process, (int(value[:10]),))
    else:
        raise InvalidError("stdin, parent, the number of a process")


def tell_ready(environ: Mapping[str, str], listener: Listener) -> None:
    """Say where ``listener`` listens, if anybody wants to know."""
    if not environ.get(READY):
        return
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    console.out(f"fake-shimmy listens on http://{shown}:{port}")


def _end_with_stdin() -> NoReturn:
    try:
        while os.read(0, 65536):
            pass
    except OSError:
        pass  # closed, or not to be read
    _end("stdin is at its end")


def _end_with_process(number: int) -> NoReturn:
    if sys.platform == "win32":
        _wait_on_windows(number)
    else:
        _wait(number)
    _end(f"process {number} has ended")


def _end(reason: str) -> NoReturn:
    console.err(f"fake-shimmy: {reason}, and {ENDS_WITH} asks to end with it")
    os._exit(0)


def _wait(number: int) -> None:
    """Until the process has ended, which need not be a child."""
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(number)
        except (AttributeError, OSError):
            pass  # Linux before 5.3, or there is no such process
        else:
            import select

            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
            return
    # A parent that nobody has waited for is still there to a signal.
    is_parent = os.getppid() == number
    while os.getppid() == number if is_parent else _is_there(number):
        time.sleep(_PERIOD)


def _is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def _wait_on_windows(number: int) -> None:
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    synchronize, forever = 0x0010_0000, 0xFFFF_FFFF
    handle = kernel.OpenProcess(synchronize, False, number)
    if handle:
        kernel.WaitForSingleObject(ctypes.c_void_p(handle), forever)
