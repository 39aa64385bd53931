"""How this process ends, other than by coming to its end."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def end_process(status: int) -> NoReturn:
    """End the process at once; a negative ``status`` is death by that signal, which is told as a
    shell would where the signal does not kill."""
    if status < 0:
        # What cannot be ignored cannot be given back its meaning either.
        with suppress(OSError):
            signal.signal(-status, signal.SIG_DFL)
        signal.raise_signal(-status)
        status = 128 - status
    os._exit(status)
