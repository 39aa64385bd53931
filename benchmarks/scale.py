"""How costs grow with numbers: of tests, servers, requests, rules and workers.

Each line is measured in one run, at several numbers. What should be straight is judged: one
more in the second half of the line against one more in the first. Where it is work that grows, it
is the processor time of all processes that is measured: on a busy machine that says more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from pytest_shimmy.fake_control.connection import NEVER, Control
from pytest_shimmy.sharing.link import join
from pytest_shimmy.sharing.run import Run

from . import load, pytest_run
from .bench import PATIENCE, Bench, is_installed, not_installed
from .figures import Figure, Missing, Point, Result, Series, Target
from .joining import plan, rss
from .programs import HERE, fake_command, hermetic, serving, used_seconds

STRAIGHT = Target(1.3)
"""One more in the second half, to one more in the first."""
KEY = "scale"
CPU = "processor"


def measure(bench: Bench) -> Iterator[Result]:
    yield from _judged(_tests(bench))
    yield from _judged(_servers(bench))
    yield from _judged(_requests(bench))
    yield from _judged(_rules(bench))
    yield from _judged(_joining(bench))


def _judged(found: Series | Missing) -> Iterator[Result]:
    yield found
    if isinstance(found, Missing):
        return
    first, middle, last = found.points[0], found.points[len(found.points) // 2], found.points[-1]
    begin, end = _slope(first, middle), _slope(middle, last)
    note = f"{last.number:,} take {last.seconds:.3g} s"
    if last.megabytes is not None and first.megabytes is not None:
        note += f"; {first.megabytes:.1f} MB, then {last.megabytes:.1f} MB ({found.weighed})"
    yield Figure(f"one more of {found.name}", "ms", (1000 * end,), note=note)
    if begin > 0:
        ratio = end / begin
        yield Figure(f"{found.name}: straightness", "x", (ratio,), target=STRAIGHT)


def _slope(first: Point, last: Point) -> float:
    return (last.seconds - first.seconds) / (last.number - first.number)


SUITE = """
import os, pathlib
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_nothing(n, shimmy_fake, shimmy_server):
    if n == {count} - 1:
        status = pathlib.Path(f"/proc/{{shimmy_server.pid}}/status")
        if status.exists():
            pathlib.Path("{note}").write_text(status.read_text())
"""


def _tests(bench: Bench) -> Series | Missing:
    name = "tests with shimmy_fake, -n 8"
    if not is_installed("xdist"):
        return Missing(name, not_installed("pytest-xdist"))
    points = []
    for count in (100, 200, 400, 800) if bench.quick else (1000, 5000, 10_000, 20_000):
        directory = bench.subdirectory(f"scale_tests_{count}")
        note = directory / "status"
        (directory / "test_it.py").write_text(SUITE.format(count=count, note=note))
        command = pytest_run.command(("shimmy", "xdist", "xdist.looponfail"), "-q", "-n", "8")
        began = _used()
        pytest_run.run(command, directory, {**os.environ, **hermetic(bench)}, 20 * PATIENCE)
        points.append(Point(count, _used() - began, _resident(note)))
    return Series(name, tuple(points), CPU, "the fake")


def _used() -> float:
    """Seconds of the processor that all processes which have ended used."""
    times = os.times()
    return times.children_user + times.children_system


SERVER = """
import os, pathlib
import pytest

def used():
    return sum(os.times()[:4])  # of this process and of all below it that have ended

began = used()

@pytest.mark.parametrize("number", range(1, {count} + 1))
def test_server(number, make_shimmy_server):
    make_shimmy_server()
    if number % {step} == 0:
        status, resident = pathlib.Path("/proc/self/status"), 0
        if status.exists():
            resident = int(status.read_text().partition("VmRSS:")[2].split()[0])
        with open("points", "a") as points:
            points.write(f"{{number}} {{used() - began}} {{resident / 1024}}\\n")
"""


def _servers(bench: Bench) -> Series:
    count = bench.rounds(200, 20)
    directory = bench.subdirectory("scale_servers")
    (directory / "test_it.py").write_text(SERVER.format(count=count, step=count // 10))
    command = pytest_run.command(("shimmy",), "-q")
    pytest_run.run(command, directory, {**os.environ, **hermetic(bench)}, 10 * PATIENCE)
    points = []
    for line in (directory / "points").read_text().splitlines():
        number, seconds, megabytes = line.split()
        points.append(Point(int(number), float(seconds), float(megabytes) or None))
    return Series("servers, one after the other", tuple(points), CPU, "the pytest process")


def _requests(bench: Bench) -> Series:
    count = bench.rounds(100_000, 2000)
    request = load.chat_request(bench.gguf.stem, "France?", stream=False)
    request = request.replace(b"Bearer benchmark", b"Bearer " + KEY.encode())
    with _controlled(bench) as (port, pid):
        control = Control(f"http://127.0.0.1:{port}", "-")
        control.ask("open", session=KEY, script={})
        points, began = [Point(0, 0.0, _rss(pid))], used_seconds(pid)
        with load.connect(port) as peer:
            length = load.answer_length(peer, request)
            for number in range(2, count + 1):
                peer.sendall(request)
                load.skip(peer, length)
                if number % (count // 10) == 0:
                    points.append(Point(number, used_seconds(pid) - began, _rss(pid)))
        control.close()
    return Series("requests in one journal", tuple(points), CPU, "the fake")


def _rules(bench: Bench) -> Series:
    count = 500
    request = load.chat_request(bench.gguf.stem, "France?", stream=False)
    request = request.replace(b"Bearer benchmark", b"Bearer " + KEY.encode())
    points = []
    with _controlled(bench) as (port, pid):
        control = Control(f"http://127.0.0.1:{port}", "-")
        with load.connect(port) as peer:
            for number in range(0, count + 1, count // 10):
                rules: list[dict[str, object]] = [
                    {"when": {"user": f"no such text {each}"}, "reply": "no"}
                    for each in range(number)
                ]
                rules.append({"reply": "Paris"})
                control.ask("open", session=KEY, script={"rules": rules})
                length = load.answer_length(peer, request)
                times, began = bench.rounds(400, 40), used_seconds(pid)
                for _ in range(times):
                    peer.sendall(request)
                    load.skip(peer, length)
                points.append(Point(number, (used_seconds(pid) - began) / times, _rss(pid)))
        control.ask("journal", session=KEY, after=NEVER)
        control.close()
    return Series("rules before the one that matches", tuple(points), CPU, "the fake")


def _joining(bench: Bench) -> Series:
    """From the word to the last of so many processes that has joined."""
    run = Run(uuid.uuid4().hex, None)
    link = join(run, KEY, lambda directory: plan(bench, directory))
    try:
        keeper = link.ready().pid
        points = []
        for count in (1, 5, 10, 20, 30, 40, 50):
            command = [sys.executable, str(HERE / "joiner.py"), run.id, KEY, "1", "wait"]
            joiners = [
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                for _ in range(count)
            ]
            for joiner in joiners:
                assert joiner.stdout is not None
                joiner.stdout.readline()  # it has loaded what it needs
            began = time.perf_counter()
            for joiner in joiners:
                assert joiner.stdin is not None
                joiner.stdin.close()
            for joiner in joiners:
                assert joiner.stdout is not None
                joiner.stdout.readline()
            seconds = time.perf_counter() - began
            for joiner in joiners:
                joiner.wait(PATIENCE)
            points.append(Point(count, seconds, None if keeper is None else _rss(keeper)))
    finally:
        link.leave(PATIENCE)
    return Series("workers that join at once", tuple(points), "time", "the fake")


def _controlled(bench: Bench) -> AbstractContextManager[tuple[int, int]]:
    env = {**hermetic(bench), "FAKE_SHIMMY_CONTROL": "-"}
    return serving(bench, lambda port: fake_command(bench, port), env)


def _rss(pid: int) -> float | None:
    return rss(pid) if sys.platform == "linux" else None


def _resident(status: Path) -> float | None:
    if not status.exists():
        return None
    return int(status.read_text().partition("VmRSS:")[2].split()[0]) / 1024
