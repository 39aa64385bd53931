"""Let go of keepers, and hear their last words."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable

from .launcher import held, reap
from .protocol import Channel, ServerSummary


def release_all(keepers: Iterable[Channel], timeout: float) -> list[ServerSummary]:
    """Let go of `keepers`, and wait at most `timeout` seconds for those that end because of it.

    Returns the last words of those that ended; one that was killed has none, and one that is
    stopped, which would never end, is killed.
    """
    deadline = time.monotonic() + timeout
    channels = list(keepers)
    for channel in channels:
        with contextlib.suppress(OSError):
            channel.socket.shutdown(socket.SHUT_WR)
    summaries, ending = [], []
    for channel in channels:
        with contextlib.closing(channel), contextlib.suppress(OSError, ValueError):
            try:
                if summary := _last_words(channel, deadline):
                    summaries.append(summary)
            except TimeoutError:
                if not _kill_stopped(channel):
                    continue
            ending.append(channel.process or 0)
    reap(ending)
    return summaries


def _last_words(keeper: Channel, deadline: float) -> ServerSummary | None:
    """Read to the end; raises `TimeoutError` when the keeper lives on."""
    summary = None
    while True:
        keeper.socket.settimeout(max(0.001, deadline - time.monotonic()))
        message = keeper.receive()
        if message is None:
            return summary
        if "server_summary" in message:
            summary = ServerSummary.from_json(message["server_summary"])


def _kill_stopped(keeper: Channel) -> bool:
    """Kill a keeper that is stopped: its janitor puts everything away. Whether that was done."""
    # Its end of the connection is open, so the process still is the one of which we were told.
    if not keeper.process or not held(keeper.process) or sys.platform == "win32":
        return False
    os.kill(keeper.process, signal.SIGKILL)
    return True
