"""A whole pytest run of one test: what a server, and a client, add to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import peers, pytest_run
from .bench import NO_REAL, Bench, is_installed, not_installed
from .figures import Figure, Missing, Result, interleave, paired_difference
from .programs import fake_command, free_port, hermetic

TRIVIAL = "no server"
PARALLEL = "no server, -n 2"
SERVER = "shimmy_server, fake"
IMPORT = "no server, import openai and make a client"

TESTS = {
    TRIVIAL: "def test_one():\n    pass\n",
    SERVER: "def test_one(shimmy_server):\n    assert shimmy_server.port\n",
    "shimmy_openai_client, fake": (
        "def test_one(shimmy_openai_client):\n    assert shimmy_openai_client\n"
    ),
    IMPORT: (
        "def test_one():\n    import openai\n"
        "    assert openai.OpenAI(base_url='http://127.0.0.1:1', api_key='x')\n"
    ),
}

MIRAKURU = """
import pytest
from benchmark_server import server

@pytest.fixture(scope="session")
def fake():
    with server():
        yield

def test_one(fake):
    pass
"""
"""The fake behind mirakuru, as a suite without pytest-shimmy would have it."""

MIRAKURU_SERVER = """
from mirakuru import HTTPExecutor

def server():
    return HTTPExecutor({command!r}, "http://127.0.0.1:{port}/health", method="GET", timeout=60)
"""

POLLED = """
import http.client, subprocess, time
import pytest

@pytest.fixture(scope="session")
def fake():
    with subprocess.Popen({command!r}, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", {port})
                try:
                    connection.request("GET", "/health")
                    connection.getresponse().read()
                    break
                except OSError:
                    time.sleep(0.01)
                finally:
                    connection.close()
            yield
        finally:
            process.terminate()

def test_one(fake):
    pass
"""
"""The fake behind what most suites have: Popen and a poll loop."""


def measure(bench: Bench) -> Iterator[Result]:
    runs = _Runs(bench)
    subjects: dict[str, Callable[[], float]] = {}
    baselines: dict[str, str] = {}

    def add(name: str, text: str, *arguments: str, xdist: bool = False) -> None:
        subjects[name] = runs.run(name, text, *arguments, xdist=xdist)
        baselines[name] = PARALLEL if xdist else TRIVIAL

    for name, text in TESTS.items():
        add(name, text)
    add("Popen and 10 ms loop, fake", runs.formatted(POLLED))
    if is_installed("mirakuru"):
        add("mirakuru fixture, fake", MIRAKURU)
        runs.module(runs.formatted(MIRAKURU_SERVER))
    else:
        yield Missing("mirakuru fixture", not_installed(peers.MIRAKURU))
    real = ("--shimmy-path", bench.shimmy_path or "", "--shimmy-models-dir", str(bench.models))
    if bench.shimmy_path is None:
        yield Missing("real", NO_REAL)
    else:
        add("shimmy_server, real", TESTS[SERVER], *real)
    if bench.quick:
        yield Missing("-n 2", "takes too long for --quick")
    else:
        parallel = "def test_one():\n    pass\n\ndef test_two():\n    pass\n"
        both = parallel.replace("()", "(shimmy_server)")
        add(PARALLEL, parallel, "-n", "2", xdist=True)
        add("shimmy_server, fake, -n 2", both, "-n", "2", xdist=True)
        if bench.shimmy_path is not None:
            add("shimmy_server, real, -n 2", both, "-n", "2", *real, xdist=True)
    values = interleave(bench.rounds(10, 3), subjects)
    for name, found in values.items():
        yield Figure(name, "ms", found)
    for name, baseline in baselines.items():
        if name != baseline:
            yield Figure(
                f"added by {name}", "ms", paired_difference(values[name], values[baseline])
            )


class _Runs:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.directory = bench.subdirectory("session")
        self.environment = {**os.environ, **hermetic(bench)}

    def formatted(self, text: str) -> str:
        port = free_port()
        return text.format(command=fake_command(self.bench, port), port=port)

    def module(self, text: str) -> None:
        for directory in self.directory.iterdir():
            (directory / "benchmark_server.py").write_text(text)

    def run(self, name: str, text: str, *arguments: str, xdist: bool) -> Callable[[], float]:
        directory = self.directory / "".join(char if char.isalnum() else "_" for char in name)
        directory.mkdir()
        (directory / "test_it.py").write_text(text)
        plugins = ("shimmy", "xdist", "xdist.looponfail") if xdist else ("shimmy",)
        command = pytest_run.command(plugins, *arguments)
        return lambda: _timed(command, directory, self.environment)


def _timed(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    pytest_run.run(command, directory, environment)
    return 1000 * (time.perf_counter() - began)
