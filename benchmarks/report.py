"""The report of a run: what it costs the run that makes it, and where.

The processor time of all processes is compared, pytest, its workers, keeper and fake, of the same
suite with a report and without; and by itself what is paid for at the end, for each test and for
each request.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import counting, load, per_test, pytest_run
from .bench import PATIENCE, Bench, is_installed, not_installed
from .figures import (
    Figure,
    Missing,
    Result,
    Target,
    interleave,
    paired_difference,
    paired_ratio,
)
from .programs import fake_command, hermetic, serving, used_seconds

SUITE = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_ten(shimmy_openai_client, shimmy_model, number):
    for turn in range(10):
        answer = shimmy_openai_client.chat.completions.create(
            model=shimmy_model,
            messages=[{{"role": "user", "content": f"question {{turn}} of {{number}}"}}],
            stream=turn % 2 == 1,
        )
        assert list(answer) if turn % 2 else answer.choices
"""

END = """
import pathlib, time

def pytest_sessionstart(session):
    config = session.config
    report = config.pluginmanager.get_plugin("shimmy-run-report")
    if report is not None and not hasattr(config, "workerinput"):
        finish = report.finish
        def timed(*arguments):
            began = time.process_time()
            finish(*arguments)
            pathlib.Path("end").write_text(repr(1000 * (time.process_time() - began)))
        report.finish = timed
"""

TESTS, WORKERS = 500, 8
PLAIN, REPORTED = "without a report", "with a report"
REPORT = "--shimmy-report=run.html"
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: whose parent has ended becomes a child of ours."""


def measure(bench: Bench) -> Iterator[Result]:
    yield from _counted(bench)
    yield from _whole(bench)
    yield from _of_a_test(bench)
    yield from _of_a_request(bench)


def _counted(bench: Bench) -> Iterator[Result]:
    name = f"{TESTS} tests, {10 * TESTS:,} requests in {WORKERS} processes"
    reason = counting.missing(bench.directory)
    if not is_installed("openai"):
        reason = not_installed("openai")
    if reason is not None:
        yield Missing(f"{name}, instructions", reason)
        return
    with ThreadPoolExecutor(2) as pool:  # what is counted does not depend on who else is running
        plain, reported = pool.map(lambda has: _of_a_run(bench, has), (False, True))
    yield Figure(f"{name}, {PLAIN}", "G instr.", (plain,))
    yield Figure(
        f"{name}, {REPORTED}",
        "G instr.",
        (reported,),
        ratio=reported / plain,
        ratio_to=PLAIN,
        target=Target(1.01, of_ratio=True),
        note="by what a process takes, and a test",
    )


def _of_a_run(bench: Bench, has_report: bool) -> float:
    """Billions of instructions: of processes that each begin and end a run, and of the fake."""
    few, many = 10, 50
    directory = bench.subdirectory(f"report_counted_{has_report}")
    command = pytest_run.command(("shimmy",), "-q", *([REPORT] if has_report else ()))

    def tests(number: int) -> float:
        (directory / "test_it.py").write_text(SUITE.format(count=number))
        pytest_run.run(command, directory, {**counting.environment(), **hermetic(bench)})
        return counting.count(command, directory, hermetic(bench))

    exchanges = str(directory / "exchanges.jsonl") if has_report else ""
    env = {"FAKE_SHIMMY_CONTROL": "-", "FAKE_SHIMMY_EXCHANGES": exchanges}

    def served(number: int) -> float:
        def use(port: int) -> None:
            asked = load.chat_request(bench.gguf.stem, "France?", stream=False)
            streamed = load.chat_request(bench.gguf.stem, "France?", stream=True)
            with load.connect(port) as peer:
                length = load.answer_length(peer, asked)
                for _ in range(5 * number):
                    peer.sendall(asked)
                    load.skip(peer, length)
                    load.stream(peer, streamed)

        return counting.count_served(bench, fake_command, env, use)

    begun = tests(few)
    test = (tests(many) - begun) / (many - few)
    answers = (served(many) - served(few)) / (many - few)
    return (WORKERS * (begun - few * test) + TESTS * (test + answers)) / 1000


def _whole(bench: Bench) -> Iterator[Result]:
    tests = bench.rounds(TESTS, 100)
    name = f"{tests} tests, {10 * tests:,} requests, -n {WORKERS}"
    for module, distribution in (("xdist", "pytest-xdist"), ("openai", "openai")):
        if not is_installed(module):
            yield Missing(name, not_installed(distribution))
            return
    directory = bench.subdirectory("report")
    (directory / "test_it.py").write_text(SUITE.format(count=tests))
    (directory / "conftest.py").write_text(END)
    command = pytest_run.command(("shimmy", "xdist", "xdist.looponfail"), "-q", "-n", f"{WORKERS}")
    ends = []

    def reported() -> float:
        seconds = _used_by([*command, REPORT], directory, bench)
        ends.append(float((directory / "end").read_text()))
        return seconds

    values = interleave(
        bench.rounds(6, 2),
        {PLAIN: lambda: _used_by(command, directory, bench), REPORTED: reported},
        warm_up=0,
    )
    yield Figure(f"{name}, {PLAIN}", "s", values[PLAIN])
    yield Figure(
        f"{name}, {REPORTED}",
        "s",
        values[REPORTED],
        ratio=paired_ratio(values[REPORTED], values[PLAIN]),
        ratio_to=PLAIN,
        target=Target(1.01, of_ratio=True),
        note=f"the page: {(directory / 'run.html').stat().st_size / 1e6:.1f} MB",
    )
    yield Figure("of this, the end: parts to page", "ms", tuple(ends))


def _used_by(command: list[str], directory: Path, bench: Bench) -> float:
    """Seconds of the processor; those of the keeper and its server too where the system lets us
    wait for them (Linux)."""
    is_linux = sys.platform == "linux"
    if is_linux:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        before = os.times()
        pytest_run.run(command, directory, {**os.environ, **hermetic(bench)}, 10 * PATIENCE)
        end = time.monotonic() + PATIENCE
        while is_linux and time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)
            except ChildProcessError:
                break
        after = os.times()
    finally:
        if is_linux:
            ctypes.CDLL(None).prctl(SUBREAPER, 0, 0, 0, 0)
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system


def _of_a_test(bench: Bench) -> Iterator[Result]:
    directory = bench.subdirectory("report_per_test")
    fixture = ", shimmy_server"
    suite = per_test.SUITE.format(count=per_test.TESTS, fixture=fixture)
    (directory / "test_it.py").write_text(suite)
    (directory / "conftest.py").write_text(per_test.TIMED)
    command = pytest_run.command(("shimmy",), "-q")

    def median(*arguments: str) -> Callable[[], float]:
        def run() -> float:
            environment = {**os.environ, **hermetic(bench)}
            pytest_run.run([*command, *arguments], directory, environment)
            return float((directory / "median").read_text())

        return run

    values = interleave(bench.rounds(10, 3), {PLAIN: median(), REPORTED: median(REPORT)})
    added = paired_difference(values[REPORTED], values[PLAIN])
    yield Figure("added to a test that uses shimmy_server", "ms", added)


def _of_a_request(bench: Bench) -> Iterator[Result]:
    exchanges = {"FAKE_SHIMMY_EXCHANGES": str(bench.directory / "exchanges.jsonl")}
    for kind, is_stream in (("whole answer", False), ("stream", True)):

        def used(env: dict[str, str], is_stream: bool = is_stream) -> Callable[[], float]:
            return lambda: _per_request(bench, is_stream, env)

        values = interleave(bench.rounds(6, 2), {PLAIN: used({}), REPORTED: used(exchanges)})
        added = paired_difference(values[REPORTED], values[PLAIN])
        yield Figure(f"added to a request in the fake, {kind}", "µs", added)


def _per_request(bench: Bench, is_stream: bool, env: dict[str, str]) -> float:
    """Microseconds of the fake's processor time; of the clock where the system does not say."""
    request = load.chat_request(bench.gguf.stem, "France?", stream=is_stream)
    env = {**hermetic(bench), "FAKE_SHIMMY_CONTROL": "-", **env}
    count = bench.rounds(4000, 1000)
    with (
        serving(bench, lambda port: fake_command(bench, port), env) as (port, pid),
        load.connect(port) as peer,
    ):
        length = 0 if is_stream else load.answer_length(peer, request)
        began = used_seconds(pid)
        for _ in range(count):
            if is_stream:
                load.stream(peer, request)
            else:
                peer.sendall(request)
                load.skip(peer, length)
        return 1e6 * (used_seconds(pid) - began) / count
