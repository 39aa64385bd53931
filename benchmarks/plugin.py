"""Plugin load: what an installed plugin costs a run in which no test uses it.

Instructions are counted where valgrind can do it: they hardly vary, whatever else the machine
does. Elsewhere it is CPU time, in rounds that take all subjects in turn.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import counting, pytest_run
from .bench import Bench, not_installed
from .figures import Figure, Missing, Result, Target, interleave, paired_ratio

TARGET = Target(1.05, of_ratio=True)
BASE = "bare pytest"
OURS = "with shimmy"

PEERS = {
    "with xprocess": (("xprocess",), "pytest-xprocess"),
    "with docker": (("docker",), "pytest-docker"),
    "with httpserver": (("pytest_httpserver",), "pytest-httpserver"),
    "with xdist, inactive": (("xdist", "xdist.looponfail"), "pytest-xdist"),
    "with anyio (comes with openai)": (("anyio",), "anyio"),
}
"""Plugins by entry point, and the distribution they are in."""


def measure(bench: Bench) -> Iterator[Result]:
    directory = bench.subdirectory("plugin")
    (directory / "test_trivial.py").write_text("def test_trivial():\n    pass\n")
    subjects: dict[str, tuple[str, ...]] = {BASE: (), OURS: ("shimmy",)}
    installed = pytest_run.plugins()
    for name, (entries, distribution) in PEERS.items():
        if not installed.issuperset(entries):
            yield Missing(name, not_installed(distribution))
        elif not bench.quick or "xprocess" in entries:
            subjects[name] = entries
    count: Callable[[list[str], Path], float] = counting.count
    unit, rounds, warm_up = "M instr.", 1, 0
    if (reason := counting.missing(directory)) is not None:
        yield Missing("instructions", f"{reason}; CPU time instead")
        count, unit, rounds, warm_up = _cpu_time, "ms CPU", bench.rounds(30, 10), 2
    commands = {name: pytest_run.command(wanted) for name, wanted in subjects.items()}
    for command in commands.values():
        pytest_run.run(command, directory, counting.environment())  # byte code is written now
    if count is counting.count:
        values = _in_parallel(commands, directory, rounds)
    else:
        values = interleave(
            rounds, {name: _bound(count, commands[name], directory) for name in commands}, warm_up
        )
    for name, found in values.items():
        ratio = None if name == BASE else paired_ratio(found, values[BASE])
        target = TARGET if name == OURS else None
        yield Figure(name, unit, found, ratio, "bare" if ratio else "", target)


def _in_parallel(
    commands: dict[str, list[str]], directory: Path, rounds: int
) -> dict[str, tuple[float, ...]]:
    # What is counted does not depend on who else is running.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        jobs = {
            name: [pool.submit(counting.count, command, directory) for _ in range(rounds)]
            for name, command in commands.items()
        }
        return {name: tuple(job.result() for job in found) for name, found in jobs.items()}


def _bound(
    count: Callable[[list[str], Path], float], command: list[str], directory: Path
) -> Callable[[], float]:
    return lambda: count(command, directory)


def _cpu_time(command: list[str], directory: Path) -> float:
    devnull = os.open(os.devnull, os.O_RDWR)
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=counting.environment(),
            stdin=devnull,
            stdout=devnull,
            stderr=devnull,
        )
    finally:
        os.close(devnull)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)
