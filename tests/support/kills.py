"""What the chaos tests kill, and at which moment of a run's life."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from pytest_shimmy.sharing.protocol import ServerSummary, hello
from tests.support.pytest_runs import Session, kill, wait_for

SLOW: Mapping[str, Any] = {"life": {"start_delay": 1.0}}
"""Long enough to be killed meanwhile."""

WAIT = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_wait(shimmy_server, note, hang, n):
    note(shimmy_server)
    hang()
"""

IN_A_REQUEST = """
import json, pytest, requests
@pytest.mark.parametrize("n", range(4))
def test_stream(shimmy_server, shimmy_model, note, hang, n):
    body = {"model": shimmy_model, "messages": [{"role": "user", "content": "x"}], "stream": True}
    url = shimmy_server.base_url + "/chat/completions"
    with requests.post(url, json=body, stream=True, timeout=30) as answer:
        assert next(answer.iter_lines())
        note(shimmy_server)
        hang()
"""

STALLED: Mapping[str, Any] = {
    "rules": [{"reply": ["a", "b"], "faults": [{"do": "hang", "at": {"tokens": 1}}]}]
}

RESTARTING = """
import json, os, pathlib, pytest, signal
@pytest.mark.parametrize("n", range(4))
def test_crash(shimmy_server, note, hang, n):
    note(shimmy_server)
    try:
        pathlib.Path("crashed").touch(exist_ok=False)
    except FileExistsError:
        pass
    else:
        pathlib.Path("script.json").write_text(json.dumps({"life": {"start_delay": 1.0}}))
        os.kill(shimmy_server.pid, signal.SIGKILL)
    hang()
"""

USE = """
import pytest
@pytest.mark.parametrize("n", range(2))
def test_use(shimmy_server, note, n):
    note(shimmy_server)
"""

DEAF: Mapping[str, Any] = {"life": {"deaf": True}}

Start = Callable[..., Session]


class Moment(NamedTuple):
    """When a run is killed: its suite, its fake's script, and how the moment is known."""

    suite: str
    script: Mapping[str, Any]
    has_come: Callable[[Session], object]

    def begin(self, start: Start, *arguments: str, **options: Any) -> Session:
        """A run that has come there."""
        session = start(self.suite, *arguments, script=self.script, **options)

        def come() -> object:
            return self.has_come(session) or session.pytest.poll() is not None

        wait_for(come, lambda: session.output)
        assert self.has_come(session), session.output
        return session


def _restarts(session: Session) -> bool:
    notes = session.notes()
    return bool(notes) and any(server.pid != notes[0].server for server in session.servers())


MOMENTS = {
    # In a test that asks the server nothing, or between two of them: the server sees no difference.
    "idle": Moment(WAIT, {}, lambda session: len(session.notes()) >= 2),
    "starting": Moment(WAIT, SLOW, Session.servers),
    "in a request": Moment(IN_A_REQUEST, STALLED, lambda session: len(session.notes()) >= 2),
    "restarting": Moment(RESTARTING, {}, _restarts),
    "stopping": Moment(USE, DEAF, lambda session: session.notes("finishing")),
}


def _controller(session: Session) -> None:
    session.pytest.kill()


def _one_worker(session: Session) -> None:
    kill(session.workers()[:1])


def _workers(session: Session) -> None:
    kill(session.workers())


def _keeper(session: Session) -> None:
    kill(session.keepers())


def _server(session: Session) -> None:
    kill(session.servers())


def _controller_and_keeper(session: Session) -> None:
    kill([psutil.Process(session.pytest.pid), *session.keepers()])


def _all(session: Session) -> None:
    """All of pytest and the keeper; whoever is left has nobody."""
    kill([psutil.Process(session.pytest.pid), *session.workers(), *session.keepers()])


def _interrupted(session: Session) -> None:
    """Ctrl-C reaches everybody in the foreground."""
    os.killpg(session.pytest.pid, signal.SIGINT)


def _interrupted_twice(session: Session) -> None:
    already = len(session.notes("finishing"))
    _interrupted(session)

    def finishing() -> bool:
        return len(session.notes("finishing")) > already or session.pytest.poll() is not None

    if not already:
        wait_for(finishing, lambda: session.output)
    try:
        _interrupted(session)
    except ProcessLookupError:  # that was quick
        return


def _terminated(session: Session) -> None:
    session.pytest.terminate()


def _hung_up(session: Session) -> None:
    session.hang_up()


VICTIMS: Mapping[str, Callable[[Session], None]] = {
    "controller": _controller,
    "one worker": _one_worker,
    "all workers": _workers,
    "keeper": _keeper,
    "server": _server,
    "controller and keeper": _controller_and_keeper,
    "everything": _all,
    "Ctrl-C": _interrupted,
    "Ctrl-C twice": _interrupted_twice,
    "SIGTERM": _terminated,
    "terminal": _hung_up,
}

ENDS_AT_ONCE = {"controller", "controller and keeper", "everything", "SIGTERM", "terminal"}
"""Without these, the run goes on to its own end."""

WORKERS = {"one worker", "all workers"}


def our_sockets() -> set[bytes]:
    """The names of all sockets of anchors and keepers on this machine, as `connect` takes them;
    none where the system does not list them."""
    try:
        lines = Path("/proc/net/unix").read_bytes().splitlines()
    except FileNotFoundError:
        return set()
    return {line.split()[7].replace(b"@", b"\0", 1) for line in lines if b"@pytest-shimmy-" in line}


FORGED = "a log that nobody kept"
"""What strangers have a run's summary say, if they are believed."""


def strangers(names: Iterable[bytes], count: int, open_: contextlib.ExitStack) -> None:
    """So many call at each of these sockets, claim to be a keeper, and stay until `open_` ends."""
    summary = ServerSummary(None, "\x1b[2J", 1, 0, 1.0, 1, kept_log=FORGED)
    said = b"".join(
        json.dumps(each).encode() + b"\n"
        for each in (hello("a guess"), {"server_summary": summary._asdict()})
    )
    for name in names:
        for number in range(count):
            stranger = open_.enter_context(socket.socket(socket.AF_UNIX))
            stranger.settimeout(1)
            with contextlib.suppress(OSError):  # it is shown out already, or its run is over
                stranger.connect(name)
                stranger.sendall(said)
                if number % 2:  # as a keeper that has ended
                    stranger.shutdown(socket.SHUT_WR)
