"""Detection delay: how long after a server listens it is known to be ready.

The server notes when it began to listen, on the clock that all processes of a machine share. It
listens after a delay that differs from round to round, so that no poll interval fits it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions

from . import peers
from .bench import Bench, is_installed, not_installed
from .figures import Figure, Missing, Result, Target, interleave, paired_ratio
from .programs import delayed_server, free_port

OURS = "pytest-shimmy"
POLLED = "10 ms poll loop"
TARGET = Target(3)


def measure(bench: Bench) -> Iterator[Result]:
    setting = _Setting(bench)
    subjects: dict[str, Callable[[], float]] = {OURS: setting.ours, POLLED: setting.polled}
    if is_installed("mirakuru"):
        subjects["mirakuru HTTPExecutor"] = setting.mirakuru
    else:
        yield Missing("mirakuru HTTPExecutor", not_installed(peers.MIRAKURU))
    if is_installed("xprocess"):
        subjects["xprocess, log pattern"] = lambda: setting.xprocess("Ready to serve")
        subjects["xprocess, startup_check"] = lambda: setting.xprocess(None)
    else:
        yield Missing("xprocess", not_installed(peers.XPROCESS))
    values = interleave(bench.rounds(25, 7), subjects)
    for name, found in values.items():
        ratio = None if name == OURS else paired_ratio(found, values[OURS])
        target = TARGET if name == OURS else None
        yield Figure(name, "ms", found, ratio, "ours" if ratio else "", target)


class _Setting:
    def __init__(self, bench: Bench) -> None:
        self.directory = bench.subdirectory("detection")
        self.report = self.directory / "listened"
        self.executable = str(delayed_server(self.directory))
        self.starts = 0

    def environment(self) -> dict[str, str]:
        self.starts += 1
        # Steps of the golden section spread evenly over every interval.
        delay = 0.15 + 0.1 * (self.starts * 0.618034 % 1)
        return {"DELAYED_SERVER_DELAY": f"{delay:.6f}", "DELAYED_SERVER_REPORT": str(self.report)}

    def since_listening(self, ready: float) -> float:
        return 1000 * (ready - float(self.report.read_text()))

    def command(self, port: int) -> list[str]:
        return [self.executable, "serve", "--bind", f"127.0.0.1:{port}"]

    def ours(self) -> float:
        options = ShimmyProcessOptions(shimmy_path=self.executable, env=self.environment())
        with ShimmyProcessManager() as manager:
            manager.start(options)
            manager.ensure_ready()
            ready = time.monotonic()
        return self.since_listening(ready)

    def polled(self) -> float:
        port = free_port()
        with peers.polled(self.command(port), port, self.environment(), self.directory):
            ready = time.monotonic()
        return self.since_listening(ready)

    def mirakuru(self) -> float:
        port = free_port()
        with peers.mirakuru(self.command(port), port, self.environment(), self.directory):
            ready = time.monotonic()
        return self.since_listening(ready)

    def xprocess(self, pattern: str | None) -> float:
        port = free_port()
        with xprocess(self.directory) as peer:
            peer.start(self.command(port), port, self.environment(), pattern)
            ready = time.monotonic()
        return self.since_listening(ready)


@contextlib.contextmanager
def xprocess(directory: Path) -> Iterator[peers.XProcess]:
    """A fresh pytest-xprocess: with the log of an earlier start it would read that, too."""
    home = directory / "xprocess"
    home.mkdir()
    peer = peers.XProcess(home)
    try:
        yield peer
    finally:
        peer.stop()
        shutil.rmtree(home)
