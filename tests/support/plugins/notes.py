"""A plugin of the pytest runs that the chaos tests start: their tests leave notes, and wait.

Loaded with ``-p notes``; `DIRECTORY` names the directory in which notes are left and where a
file ``go-on`` appears when waiting is over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DIRECTORY = "CHAOS_DIRECTORY"

Note = Callable[..., None]


def write(step: str, **row: Any) -> None:
    """Leave a note. One write of one line: those of several processes do not mix."""
    line = json.dumps({"step": step, "process": os.getpid(), **row}) + "\n"
    with open(Path(os.environ[DIRECTORY], "notes"), "ab", buffering=0) as notes:
        notes.write(line.encode())


def wait_to_go_on() -> None:
    """Hang until the file is there."""
    go_on = Path(os.environ[DIRECTORY], "go-on")
    while not go_on.exists():
        time.sleep(0.01)


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """A function that writes down which server this test has: note(shimmy_server, "step")."""
    test = request.node.name

    def note(server: Any, step: str = "test", **more: Any) -> None:
        write(step, test=test, server=server.pid, url=server.url, **more)

    return note


@pytest.fixture
def hang() -> Callable[[], None]:
    return wait_to_go_on


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Before the plugin lets go of its servers, which it does last of all; and, in a controller,
    # after xdist has seen its workers go, because xdist's hook came later and is called earlier.
    if not hasattr(session.config, "workerinput"):
        write("finishing")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        write("worker gone")
