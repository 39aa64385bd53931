"""Stop: from the call that stops the server to the process being gone and reaped.

Side by side with SIGTERM and a plain wait, which is what the server itself takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pytest_shimmy import ShimmyProcessManager

from . import peers
from .bench import NO_REAL, Bench, is_installed, not_installed, running
from .detection import xprocess
from .figures import Figure, Missing, Result, Target, interleave, paired_difference
from .programs import await_health, fake_command, free_port, hermetic, real_command

TARGET = Target(10)
"""Milliseconds beyond what the server itself takes."""


def measure(bench: Bench) -> Iterator[Result]:
    setting = _Setting(bench)
    yield from _measure(bench, setting, "fake", lambda port: fake_command(bench, port))
    if bench.shimmy_path is None:
        yield Missing("real", NO_REAL)
    else:
        yield from _measure(bench, setting, "real", lambda port: real_command(bench, port))


def _measure(
    bench: Bench, setting: _Setting, server: str, command: Callable[[int], Sequence[str]]
) -> Iterator[Result]:
    plain, ours = f"{server}: SIGTERM and wait", f"{server}: manager.stop()"
    mirakuru, xprocess_ = f"{server}: mirakuru stop()", f"{server}: xprocess terminate()"
    subjects: dict[str, Callable[[], float]] = {
        plain: lambda: setting.plain(command),
        ours: lambda: setting.ours(server == "real"),
    }
    if is_installed("mirakuru"):
        subjects[mirakuru] = lambda: setting.mirakuru(command)
    else:
        yield Missing(mirakuru, not_installed(peers.MIRAKURU))
    if is_installed("xprocess"):
        subjects[xprocess_] = lambda: setting.xprocess(command)
    else:
        yield Missing(xprocess_, not_installed(peers.XPROCESS))
    values = interleave(bench.rounds(15, 5), subjects)
    yield Figure(plain, "ms", values[plain])
    for name in subjects:
        if name != plain:
            beyond = paired_difference(values[name], values[plain])
            yield Figure(
                f"{name}, beyond that", "ms", beyond, target=TARGET if name == ours else None
            )


class _Setting:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.directory = bench.subdirectory("stop")
        self.environment = hermetic(bench)

    def plain(self, command: Callable[[int], Sequence[str]]) -> float:
        port = free_port()
        with running(command(port), self.environment, self.bench.home) as process:
            await_health(process, port)
            began = time.perf_counter()
            process.terminate()
            process.wait()
            return 1000 * (time.perf_counter() - began)

    def ours(self, real: bool) -> float:
        with ShimmyProcessManager() as manager:
            manager.start(self.bench.options(real))
            manager.ensure_ready()
            began = time.perf_counter()
            manager.stop()
            return 1000 * (time.perf_counter() - began)

    def mirakuru(self, command: Callable[[int], Sequence[str]]) -> float:
        port = free_port()
        executor = peers.mirakuru(command(port), port, self.environment, self.bench.home)
        try:
            executor.start()
        finally:
            began = time.perf_counter()
            executor.stop()
        return 1000 * (time.perf_counter() - began)

    def xprocess(self, command: Callable[[int], Sequence[str]]) -> float:
        port = free_port()
        with xprocess(self.directory) as peer:
            peer.start(command(port), port, self.environment)
            began = time.perf_counter()
            peer.stop()
            return 1000 * (time.perf_counter() - began)
