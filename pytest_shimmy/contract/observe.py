"""Doing a case to a subject, and writing down what came back.

Strategy: a `Stage` is a world made real for one subject: its folder, its environment and, once an
exchange asks for it, a server that all exchanges of that world share. What a server logs belongs
to the case that was running: the server writes before it answers, and `Process.drain` takes over
everything written so far.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..process.process import Process
from ..supervisor import health
from . import adapter, normalise
from .case import Case, Command, Exchange, Life, Step, ask
from .differences import Observation
from .environments import WORLDS, build
from .subject import Subject
from .wire import Wire

DEADLINE = 20.0
"""Seconds for anything that must happen."""
SILENCE = 0.4
"""Seconds after which a server is taken to wait for more."""
QUIET = 0.25
"""Seconds without output after which a server has written what it had to."""
HOST = "127.0.0.1"
HOSTS = (HOST, "0.0.0.0", "[::]", "[::ffff:127.0.0.1]")
"""Where a server may be asked to listen."""

_FIRST_REQUEST = ask("POST", "/api/generate", b'{"model":"chatter","prompt":"x","stream":false}')


class Stage:
    """One world for one subject; a context manager that leaves nothing behind."""

    def __init__(self, subject: Subject, world: str) -> None:
        self.subject = subject
        self.world = WORLDS[world]
        self._folder = Path(tempfile.mkdtemp(prefix="shimmy-verify-"))
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def __enter__(self) -> Stage:
        try:
            build(self.world, self._folder)
            self._command = self._as_shimmy()
        except BaseException:
            self._remove()
            raise
        self._signals = _heed_signals()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._server is not None:
                self._server.stop()
        finally:
            for number, handler in self._signals.items():
                signal.signal(number, handler)
            self._remove()

    def observe(self, case: Case) -> Observation:
        """Do `case`. Never raises for what the subject does: that is written down."""
        act = case.act
        if isinstance(act, Command):
            return self._run(act)
        if isinstance(act, Life):
            return self._live(act)
        return self._talk(act)

    def address(self, port: int) -> tuple[str, int]:
        """Where clients find the server that listens on `port`."""
        return HOST, port

    def _run(self, act: Command) -> Observation:
        command = [*self._command, *act.arguments]
        env = self._environ(act.env)
        if act.closed_stdout:
            reader, writer = os.pipe()
            os.close(reader)
        with contextlib.ExitStack() as stack:
            if act.closed_stdout:
                stack.callback(os.close, writer)
            try:
                done = subprocess.run(
                    command,
                    cwd=self._folder,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=writer if act.closed_stdout else subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    timeout=DEADLINE,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return {"exit": f"none within {DEADLINE:g} s", "stdout": "", "stderr": ""}
        stdout = self._shown(done.stdout or b"", "stdout")
        if act.order == "lines":
            stdout = normalise.sorted_lines(stdout)
        observation: Observation = {
            "exit": _exit_of(done.returncode),
            "stdout": stdout,
            "stderr": self._shown(done.stderr, "stderr"),
        }
        if act.leaves:
            left = self._folder / act.leaves
            found = sorted(left.rglob("*"))
            observation["files"] = [path.relative_to(left).as_posix() for path in found]
        return observation

    def _live(self, act: Life) -> Observation:
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            port = taken.getsockname()[1]
            if act.port_is_taken:
                taken.listen()
            else:
                taken.close()
            arguments = [argument.replace("{port}", str(port)) for argument in act.arguments]
            server = _Server(self, ["serve", *arguments], self._environ(act.env), port)
            listens = not act.port_is_taken and server.wait()
            if listens:
                server.signal(getattr(signal, act.signal))
            return {
                "listened": listens,
                "exit": server.end(),
                **self._output_of(server),
            }

    def _talk(self, act: Exchange) -> Observation:
        # One after the other: what the server writes belongs to the case that is running.
        with self._lock:
            if self._server is None or self._server.process.is_over():
                self._server = self._serve()
            server = self._server
            if server.process.is_over():
                return {"did not serve": server.end(), **self._output_of(server)}
            server.forget()
            seen = _converse(self.address(server.port), act.steps)
            if any(step.do in ("close", "reset") for step in act.steps):
                server.settle()
            own = self._own(server.port)
            return {
                "seen": {
                    name: [normalise.neutral_answer(part, own, act.order) for part in parts]
                    for name, parts in seen.items()
                },
                **{
                    stream: normalise.without_note(text)
                    for stream, text in self._output_of(server).items()
                },
            }

    def _serve(self) -> _Server:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        arguments = list(self.world.arguments)
        if self.subject.engine == "llama" and "--legacy" in arguments:
            arguments.remove("--legacy")
        bound = ["serve", "--bind", f"{HOST}:{port}"]
        server = _Server(self, [*bound, *arguments], self._environ({}), port)
        if server.wait() and self.world.needs_adapter:
            # What is said at the first load is no part of a check, whichever comes first.
            _converse((HOST, port), _FIRST_REQUEST)
        return server

    def _output_of(self, server: _Server) -> Observation:
        return {
            stream: self._shown(server.taken(stream), stream, server.port)
            for stream in ("stdout", "stderr")
        }

    def spawn(
        self, arguments: list[str], env: dict[str, str], sink: Callable[[str, bytes], None]
    ) -> Process:
        """A process of the subject in this world."""
        command = [*self._command, *arguments]
        return Process(command, env=env, cwd=self._folder, on_output=sink)

    def _as_shimmy(self) -> tuple[str, ...]:
        """The subject's command by the name that usage lines should show."""
        executable, *others = self.subject.command
        if others or Path(executable).name == "shimmy":
            return self.subject.command
        link = self._folder / "bin" / "shimmy"
        link.symlink_to(executable)
        return (str(link),)

    def _environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        system = {
            name: os.environ[name]
            for name in ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
            if name in os.environ
        }
        home = {"HOME": "home", "PATH": "bin"}
        drivers = adapter.software_drivers() if self.world.needs_adapter else adapter.NO_DRIVERS
        env = {**system, **home, **drivers, **self.subject.env, **self.world.env, **extra}
        if self.world.needs_adapter and self.subject.is_fake:
            env["FAKE_SHIMMY_GPU"] = "llvmpipe"
        return env

    def _own(self, port: int = 0) -> dict[str, str]:
        own = {str(self._folder): "{world}", self.subject.release: "{version}"}
        if port:
            own |= {f"{host}:{port}": f"{host}:{{port}}" for host in HOSTS}
        return own

    def _shown(self, raw: bytes, stream: str, port: int = 0) -> str:
        shown = normalise.neutral(normalise.text(raw), self._own(port))
        if self.subject.engine == "llama" and stream == "stderr":
            return normalise.without_llama_cpp(shown)
        return normalise.without_airframe(shown) if self.world.needs_adapter else shown

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _heed_signals() -> dict[int, Any]:
    """Have children begin with signals that are not ignored; returns what was set before.

    Whatever ignores a signal (nohup, a job in the background of a script) has its children ignore
    it too; a handler that does nothing is not inherited.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    names = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM", "SIGUSR1", "SIGALRM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    return {number: signal.signal(number, lambda *_: None) for number in ignored}


class _Server:
    def __init__(self, stage: Stage, arguments: list[str], env: dict[str, str], port: int) -> None:
        self.port = port
        self._output: dict[str, deque[bytes]] = {"stdout": deque(), "stderr": deque()}
        self.process = stage.spawn(arguments, env, self._sink)

    def _sink(self, stream: str, data: bytes) -> None:
        self._output[stream].append(data)

    def wait(self) -> bool:
        """Wait until it listens; False when it ended instead."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self.process.exited.is_set():
                return False
            if health.probe(HOST, self.port, 1.0).healthy:
                return True
            self.process.exited.wait(0.002)
        self.stop()
        return False

    def forget(self) -> None:
        """Drop what it has written so far."""
        self.process.drain()
        for parts in self._output.values():
            parts.clear()

    def settle(self) -> None:
        """Wait until it writes no more: what it does for a client that left waits for nobody."""
        written = -1
        while written != (now := sum(map(len, self._output.values()))):
            written = now
            self.process.exited.wait(QUIET)
            self.process.drain()

    def taken(self, stream: str) -> bytes:
        """What it has written since the last look."""
        self.process.drain()
        parts = self._output[stream]
        return b"".join(parts.popleft() for _ in range(len(parts)))

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> str | int:
        """Wait for its end, and bring it about if it does not come."""
        if not self.process.exited.wait(DEADLINE):
            self.stop()
            return f"none within {DEADLINE:g} s"
        status = self.process.exit
        assert status is not None
        return _exit_of(-status.signal if status.signal else status.code or 0)

    def stop(self) -> None:
        self.process.stop(0.0)


def _converse(address: tuple[str, int], steps: tuple[Step, ...]) -> dict[str, list[str]]:
    """What each connection saw."""
    wires: dict[str, Wire] = {}
    seen: dict[str, list[str]] = {}
    try:
        for step in steps:
            if step.on not in wires:
                seen[step.on] = []
                try:
                    wires[step.on] = Wire(address, DEADLINE)
                except OSError as error:
                    seen[step.on].append(f"no connection: {error.strerror}")
                    break
            _take_step(wires[step.on], step, seen[step.on])
    finally:
        for wire in wires.values():
            wire.close()
    return seen


def _take_step(wire: Wire, step: Step, seen: list[str]) -> None:
    if step.do == "send":
        wire.send(step.data)
    elif step.do == "answer":
        seen.append(normalise.text(wire.answer()))
    elif step.do == "some":
        seen.append(normalise.text(wire.until(step.data)))
    elif step.do == "rest":
        data, how = wire.rest()
        seen += [normalise.text(data), how]
    elif step.do == "patience":
        data, how = wire.rest(SILENCE)
        seen += [normalise.text(data), how]
    elif step.do == "finish":
        wire.finish()
    elif step.do == "close":
        wire.close()
    else:
        wire.reset()


def _exit_of(returncode: int) -> str | int:
    return signal.Signals(-returncode).name if returncode < 0 else returncode
