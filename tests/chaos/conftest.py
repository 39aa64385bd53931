"""The chaos suite: one server per run, and nothing left of it, whatever happens.

Consumers' suites are run in processes of their own, in every way that pytest and its plugins know,
and killed at chosen and at random moments. The ordinary run is bounded; the long form is

    pytest tests/chaos --chaos-long

in which `test_kills` kills everybody at every moment, `test_random` plays 60 rounds, and
`test_crowds` starts 50 runs at once. ``--chaos-rounds N``: so many random rounds instead.
``--chaos-seed S``: where their chance comes from; the same seed and round are the same
configuration, victims and moments.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]  # signals, forks, terminals
else:
    from tests.support.pytest_runs import Session

ROUNDS, ROUNDS_LONG = 4, 60
RUNS, RUNS_LONG = 8, 50

END_SECONDS = "chaos_end_seconds"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "chaos suite")
    group.addoption("--chaos-long", action="store_true", help="The long form of tests/chaos.")
    group.addoption("--chaos-rounds", type=int, help="How many random rounds are played.")
    group.addoption("--chaos-seed", type=int, default=1, help="Where their chance comes from.")


# With defaults, where this conftest was loaded too late for its options to be read.


def is_long(config: pytest.Config) -> bool:
    return bool(config.getoption("--chaos-long", False))


def seed_of(config: pytest.Config) -> int:
    return int(config.getoption("--chaos-seed", 1))


def rounds_of(config: pytest.Config) -> int:
    rounds = config.getoption("--chaos-rounds", None)
    return int(rounds) if rounds is not None else ROUNDS_LONG if is_long(config) else ROUNDS


@pytest.fixture
def runs(pytestconfig: pytest.Config) -> int:
    """How many runs are a crowd."""
    return RUNS_LONG if is_long(pytestconfig) else RUNS


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """A function that starts a `Session`; its arguments are those behind the directory."""
    sessions: list[Session] = []
    numbers = itertools.count()

    def start(*arguments: Any, **options: Any) -> Session:
        sessions.append(Session(tmp_path / f"run-{next(numbers)}", *arguments, **options))
        return sessions[-1]

    yield start
    for session in sessions:
        session.clean_up()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    ends = [
        float(str(value))
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == END_SECONDS
    ]
    if ends:
        seed = seed_of(config)
        terminalreporter.write_line(
            f"chaos: {len(ends)} rounds with seed {seed}; the slowest end took {max(ends):.2f} s"
        )
