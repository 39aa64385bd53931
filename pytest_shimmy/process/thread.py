"""Start a thread where the system may refuse one."""

from __future__ import annotations

import errno
import threading


def start_thread(thread: threading.Thread) -> None:
    """Start it. Raises `OSError` (``EAGAIN``) when the system allows no further one."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no further thread is allowed ({error})") from error
