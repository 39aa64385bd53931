"""A machine of states for an application that starts a shimmy of its own.

Strategy: the application gets an executable that is the fake behind two lines of shell, which hold
a named pipe open as long as the process lives. So it is seen who lives, also of processes that
nobody has waited for. Every start says something else, so that an answer tells from which process
it came.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fake_shimmy.models.tiny_gguf import contents

from ..executable.identify import bundled_fake
from ..launch.hermetic import hermetic
from ..supervisor import ports

DELAYS = (0.0, 0.2)
"""Seconds from a start to the moment when the sidecar listens."""
PORTS = range(26_500, 32_000)
"""Where the sidecar's port is. While it is down, nobody holds that port: so not where servers of
ours are started, of which some see no lease, nor where systems give ports to clients."""


class Sidecar(NamedTuple):
    """What an application is to start: ``EXECUTABLE serve --bind 127.0.0.1:PORT --model-path
    MODEL``."""

    executable: Path
    """A program called ``shimmy``."""
    port: int
    """A port of 127.0.0.1 that is free, unless the machine takes it."""
    model: Path
    """A model's file, which may be missing at times. Its name in requests is ``tiny``."""


class SidecarMachine(RuleBasedStateMachine):
    """Starts an application, asks it, and meanwhile does to its sidecar what happens in the field:
    it starts slowly, crashes, finds its port taken or its model gone, and is stopped.

    A subclass says how the application is started, asked and stopped; its ``TestCase`` is the test.
    Only on systems with a POSIX shell.

    Checked is that the application answers what its own sidecar said whenever it can; that it
    raises, and does not invent anything, when it cannot; that it takes no longer than `patience`
    for either; that it never has two sidecars, and none when it is stopped, however that came.
    """

    patience: ClassVar[float] = 10.0
    """Seconds that a start, a question or a stop may take."""
    restarts: ClassVar[bool] = False
    """The application starts its sidecar again after a crash, by the next question at the latest.
    False: it may."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        test: Any = cls.TestCase
        test.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)

    def __init__(self) -> None:
        super().__init__()
        if os.name != "posix":
            raise NotImplementedError("SidecarMachine needs a POSIX shell")
        self._resources = contextlib.ExitStack()
        home = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-")))
        # hypothesis would have it the same in every run, at the same time too.
        first = random.SystemRandom().choice(PORTS)
        port = self._resources.enter_context(ports.lease(first)).port
        self.sidecar = Sidecar(home / "shimmy", port, home / "tiny.gguf")
        """What the application is to start."""
        self._script = home / "script.json"
        self._pipes = home / "pipes"
        """A named pipe for each process, called by its id."""
        self._pipes.mkdir()
        self._write_executable(home)
        self._number = 0
        self._state = "stopped"

    # For subclasses

    def start_application(self) -> None:
        """Start the application, which starts `sidecar`; raise if it says that it cannot."""
        raise NotImplementedError

    def ask(self) -> str:
        """Ask the application something; the text that its sidecar answers. Raise whatever it
        raises, or shows, when it has no answer."""
        raise NotImplementedError

    def stop_application(self) -> None:
        """Stop the application; it may have failed to start."""
        raise NotImplementedError

    # What happens

    @precondition(lambda self: self._state == "stopped")
    @rule(delay=st.sampled_from(DELAYS))
    def start(self, delay: float) -> None:
        """All is well, perhaps slowly."""
        self._prepare({"start_delay": delay} if delay else {})
        self._within("start", self.start_application)
        self._state = "running"
        self._answers()

    @precondition(lambda self: self._state == "stopped")
    @rule()
    def start_on_a_taken_port(self) -> None:
        """Somebody else listens on its port, and answers."""
        self._prepare({})
        with _stranger(self.sidecar.port):
            self._may_fail("start", self.start_application)
            self._may_answer()
            self._end()

    @precondition(lambda self: self._state == "stopped")
    @rule()
    def start_and_exit(self) -> None:
        """The sidecar exits at once, with a word on stderr."""
        self._prepare({"refuse": {"stderr": "Error: no memory for the model", "status": 1}})
        self._may_fail("start", self.start_application)
        self._has_no_answer()
        self._end()

    @precondition(lambda self: self._state == "running")
    @rule()
    def lose_model(self) -> None:
        """The model's file goes; what is loaded may stay so."""
        self.sidecar.model.unlink(missing_ok=True)
        self._state = "doubtful"

    @precondition(lambda self: self._state in ("running", "doubtful"))
    @rule()
    def crash(self) -> None:
        """The sidecar is killed."""
        self._kill_all()
        if self._state == "running":
            self._state = "crashed"

    @precondition(lambda self: self._state == "crashed")
    @rule()
    def answer_after_a_crash(self) -> None:
        """The application has its sidecar back, or says that it has none."""
        if self.restarts:
            self._answers()
            self._state = "running"
        else:
            self._may_answer()

    @precondition(lambda self: self._state == "running")
    @rule()
    def answer(self) -> None:
        """All is well."""
        self._answers()

    @precondition(lambda self: self._state == "doubtful")
    @rule()
    def answer_in_doubt(self) -> None:
        """The application answers, or says that it cannot."""
        self._may_answer()

    @precondition(lambda self: self._state != "stopped")
    @rule()
    def stop(self) -> None:
        """The application is stopped, and takes its sidecar along."""
        self._end()

    @invariant()
    def there_is_none_when_stopped(self) -> None:
        """No sidecar is left of an application that is stopped."""
        if self._state == "stopped":
            deadline = time.monotonic() + self.patience
            while left := self._living():
                assert time.monotonic() < deadline, (
                    f"the application is stopped, and its sidecar runs on: process {left}"
                )
                time.sleep(0.01)

    def teardown(self) -> None:
        """Stop the application, and end what it has left."""
        try:
            if self._state != "stopped":
                self._end()
                self.there_is_none_when_stopped()
        finally:
            self._kill_all()
            self._resources.close()

    # How it is seen

    def _prepare(self, life: dict[str, Any]) -> None:
        """What the next sidecar does."""
        self._number += 1
        self._state = "starting"
        self.sidecar.model.write_bytes(contents())
        rules = [{"reply": self._said, "validate": False}]
        self._script.write_text(json.dumps({"rules": rules, "life": life}))

    @property
    def _said(self) -> str:
        return f"sidecar {self._number} speaks"

    def _end(self) -> None:
        self._within("stop", self.stop_application)
        self._state = "stopped"

    def _within(self, what: str, do: Any) -> Any:
        begun = time.monotonic()
        try:
            return do()
        finally:
            took = time.monotonic() - begun
            assert took < self.patience, f"{what} took {took:.1f} s"

    def _may_fail(self, what: str, do: Any) -> Any:
        """None where it raises."""
        try:
            return self._within(what, do)
        except AssertionError:
            raise
        except Exception:
            return None

    def _answers(self) -> None:
        said = self._within("a question", self.ask)
        assert said == self._said, f"the sidecar said {self._said!r}, the application {said!r}"
        living = self._living()
        assert len(living) == 1, f"the application has {len(living)} sidecars"

    def _may_answer(self) -> None:
        said = self._may_fail("a question", self.ask)
        assert said in (None, self._said), (
            f"the sidecar can have said only {self._said!r}, the application said {said!r}"
        )

    def _has_no_answer(self) -> None:
        said = self._may_fail("a question", self.ask)
        assert said is None, f"there was no sidecar, and the application said {said!r}"

    def _living(self) -> list[int]:
        """The sidecars' process ids."""
        found = []
        for path in self._pipes.iterdir():
            reader = _open_pipe(path)
            try:
                is_gone = os.read(reader, 1) == b""
            except BlockingIOError:
                is_gone = False
            finally:
                os.close(reader)
            if is_gone:
                path.unlink()
            else:
                found.append(int(path.name))
        return found

    def _kill_all(self) -> None:
        """Kill every sidecar, and wait until it is gone."""
        while living := self._living():
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    _kill(pid)
            time.sleep(0.005)

    def _write_executable(self, home: Path) -> None:
        pipe = f'"{self._pipes}/$$"'
        variables = {**hermetic(home), "FAKE_SHIMMY_SCRIPT": str(self._script)}
        unset = " ".join(name for name, value in variables.items() if value is None)
        given = " ".join(
            f"{name}={shlex.quote(value)}" for name, value in variables.items() if value is not None
        )
        self.sidecar.executable.write_text(
            f"#!/bin/sh\nmkfifo {pipe} && exec 9<>{pipe}\nunset {unset}\n"
            f'{given} exec {shlex.join(bundled_fake().command)} "$@"\n'
        )
        self.sidecar.executable.chmod(0o755)


def _open_pipe(path: Path) -> int:
    """A reader that waits for nobody; the machine refuses to start where there is no such thing."""
    if sys.platform == "win32":
        raise NotImplementedError
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _kill(pid: int) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    os.kill(pid, signal.SIGKILL)


_BODY = (
    b'{"service":"shimmy","status":"ok","choices":[{"message":{"content":"a stranger speaks"}}]}'
)
_STRANGER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


@contextlib.contextmanager
def _stranger(port: int) -> Iterator[None]:
    """Somebody else's shimmy, which listens on the port."""
    with socket.create_server(("127.0.0.1", port)) as listener:

        def answer() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:  # it was closed
                    return
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(1)
                    peer.recv(65536)
                    peer.sendall(_STRANGER)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            # That alone ends an accept() that waits.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
