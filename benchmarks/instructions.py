"""The regression list: what was won stays won, counted in instructions.

``python -m benchmarks.instructions`` compares with ``instructions.json`` and ends with 1 when a
ratio has grown by more than a tenth; ``--write`` writes the file. Each row is a ratio of two
programs that run on the same interpreter, so it is the same on a busy machine, and nearly the same
on another one. Needs valgrind, and the minor release of Python that the file was written with.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from . import counting, load, pytest_run
from .bench import Bench, workplace
from .per_test import SUITE
from .programs import BARE, HERE, fake_command, hermetic

BOUND = 0.10
"""By how much a ratio may grow before the command fails."""
RECORDED = HERE / "instructions.json"
FEW = 20
MORE_TESTS, MORE_REQUESTS = 100, 800
"""What these take beyond the first few is what one costs; what a server does between requests
differs from run to run, and is shared out among more of them."""

TWO_RULES = json.dumps(
    {
        "rules": [
            {"when": {"user": "Spain"}, "reply": "Madrid."},
            {"when": {"user": "France"}, "reply": "Paris."},
        ]
    }
)

SCRIPTED = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_scripted(n, shimmy_fake):
    shimmy_fake.reply("Paris")
    shimmy_fake.assert_no_requests()
"""

Count = Callable[[Bench], float]
"""Millions of instructions of one program."""


class Row(NamedTuple):
    name: str
    ours: Count
    beside: Count
    """What it is measured by."""


def rows() -> list[Row]:
    """All of the list."""
    test = _one_more(_tests(_using(""), "shimmy"), MORE_TESTS)
    with_server = _one_more(_tests(_using(", shimmy_server"), "shimmy"), MORE_TESTS)
    with_fake = _one_more(_tests(_using(", shimmy_fake"), "shimmy"), MORE_TESTS)
    reported = _one_more(
        _tests(_using(", shimmy_server"), "shimmy", options=("--shimmy-report=run.html",)),
        MORE_TESTS,
    )
    scripted = _one_more(_tests(SCRIPTED, "shimmy"), MORE_TESTS)
    bare = _one_more(_requests(_bare), MORE_REQUESTS)
    request = _one_more(_requests(_fake), MORE_REQUESTS)
    with_rules = _one_more(_requests(_fake, TWO_RULES), MORE_REQUESTS)
    return [
        Row(
            "plugin load / bare pytest",
            _tests(_using(""), "shimmy")(1),
            _tests(_using(""))(1),
        ),
        Row("a test with shimmy_server / without", with_server, test),
        Row("a test with a report / without", reported, with_server),
        Row("a test with shimmy_fake / without", with_fake, test),
        Row("a test with a rule and an assertion / without", scripted, test),
        Row("a request / bare asyncio", request, bare),
        Row("a request with two rules / bare asyncio", with_rules, bare),
    ]


def measure(bench: Bench) -> dict[str, float]:
    """The ratio of each row."""
    listed = rows()
    # What is counted does not depend on who else is running.
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            count: pool.submit(count, bench)
            for count in dict.fromkeys(each for row in listed for each in (row.ours, row.beside))
        }
        return {
            row.name: round(jobs[row.ours].result() / jobs[row.beside].result(), 3)
            for row in listed
        }


def grown(found: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """What is out of bounds, or not on the list, in words."""
    problems = [
        f"{name}: {found[name]:.2f}, and it was {before:.2f}"
        for name, before in recorded.items()
        if name in found and found[name] > round(before * (1 + BOUND), 3)
    ]
    unlike = sorted(found.keys() ^ recorded.keys())
    return problems + [f"{name}: it is only in one of the two lists; --write" for name in unlike]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and compare or write; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is found to the file")
    chosen = parser.parse_args(arguments)
    python = ".".join(platform.python_version_tuple()[:2])
    document = {} if chosen.write else json.loads(RECORDED.read_text())
    if not chosen.write and document["python"] != python:
        print(f"the file is of Python {document['python']}, and this is {python}", file=sys.stderr)
        return 2
    with workplace(quick=False, shimmy_path=None) as bench:
        if (reason := counting.missing(bench.directory)) is not None:
            print(reason, file=sys.stderr)
            return 2
        found = measure(bench)
    for name, ratio in found.items():
        before = document.get("ratios", {}).get(name)
        print(f"{name:42} {ratio:6.2f}" + ("" if before is None else f"   recorded {before:.2f}"))
    if chosen.write:
        RECORDED.write_text(json.dumps({"python": python, "ratios": found}, indent=2) + "\n")
        return 0
    problems = grown(found, document["ratios"])
    for problem in problems:
        print(f"more than {BOUND:.0%} worse: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _one_more(count: Callable[[int], Count], more: int) -> Count:
    """What one more of something takes, on the average of so many."""

    def difference(bench: Bench) -> float:
        return (count(FEW + more)(bench) - count(FEW)(bench)) / more

    return difference


def _using(arguments: str) -> str:
    """Tests with these further arguments that do nothing."""
    return SUITE.format(count="{count}", fixture=arguments)


def _tests(text: str, *plugins: str, options: Sequence[str] = ()) -> Callable[[int], Count]:
    """pytest with these `options` on so many tests of the module that is `text`."""

    def of(number: int) -> Count:
        def count(bench: Bench) -> float:
            directory = Path(tempfile.mkdtemp(dir=bench.directory))
            (directory / "test_it.py").write_text(text.format(count=number))
            command = pytest_run.command(plugins, "-q", *options)
            pytest_run.run(command, directory, {**counting.environment(), **hermetic(bench)})
            return counting.count(command, directory, hermetic(bench))

        return count

    return of


def _fake(bench: Bench, port: int) -> Sequence[str]:
    return fake_command(bench, port)


def _bare(_: Bench, port: int) -> Sequence[str]:
    return [*BARE, str(HERE / "reference_server.py"), str(port), "0"]


def _requests(
    server: Callable[[Bench, int], Sequence[str]], script: str | None = None
) -> Callable[[int], Count]:
    """A server that answers so many requests on one connection."""

    def of(number: int) -> Count:
        def count(bench: Bench) -> float:
            environment = {}
            if script is not None:
                path = bench.directory / "two-rules.json"
                path.write_text(script)
                environment["FAKE_SHIMMY_SCRIPT"] = str(path)
            request = load.chat_request(bench.gguf.stem, "France?", stream=False)

            def use(port: int) -> None:
                with load.connections(port, 1) as (peer,):
                    length = load.answer_length(peer, request)
                    for _ in range(number - 1):
                        peer.sendall(request)
                        load.skip(peer, length)

            return counting.count_served(bench, server, environment, use)

        return count

    return of


if __name__ == "__main__":
    sys.exit(main())
