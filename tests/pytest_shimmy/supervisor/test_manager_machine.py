"""`ShimmyProcessManager` under torture: any order of calls, from several threads, and deaths.

Each example is a life of one manager. Most calls are handed to threads and not waited for, so they
meet in the middle of each other. What must hold at any moment is looked at after each step; what
must hold when all calls have returned, whenever everybody is waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pytest_shimmy import (
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from pytest_shimmy.events import Exited, Output, Ready, Starting
from pytest_shimmy.supervisor import ports
from pytest_shimmy.supervisor.manager import State
from tests.support.manager_events import LONG, Step, ask

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are POSIX scripts"),
    pytest.mark.slow,
]

PRETENDER = Path(__file__).parents[2] / "programs" / "pretender.py"

CHILDREN: dict[str, list[Step]] = {
    "good": [["say", "up\n"], ["serve"]],
    "deaf": [["deaf"], ["serve"]],
    "dead on arrival": [["exit", 1]],
    "never healthy": [["silent"]],
}
MAY_SAY = {
    ShimmyErrorCode.START_FAILED,
    ShimmyErrorCode.START_TIMEOUT,
    ShimmyErrorCode.RESTARTS_EXHAUSTED,
}


class Call(threading.Thread):
    """A call under way."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._raised = error

    def wait(self) -> None:
        """Wait for its return; raises what it raised."""
        self.join(LONG)
        assert not self.is_alive(), "a call hangs"
        if self._raised is not None:
            raise self._raised


class Life(RuleBasedStateMachine):
    """One manager, threads that use it, and whoever kills its child."""

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = contextlib.ExitStack()
        directory = Path(self.cleanup.enter_context(tempfile.TemporaryDirectory()))
        self.mark = str(directory)
        self.shimmy = directory / "shimmy"
        program = shlex.join([sys.executable, "-IS", str(PRETENDER)])
        self.shimmy.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec echo shimmy 2.5.0\nexec {program} "$@"\n'
        )
        self.shimmy.chmod(0o755)
        self.manager = ShimmyProcessManager()
        self.calls: list[Call] = []
        self.lives: list[object] = []
        for event in ("starting", "ready", "exited", "restarting", "stopped", "error"):
            self.manager.on(event, self.lives.append)  # type: ignore[call-overload]
        self.heard: list[Output] = []

    # What is done: by a thread, or here and now.

    def by_a_thread(self, call: Callable[[], object]) -> None:
        self.calls.append(Call(call))

    @initialize()
    def begin(self) -> None:
        # Without options of ours, `ensure_ready` would start the bundled fake.
        self.start("good", 2)
        self.all_return()

    @rule(
        child=st.sampled_from(["good", "good", *CHILDREN]),
        restarts=st.integers(0, 2),
        retry=st.booleans(),
    )
    def start(self, child: str, restarts: int, retry: bool = False) -> None:
        options = ShimmyProcessOptions(
            shimmy_path=self.shimmy,
            args=[self.mark],
            env={"PRETEND": json.dumps(CHILDREN[child])},
            max_restarts=restarts,
            retry_first_start=retry,
            health_timeout=0.4 if child == "never healthy" else LONG,
        )
        self.by_a_thread(lambda: self.manager.start(options))

    @rule()
    def stop(self) -> None:
        self.by_a_thread(self.manager.stop)

    @rule(timeout=st.sampled_from([None, 0.0, 0.05]))
    def ensure_ready(self, timeout: float | None) -> None:
        self.by_a_thread(lambda: self.waited(timeout))

    def waited(self, timeout: float | None) -> ShimmyError | None:
        """Wait for readiness; returns what came instead."""
        try:
            self.manager.ensure_ready(timeout)
        except ShimmyError as unready:
            error = unready
        else:
            return None
        assert error.code in MAY_SAY, error
        return error

    @rule(number=st.sampled_from([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
    def kill(self, number: signal.Signals) -> None:
        if pid := self.manager.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @rule(listen=st.booleans())
    def listen(self, listen: bool) -> None:
        (self.manager.on if listen else self.manager.off)("stdout", self.heard.append)

    @rule()
    def look(self) -> None:
        self.by_a_thread(self.look_around)

    def look_around(self) -> None:
        assert self.manager.log_size() >= 0
        assert len(self.manager.crashes) <= 3
        assert self.manager.restarts <= 2

    # What holds.

    @invariant()
    def the_state_is_one_of_five_and_there_is_one_child_at_most(self) -> None:
        assert self.manager.state in get_args(State)
        assert len(self.children()) <= 1

    def all_return(self) -> None:
        for call in self.calls:
            call.wait()
        self.calls.clear()

    @rule(deaths=st.integers(0, 3))
    def when_all_have_returned_a_start_is_ready_or_has_failed(self, deaths: int) -> None:
        self.all_return()
        for _ in range(deaths):
            self.waited(LONG)
            self.kill(signal.SIGKILL)
            self.manager.notice()
        error = self.waited(LONG)
        if error is not None:
            assert "was stopped (state" not in error.message
            assert (self.manager.state, self.manager.error) == ("failed", error)
            assert not self.children()
            return
        self.manager.notice()
        if self.manager.state == "ready":  # else a signal was still on its way
            with contextlib.suppress(OSError):
                assert ask(self.manager, "GET", "/health") == 200

    @rule()
    def when_all_have_returned_a_stop_leaves_nothing(self) -> None:
        self.all_return()
        self.manager.stop()
        assert self.manager.state == "idle"
        assert self.manager.pid is None
        assert not self.children()
        port = self.manager.port
        if port is not None:
            with ports.lease(port) as lease:
                assert lease.port == port
        log = self.manager.log_path
        assert log is None or not log.exists()

    def teardown(self) -> None:
        self.when_all_have_returned_a_stop_leaves_nothing()
        self.cleanup.close()
        started = [event.pid for event in self.lives if isinstance(event, Starting)]
        ready = [event.pid for event in self.lives if isinstance(event, Ready)]
        assert set(ready) <= set(started)
        exited = [event.pid for event in self.lives if isinstance(event, Exited)]
        assert exited == started
        for before, event in zip(self.lives, self.lives[1:], strict=False):
            if isinstance(event, Ready):
                assert isinstance(before, Starting)
                assert before.pid == event.pid

    def children(self) -> list[Any]:
        """Those that run; one that was only just forked does not have the mark yet."""
        found = []
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if self.mark in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", 0.01)
    monkeypatch.setattr(ShimmyProcessDefaults, "stop_grace", 0.05)


@pytest.mark.usefixtures("short_pauses")
def test_any_order_of_calls_and_deaths(wait_for_threads: Callable[[], None]) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            # Threads do not repeat themselves: a smaller example proves nothing.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    wait_for_threads()
