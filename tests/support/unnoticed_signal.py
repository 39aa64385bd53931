"""A signal that comes just before the main thread sleeps: Python's handler is not run, and the
sleep is not interrupted. The moment cannot be met from outside; another thread that raises the
signal has the same effect."""

from __future__ import annotations

import os
from pathlib import Path

_THREAD = """\
import os, signal, threading

# Not for the processes that this one starts.
path = os.environ.pop("TEST_SIGTERM", None)

def wait():
    with open(path, "rb"):
        signal.raise_signal(signal.SIGTERM)

if path:
    threading.Thread(target=wait, daemon=True).start()
"""


class UnnoticedSignal:
    """A SIGTERM for a Python process that is started with the variables in `environ`."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(_THREAD)
        self._pipe = folder / "sigterm"
        os.mkfifo(self._pipe)
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environ = {"PYTHONPATH": path, "TEST_SIGTERM": str(self._pipe)}

    def send(self) -> None:
        self._pipe.open("wb").close()
