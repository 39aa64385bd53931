"""Runs of every kind, killed, stopped or called up at random moments, by a seed for a repetition.

A round is a configuration, one or more strokes (who, and which signal; or strangers at every
socket), and their moments. All of it follows from the seed and the round's number: see the options
in this directory's conftest.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil
import pytest

from tests.chaos.conftest import END_SECONDS, rounds_of, seed_of
from tests.support.kills import FORGED, USE, Start, our_sockets, strangers
from tests.support.pytest_runs import XDIST, Session, kill

pytestmark = pytest.mark.slow

LIFE = """
import os, pathlib, pytest, requests, signal, time

def ask(server, model, seconds):
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    url = server.base_url + "/chat/completions"
    with requests.post(url, json=body, stream=True, timeout=10) as answer:
        for line in answer.iter_lines():
            time.sleep(seconds)

@pytest.mark.parametrize("n", range(6))
def test_ask(shimmy_server, shimmy_model, n):
    ask(shimmy_server, shimmy_model, 0.01)

def test_crash(shimmy_server):
    os.kill(shimmy_server.pid, signal.SIGKILL)

def test_own(make_shimmy_server, shimmy_model):
    ask(make_shimmy_server(), shimmy_model, 0.01)
"""

CONFIGURATIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("-n1",),
    ("-n2",),
    ("-n3", "--dist=worksteal"),
    ("-n2", "--shimmy-scope=worker"),
    ("-n2", "--dist=each", "--tx=2*popen"),
)

LIVES: tuple[dict[str, Any], ...] = (
    {},
    {"start_delay": 0.5},
    {"deaf": True},
    {"healthy_after": 0.3},
    {"exit": {"after_requests": 2, "status": 3}},
    {"log_flood": 1_000_000},
)

VICTIMS: dict[str, Callable[[Session], list[psutil.Process]]] = {
    "the controller": lambda session: [_controller(session)],
    "a worker": lambda session: session.workers()[-1:],
    "the workers": Session.workers,
    "the keepers": Session.keepers,
    "a keeper": lambda session: session.keepers()[:1],
    "the servers": Session.servers,
    "pytest and the keepers": lambda session: [
        _controller(session),
        *session.workers(),
        *session.keepers(),
    ],
    "everybody in the foreground": lambda session: [_controller(session), *session.workers()],
}

SIGNALS = (
    signal.SIGKILL,
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGSTOP,
    None,
)
CALLERS = 20
"""Strangers at each socket."""


class Stroke(NamedTuple):
    after: float
    """Seconds since the one before, or since the start of the run."""
    victim: str
    signal: signal.Signals | None
    """None: strangers call at every socket, and nobody is the victim."""


class Round(NamedTuple):
    arguments: tuple[str, ...]
    life: dict[str, Any]
    strokes: list[Stroke]
    stopped: float
    """Seconds after the last stroke until those that were stopped go on."""

    @classmethod
    def of(cls, seed: int, number: int) -> Round:
        chance = random.Random(f"{seed}/{number}")
        strokes = [
            Stroke(
                # A run of this suite is over after two or three seconds.
                round(chance.uniform(0.0, 2.5 if first else 0.3), 3),
                chance.choice(list(VICTIMS)),
                chance.choice(SIGNALS),
            )
            for first in (True, *[False] * chance.choice([0, 0, 1, 2]))
        ]
        stopped = round(chance.uniform(0.0, 2.0), 3)
        return cls(chance.choice(CONFIGURATIONS), chance.choice(LIVES), strokes, stopped)


def _controller(session: Session) -> psutil.Process:
    return psutil.Process(session.pytest.pid)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        rounds = range(rounds_of(metafunc.config))
        metafunc.parametrize("number", rounds, ids=[f"round{number}" for number in rounds])


def test_nothing_is_left_after_a_random_death(
    start: Start,
    number: int,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    seed = seed_of(pytestconfig)
    played = Round.of(seed, number)
    # Shown when it fails.
    print(f"{played}\nto repeat: --chaos-seed {seed} --chaos-rounds {number + 1} -k round{number}")
    before = our_sockets()
    session = start(LIFE, *played.arguments, plugins=(XDIST,), script={"life": played.life})
    with contextlib.ExitStack() as open_:
        stopped: list[psutil.Process] = []
        for stroke in played.strokes:
            time.sleep(stroke.after)  # this is the moment, and not a way to wait for it
            if stroke.signal is None:
                strangers(our_sockets() - before, CALLERS, open_)
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                victims = VICTIMS[stroke.victim](session)
                if stroke.signal is signal.SIGSTOP:
                    stopped += victims
                kill(victims, stroke.signal)
        if stopped:
            time.sleep(played.stopped)
            kill(stopped, signal.SIGCONT)
        session.wait()
        record_property(END_SECONDS, session.assert_nothing_left())
    assert FORGED not in session.output
    later = start(USE, plugins=(), runtime=session.runtime)
    later.assert_outcomes(passed=2)
    later.assert_nothing_left()
