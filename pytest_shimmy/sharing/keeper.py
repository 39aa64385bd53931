"""The small program that owns one server on behalf of the test processes that use it.

It is the server's parent, belongs to no test process, and lives on lifelines: open connections
of those who need the server. A lifeline ends when its holder closes it or dies, by whatever
means; the keeper waits for that in the kernel, without polling. Then it stops the server, removes
its files and ends. If the keeper itself is killed, Linux kills the server with it (see `process`),
and the `janitor` does the rest.

The lifeline of a run is its *anchor*, a listening socket of the process in which pytest was started
(with xdist: the controller). It holds the server while no worker does, and lets go when the run is
over, even if a worker still hangs in a test, or a child that a test has forked lives on. No code
runs for it: a connection in a listener's queue lasts as long as the listener. A server of one test
is held by the connection of its launcher, which the keeper calls, so that one that died meanwhile
is noticed. Where there is no anchor on this machine, all who have joined hold the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError
from ..options import CONTROL_TOKEN, ShimmyProcessOptions
from ..runtime_dir import write_files
from ..supervisor.health import requests_sent
from ..supervisor.manager import ShimmyProcessManager
from .janitor import Janitor
from .protocol import Channel, Death, ServerSummary, Snapshot
from .run import LOOPBACK

KEPT_LOGS = 20
"""How many logs of failed runs are kept; older ones are removed."""


class KeeperSpec(NamedTuple):
    """What the launcher writes to the keeper's standard input, as one JSON line."""

    directory: str
    """The keeper's own: made and removed by it. Beside it, ``<directory>.lock`` is held."""
    logs: str
    """Where the log goes when it is to be kept and `log_kept_anyway` is false."""
    log_kept_anyway: bool
    """The log's path was chosen by the user."""
    files: dict[str, str]
    """Files to make, in the directory: path and text of each."""
    token: str
    launcher: tuple[str, int]
    launcher_alone: bool
    """The launcher alone holds the server, whoever else joins."""
    anchor: tuple[str, int] | None
    """If there is one, it alone holds the server."""
    options: dict[str, Any]


class RendezvousFile(NamedTuple):
    """``keeper.json``: how to join. It appears when the keeper listens, whole or not at all."""

    port: int
    token: str

    @staticmethod
    def path(directory: Path) -> Path:
        return directory / "keeper.json"


class Keeper:
    """One run of the program. See the module's text for when it ends."""

    def __init__(self, spec: KeeperSpec) -> None:
        self._spec = spec
        self._directory = Path(spec.directory)
        self._options = ShimmyProcessOptions(**spec.options)
        self._manager = ShimmyProcessManager()
        self._selector = selectors.DefaultSelector()
        self._lifelines: set[Channel] = set()
        self._holder: Channel | None = None  # of one alone; else all lifelines hold
        self._leavers: list[Channel] = []
        self._waiting: list[tuple[Channel, dict[str, Any]]] = []
        self._keep_log = False
        self._terminated = False
        self._started = time.monotonic()
        self._requests: int | None = None
        # Manager threads and signals wake the loop through this pair.
        self._wake, self._waker = socket.socketpair()

    def run(self) -> None:
        """Keep the server until the last lifeline ends."""
        alive = FileLock(f"{self._directory}.lock", thread_local=False)
        # Before there is anything to put away.
        self._janitor = Janitor(self._directory, Path(alive.lock_file))
        alive.acquire(timeout=ShimmyProcessDefaults.lock_timeout)
        try:
            self._directory.mkdir(parents=True)
            try:
                self._keep()
                self._requests = self._count_requests()
            finally:
                self._manager.stop()
                kept_log = self._clear()
                Path(alive.lock_file).unlink(missing_ok=True)
        finally:
            alive.release()
        self._say_goodbye(kept_log)

    def _keep(self) -> None:
        listener = self._listen()
        write_files(self._spec.files)
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._janitor.follow(self._manager)
        for event in ("ready", "restarting", "stopped", "error"):
            self._manager.on(event, lambda _: self._poke())
        self._handle_signals()
        if self._spec.anchor is not None:
            self._holder = self._call(self._spec.anchor)
            if self._holder is None:
                return  # the run is over, and with it the reason to start
        self._manager.start(self._options)
        self._announce(listener.getsockname()[1])
        launcher = self._call(self._spec.launcher, self._spec.token)
        if self._spec.launcher_alone:
            self._holder = launcher
            if launcher is None:
                return
        sweep(self._directory.parent)
        while self._is_wanted():
            for key, _ in self._selector.select():
                key.data()

    # Lifelines

    def _is_wanted(self) -> bool:
        if self._terminated:
            return False
        return bool(self._lifelines) if self._holder is None else self._holder in self._lifelines

    def _listen(self) -> socket.socket:
        listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self._selector.register(
            listener, selectors.EVENT_READ, lambda: self._on_connection(listener)
        )
        return listener

    def _on_connection(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            peer, _ = listener.accept()
            self._serve(Channel(peer), trusted=False)

    def _call(self, address: tuple[str, int], token: str | None = None) -> Channel | None:
        try:
            host, port = address
            channel = Channel(socket.create_connection((host, port), 5))
            if token is not None:
                channel.send({"token": token})
        except OSError:
            return None
        channel.socket.settimeout(None)
        self._lifelines.add(channel)
        self._serve(channel, trusted=True)
        return channel

    def _serve(self, channel: Channel, trusted: bool) -> None:
        state = {"trusted": trusted}

        def on_readable() -> None:
            try:
                open_ = channel.feed()
                while (message := channel.next_received()) is not None:
                    if state["trusted"]:
                        self._answer(channel, message)
                    elif message.get("token") == self._spec.token:
                        state["trusted"] = True
                        self._lifelines.add(channel)
                    else:
                        open_ = False
                        break
            except (OSError, ValueError):
                open_ = False
            if open_:
                return
            self._selector.unregister(channel.socket)
            self._lifelines.discard(channel)
            if state["trusted"]:
                # It stays open in this direction: that it closes tells a leaver that all is done.
                self._leavers.append(channel)
            else:
                channel.close()

        self._selector.register(channel.socket, selectors.EVENT_READ, on_readable)

    # Requests

    def _answer(self, channel: Channel, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op == "keep_log":
            self._keep_log = True
        self._manager.notice()
        if op == "ready" and self._manager.state not in ("ready", "failed"):
            self._waiting.append((channel, message))
            return
        self._reply(channel, message)

    def _reply(self, channel: Channel, message: dict[str, Any]) -> None:
        error = self._manager.error
        answer: dict[str, Any] = {"id": message.get("id")}
        if message.get("op") == "ready" and error is not None:
            answer["error"] = error.to_json()
        else:
            answer["snapshot"] = self._snapshot().to_json()
        with contextlib.suppress(OSError):  # its end is noticed by the selector
            channel.send(answer)

    def _snapshot(self) -> Snapshot:
        manager = self._manager
        crashes = manager.crashes
        return Snapshot(
            state=manager.state,
            host=self._options.host,
            port=manager.port or 0,
            pid=manager.pid,
            version=manager.version or "",
            restarts=manager.restarts,
            deaths=tuple(Death(crash.pid, str(crash.exit), crash.log_offset) for crash in crashes),
            log_path=str(self._options.log_path),
            log_size=manager.log_size(),
            control=self._options.env.get(CONTROL_TOKEN),
        )

    def _count_requests(self) -> int | None:
        """How many the server was sent; None where it does not say, or lost count by a restart."""
        token = self._options.env.get(CONTROL_TOKEN)
        is_fake = self._options.shimmy_path is None and self._manager.state == "ready"
        if not is_fake or token is None or self._manager.port is None or self._manager.restarts:
            return None
        return requests_sent(self._options.host, self._manager.port, token)

    def _say_goodbye(self, kept_log: Path | None) -> None:
        """Tell those who wait for our end; that they see it is up to the system, at our exit."""
        path = self._options.shimmy_path
        server_summary = ServerSummary(
            executable=None if path is None else str(path),
            version=self._manager.version or "",
            port=self._manager.port or 0,
            restarts=self._manager.restarts,
            lifetime=time.monotonic() - self._started,
            requests=self._requests,
            kept_log=None if kept_log is None else str(kept_log),
        )
        for channel in {*self._leavers, *self._lifelines}:
            with contextlib.suppress(OSError):
                channel.send({"server_summary": server_summary._asdict()})

    # Wake-ups

    def _handle_signals(self) -> None:
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

        def terminate(*_: object) -> None:
            self._terminated = True

        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sys.platform != "win32":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _poke(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is going to wake anyway
            self._waker.send(b"x")

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        if self._manager.state in ("ready", "failed"):
            waiting, self._waiting = self._waiting, []
            for channel, message in waiting:
                self._reply(channel, message)

    # Files

    def _announce(self, port: int) -> None:
        path = RendezvousFile.path(self._directory)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(RendezvousFile(port, self._spec.token)._asdict()))
        draft.replace(path)

    def _clear(self) -> Path | None:
        """Remove the directory; returns where the log was kept, if it was."""
        log = Path(str(self._options.log_path))
        if self._keep_log and not self._spec.log_kept_anyway and log.exists():
            logs = Path(self._spec.logs)
            logs.mkdir(exist_ok=True)
            log = log.replace(logs / f"{self._directory.name}.log")
            by_age = sorted(logs.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in by_age[:-KEPT_LOGS]:
                old.unlink(missing_ok=True)
        shutil.rmtree(self._directory, ignore_errors=True)
        return log if log.exists() else None


def sweep(directory: Path) -> None:
    """Remove what killed keepers left in `directory`; whoever holds a lock is alive."""
    for lock_file in directory.glob("*.lock"):
        lock = FileLock(str(lock_file), thread_local=False)
        with contextlib.suppress(Timeout, OSError), lock.acquire(blocking=False):
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock_file.unlink(missing_ok=True)


def main() -> None:
    """Run as a program: the spec on standard input, failures on standard error."""
    spec = KeeperSpec(**json.loads(sys.stdin.buffer.readline()))
    try:
        Keeper(spec).run()
    except ShimmyError as error:
        sys.exit(str(error))
    # Everything is put away. The interpreter's own tidying would only keep the waiting longer.
    os._exit(0)
