"""A server for as long as a command needs it, and a person told who waits for it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..launch.plan import plan
from ..launch.target import Targets
from ..runtime_dir import write_files
from ..settings import Settings
from ..sharing.janitor import Janitor
from ..supervisor.manager import ShimmyProcessManager
from .terminal import is_terminal

PATIENCE = 1.0
"""Seconds after which a person who waits is told what for."""
LINE_INTERVAL = 10.0
"""Seconds between two lines about the same, where no line can be rewritten."""


@contextlib.contextmanager
def running(
    settings: Settings, prepare: Callable[[ShimmyProcessManager], object] = lambda _: None
) -> Iterator[ShimmyProcessManager]:
    """A ready server for `settings`, in a directory of its own; both are gone afterwards, however
    this process ends. `prepare` can add listeners before it starts. Raises `ShimmyError`.
    """
    # The directory goes last: the server writes its log there until it has ended.
    with (
        tempfile.TemporaryDirectory(prefix="pytest-shimmy-", ignore_cleanup_errors=True) as name,
        ShimmyProcessManager() as manager,
    ):
        directory = Path(name)
        Janitor(directory).follow(manager)
        prepare(manager)
        with waiting("starting the server"):
            chosen = plan(Targets().of(settings), directory)
            write_files(chosen.files)
            manager.start(chosen.options, executable=chosen.executable)
            manager.ensure_ready()
        yield manager


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on stderr that `what` takes long, if it does: with the seconds that pass on a terminal,
    in a plain line now and then elsewhere."""
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, over), name="waiting", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(what: str, over: threading.Event) -> None:
    started = time.monotonic()
    on_terminal = is_terminal(sys.stderr)
    pause = PATIENCE
    while not over.wait(pause):
        text = f"{what} ... {time.monotonic() - started:.0f} s"
        if on_terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
        else:
            sys.stderr.write(f"{text}\n")
            pause = LINE_INTERVAL
        sys.stderr.flush()
    if on_terminal:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
