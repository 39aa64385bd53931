"""Whatever the system refuses at whichever step of a start, it ends in an error and leaves nothing.

For each kind of resource the first request is refused, then the second, and so on, until a start
gets on without asking so often: so every step has its turn, whichever steps there are.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy import ShimmyError, ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.defaults import ShimmyProcessDefaults
from pytest_shimmy.launch.plan import Plan
from pytest_shimmy.sharing import launcher, link
from pytest_shimmy.sharing.release import release_all
from pytest_shimmy.sharing.run import Anchor, Run
from tests.pytest_shimmy import refusing
from tests.pytest_shimmy.refusing import KINDS, Refusal
from tests.support.manager_events import LONG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="refuses what POSIX systems refuse")

START_TIMEOUT = 5.0
STEPS = 200
"""More than a start has: who gets there has counted wrong."""

# Where one descriptor is refused, the next is granted: for good, nothing could even be removed.
REFUSALS = [
    *[(kind, False) for kind in KINDS],
    *[(kind, True) for kind in ("thread", "process", "file")],
]
SWEEP = pytest.mark.parametrize(
    ("kind", "always"), REFUSALS, ids=[f"{kind}{' always' * a}" for kind, a in REFUSALS]
)


@pytest.fixture(autouse=True)
def _surroundings(
    runtime_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    gc.freeze()  # what was there before is not looked through at each step
    yield
    gc.unfreeze()
    assert list(temporary.iterdir()) == []


@pytest.fixture(autouse=True)
def _others() -> None:
    """What other tests hold, such as a server that a module shares, may stay."""
    OTHERS[:] = held()


OTHERS: list[object] = []
KEPT_OPEN = 4
"""Descriptors that modules may open once and keep."""


def held() -> list[object]:
    """The child processes of this one, and the threads that are ours."""
    return [
        *psutil.Process().children(recursive=True),
        *(thread for thread in threading.enumerate() if thread.name.startswith("shimmy-")),
    ]


def left(runtime_dir: Path) -> list[object]:
    """What must not be there any more."""
    servers = runtime_dir / "servers"
    launcher.reap()  # this process does not end, and is their parent
    return [
        *(each for each in held() if each not in OTHERS),
        *(servers.iterdir() if servers.exists() else ()),
    ]


def assert_nothing_left(runtime_dir: Path, step: int) -> None:
    deadline = time.monotonic() + LONG
    while left(runtime_dir):
        assert time.monotonic() < deadline, (step, left(runtime_dir))
        time.sleep(0.005)


def sweep(
    kind: str, always: bool, start: Callable[[Refusal], ShimmyError | None], runtime_dir: Path
) -> int:
    """Refuse at each step; returns how many of them ended in an error."""
    errors = 0
    descriptors: list[int] = []
    for step in range(STEPS):
        refusal = Refusal(kind, step, always)
        begun = time.monotonic()
        error = start(refusal)
        assert time.monotonic() - begun < 2 * START_TIMEOUT + 5, step
        assert_nothing_left(runtime_dir, step)
        if not refusal.in_popen:
            gc.collect()  # an error keeps what its frames held in a circle
            descriptors.append(psutil.Process().num_fds())
        if error is not None:
            errors += 1
            assert "defect" not in error.message, (step, error)
            assert "\n" in error.message, "what happened, and what to do"
        elif not refusal.happened:
            # What modules open when they are first used, they keep: a few, and not one a step.
            assert descriptors[-1] - descriptors[0] <= KEPT_OPEN, descriptors
            return errors
    raise AssertionError(f"a start that asks for more than {STEPS} {kind}s")


@pytest.mark.slow
@SWEEP
def test_a_manager_says_what_was_refused_and_leaves_nothing(
    kind: str, always: bool, runtime_dir: Path, tmp_path: Path
) -> None:
    model = tmp_path / "served.gguf"
    model.write_bytes(contents())
    options = ShimmyProcessOptions(model_path=model, health_timeout=START_TIMEOUT)

    def start(refusal: Refusal) -> ShimmyError | None:
        manager = ShimmyProcessManager()
        try:
            with refusal():
                manager.start(options)
                manager.ensure_ready(2 * START_TIMEOUT)
        except ShimmyError as error:
            assert manager.state == "failed"
            return error
        finally:
            manager.stop()
        assert manager.state == "idle"
        return None

    assert sweep(kind, always, start, runtime_dir) > 0


def plan(directory: Path) -> Plan:
    model = directory / "shared.gguf"
    options = ShimmyProcessOptions(
        model_path=model,
        cwd=directory,
        log_path=directory / "server.log",
        health_timeout=START_TIMEOUT,
    )
    return Plan(options, files={str(model): contents()})


def join(run: Run) -> None:
    joined = link.join(run, "key", plan)
    try:
        joined.ready()
    finally:
        joined.leave(0.0)  # the anchor holds it, or nobody does


@pytest.mark.slow
@SWEEP
def test_who_launches_says_what_was_refused_and_leaves_nothing(
    kind: str, always: bool, runtime_dir: Path
) -> None:
    def start(refusal: Refusal) -> ShimmyError | None:
        anchor = Anchor()
        run = Run.invited(anchor.invitation())
        try:
            with refusal():
                join(run)
        except ShimmyError as error:
            return error
        finally:
            release_all(anchor.let_go(), START_TIMEOUT)
        return None

    errors = sweep(kind, always, start, runtime_dir)
    assert (errors > 0) == (kind != "thread"), "it needs no thread"


@pytest.mark.slow
@SWEEP
def test_a_keeper_says_what_was_refused_and_leaves_nothing(
    kind: str, always: bool, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "keeper_timeout", START_TIMEOUT)

    note = runtime_dir.parent / "refused"

    def start(refusal: Refusal) -> ShimmyError | None:
        command = (*program, str(refusal.nth), str(always), str(note))
        monkeypatch.setattr(launcher, "python_command", lambda *_: command)
        error = None
        try:
            join(Run("0" * 32, None))
        except ShimmyError as failure:
            error = failure
        assert_nothing_left(runtime_dir, refusal.nth)
        refusal.happened = note.exists()
        if refusal.happened:
            note.rmdir()
        return error

    program = (sys.executable, refusing.__file__, kind)
    assert sweep(kind, always, start, runtime_dir) > 0
