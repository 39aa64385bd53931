"""Joining: how fast another process gets hold of a running server; and what all of it weighs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_shimmy.executable.identify import bundled_fake
from pytest_shimmy.launch.plan import Plan
from pytest_shimmy.sharing.link import Link, join
from pytest_shimmy.sharing.run import Run

from .bench import NO_REAL, PATIENCE, Bench, running
from .figures import Figure, Missing, Result, Target
from .programs import BARE, HERE, await_health, fake_command, free_port, hermetic, real_command

FAKE_RSS = Target(22)
"""Megabytes."""


def measure(bench: Bench) -> Iterator[Result]:
    rounds = bench.rounds(10, 3)
    starts: list[float] = []
    joins: list[float] = []
    keepers: list[float] = []
    # The last one stays for the joins.
    for _ in range(rounds):
        run, key = Run(uuid.uuid4().hex, None), "benchmark"
        began = time.perf_counter()
        link = join(run, key, lambda directory: plan(bench, directory))
        try:
            server = link.ready()
            starts.append(1000 * (time.perf_counter() - began))
            assert server.pid is not None
            if (keeper := _parent(server.pid)) is not None:
                keepers.append(rss(keeper))
            joins += _joins(run, key, bench.rounds(40, 20))
        finally:
            _leave(link)
    yield Figure("first join: keeper and fake started, ready", "ms", tuple(starts))
    yield Figure("join of a running server from another process", "ms", tuple(joins))
    if sys.platform != "linux":
        yield Missing("memory", "resident size is read from /proc, which only Linux has")
        return
    yield Figure("resident size: keeper", "MB", tuple(keepers))
    yield Figure("resident size: bare interpreter", "MB", _weights(rounds, _bare_rss))
    fake = _weights(rounds, lambda: _server_rss(bench, real=False))
    yield Figure("resident size: fake", "MB", fake, target=FAKE_RSS)
    if bench.shimmy_path is None:
        yield Missing("resident size: real", NO_REAL)
    else:
        real = _weights(rounds, lambda: _server_rss(bench, real=True))
        yield Figure("resident size: real", "MB", real)


def plan(bench: Bench, directory: Path) -> Plan:
    options = bench.options(real=False)
    log = str(directory / "server.log")
    # As a run does, which knows what it starts.
    executable = bundled_fake(None, {})
    return Plan(type(options)(**{**options.to_json(), "log_path": log}), executable=executable)


def _joins(run: Run, key: str, times: int) -> list[float]:
    done = subprocess.run(
        [sys.executable, str(HERE / "joiner.py"), run.id, key, str(times)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
    )
    return [float(line) for line in done.stdout.split()][1:]  # the first one warms up


def _leave(link: Link) -> None:
    link.leave(PATIENCE)


def _weights(rounds: int, weigh: Callable[[], float]) -> tuple[float, ...]:
    return tuple(weigh() for _ in range(rounds))


def _bare_rss() -> float:
    with running([*BARE, "-c", "import time; time.sleep(60)"]) as process:
        time.sleep(0.2)
        return rss(process.pid)


def _server_rss(bench: Bench, real: bool) -> float:
    port = free_port()
    command = real_command(bench, port) if real else fake_command(bench, port)
    with running(command, hermetic(bench), bench.home) as process:
        await_health(process, port)
        return rss(process.pid)


def _status(pid: int, field: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.split()[0]
    raise LookupError(field)


def rss(pid: int) -> float:
    return int(_status(pid, "VmRSS")) / 1024


def _parent(pid: int) -> int | None:
    try:
        parent = int(_status(pid, "PPid"))
    except OSError:
        return None
    return parent if parent != os.getpid() else None
