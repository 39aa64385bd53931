"""One more test that uses what the plugin gives and does nothing: what that costs the suite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from . import pytest_run
from .bench import Bench
from .figures import Figure, Result, interleave, paired_difference
from .programs import hermetic

NOTHING = "no fixture"
FIXTURES = {NOTHING: "", "shimmy_server": "shimmy_server", "shimmy_fake": "shimmy_fake"}
TESTS = 200

SUITE = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_nothing(n{fixture}):
    pass
"""

TIMED = """
import pathlib, statistics, time
import pytest

durations = []

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol():
    began = time.perf_counter()
    result = yield
    durations.append(time.perf_counter() - began)
    return result

def pytest_sessionfinish():
    # The first test starts the server, the last one ends it.
    median = statistics.median(durations[1:-1])
    pathlib.Path("median").write_text(repr(1000 * median))
"""


def measure(bench: Bench) -> Iterator[Result]:
    subjects = {name: _suite(bench, name, fixture) for name, fixture in FIXTURES.items()}
    values = interleave(bench.rounds(7, 3), subjects)
    for name, found in values.items():
        yield Figure(name, "ms", found, note=f"median of {TESTS} tests, set-up to tear-down")
    for name, found in values.items():
        if name != NOTHING:
            yield Figure(f"added by {name}", "ms", paired_difference(found, values[NOTHING]))


def _suite(bench: Bench, name: str, fixture: str) -> Callable[[], float]:
    directory = bench.subdirectory(f"per_test_{name.replace(' ', '_')}")
    arguments = f", {fixture}" if fixture else ""
    (directory / "test_it.py").write_text(SUITE.format(count=TESTS, fixture=arguments))
    (directory / "conftest.py").write_text(TIMED)
    environment = {**os.environ, **hermetic(bench)}
    command = pytest_run.command(("shimmy",), "-q")

    def run() -> float:
        pytest_run.run(command, directory, environment)
        return float((directory / "median").read_text())

    return run
