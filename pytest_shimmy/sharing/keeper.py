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
is held by its launcher alone, whose connection the keeper is born with. Where there is no anchor on
this machine, all who have joined hold the server.

Whatever the system refuses on the way to the server's start is told to the launcher, and nothing
is left of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode, system_refused
from ..executable.executable import Executable
from ..network.addresses import authority
from ..network.sockets import Socket
from ..options import CONTROL_TOKEN, EXCHANGES, ShimmyProcessOptions
from ..process.file_lock import FileLock
from ..runtime_dir import write_files
from ..supervisor.manager import ShimmyProcessManager
from . import files, sockets
from .connections import Connections
from .janitor import Janitor
from .protocol import MAX_SPEC, OPS, Channel, Death, ServerSummary, Snapshot, hello, unpacked
from .spec import KeeperSpec, run_is_over

if TYPE_CHECKING:
    from ..cassettes.recorder_process import RecorderProcess
    from ..events import Ready
    from ..launch.warm_up import WarmUp
    from ..run_report.server_events import ServerEvents

ANCHOR_TIMEOUT = 5.0
"""Seconds for the connection to the anchor, which nobody has to accept."""


class Keeper:
    """One run of the program. See the module's text for when it ends."""

    def __init__(self, spec: KeeperSpec, launcher: Channel) -> None:
        self._spec = spec
        self._launcher = launcher
        self._directory = Path(spec.directory)
        self._options = ShimmyProcessOptions(**spec.options)
        self._manager = ShimmyProcessManager()
        self._connections = Connections(spec.token, self._answer)
        self._holder: Channel | None = None  # of one alone; else all lifelines hold
        self._waiting: list[tuple[Channel, dict[str, Any]]] = []
        self._keep_log = False
        self._terminated = False
        self._started = time.monotonic()
        self._requests: int | None = None
        self._warm_up: WarmUp | None = None
        self._recorder: RecorderProcess | None = None
        self._events: ServerEvents | None = None
        self._is_attached = spec.recorder is not None and spec.recorder["upstream"] is not None
        self._recorder_error: ShimmyError | None = None
        self._is_recorded = False
        """The recorder knows where the server is."""
        # Manager threads and signals wake the loop through this pair.
        self._wake, self._waker = sockets.pair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def run(self) -> None:
        """Keep the server until the last lifeline ends."""
        # What it was born with is that of an earlier moment, and a directory of the user's.
        os.environ.clear()
        os.environ.update(self._spec.environment)
        os.chdir(self._directory.parent)
        alive = FileLock(f"{self._directory}.lock")
        # Before there is anything to put away.
        self._janitor = Janitor(self._directory, Path(alive.path))
        kept_log = None
        try:
            alive.acquire(ShimmyProcessDefaults.lock_timeout)
            self._directory.mkdir(parents=True)
            try:
                self._keep()
                self._requests = self._count_requests()
                self._warm_up = _warm_up(self._directory)
            finally:
                self._manager.stop()
                if self._recorder is not None:
                    self._recorder.stop()
                if self._events is not None:
                    self._events.tell_backend(self._manager.version or "")
                kept_log = self._put_away()
        finally:
            # It is still locked, so that it is not taken for one that a killed keeper has left.
            with contextlib.suppress(OSError):
                Path(alive.path).unlink(missing_ok=True)
            alive.release()
            self._janitor.dismiss()
        self._say_goodbye(kept_log)

    def _keep(self) -> None:
        write_files(unpacked(self._spec.files))
        self._connections.watch(self._wake, self._on_wake)
        self._janitor.follow(self._manager)
        known = self._spec.executable
        executable = None if known is None else Executable.from_json(known)
        if self._spec.events is not None:
            from ..run_report.server_events import ServerEvents

            self._events = ServerEvents(self._spec.events, self._options, executable)
            self._events.follow(self._manager)
        self._watch_janitor()
        for event in ("ready", "restarting", "stopped", "error"):
            self._manager.on(event, lambda _: self._poke())
        self._manager.once("starting", lambda _: _load_rest())
        self._handle_signals()
        self._connections.hold(self._launcher)
        if self._spec.anchor is not None:
            self._holder = self._call_anchor(*self._spec.anchor)
        elif self._spec.launcher_alone:
            self._holder = self._launcher
        if self._spec.recorder is not None:
            self._start_recorder(self._spec.recorder)
        address = self._connections.address
        files.announce(self._directory, files.RendezvousFile(address, self._spec.token))
        with contextlib.suppress(OSError):  # it is gone; others may need the server
            self._launcher.send({"listening": address})
        # Last of what comes before the server: what follows would only take time from its start.
        if not self._is_attached:
            self._manager.start(self._options, executable=executable)
        files.sweep(self._directory.parent)
        while self._is_wanted():
            self._connections.wait()

    def _start_recorder(self, spec: dict[str, Any]) -> None:
        from ..cassettes.recorder_process import RecorderProcess

        log = self._directory / "recorder.log"
        recorder = RecorderProcess(
            self._options.host, log, spec["server_key"], knows_keys=spec["knows_keys"]
        )
        self._recorder = recorder
        if self._events is not None:
            self._events.recorded(recorder.address.url, spec["upstream"])

        if spec["upstream"] is not None:
            # There is a log to read, as of servers that are ours.
            Path(str(self._options.log_path)).touch()
            recorder.use(spec["upstream"])
            return

        def use(ready: Ready) -> None:
            try:
                recorder.use(f"http://{authority(self._options.host, ready.port)}")
            except ShimmyError as error:
                self._recorder_error = error
            self._is_recorded = True
            self._poke()

        self._manager.on("ready", use)

    @property
    def _state(self) -> str:
        if self._is_attached:
            return "ready"
        if self._recorder_error is not None:
            return "failed"
        state = self._manager.state
        is_waiting = self._recorder is not None and not self._is_recorded
        return "starting" if state == "ready" and is_waiting else state

    # Lifelines

    def _is_wanted(self) -> bool:
        if self._terminated:
            return False
        holders = self._connections.holders
        return bool(holders) if self._holder is None else self._holder in holders

    def _call_anchor(self, address: sockets.Address, token: str) -> Channel:
        try:
            channel = Channel(sockets.connect(sockets.to_address(address), ANCHOR_TIMEOUT))
            channel.send(hello(token))
        except (ConnectionError, PermissionError):
            raise run_is_over() from None
        self._connections.hold(channel)
        return channel

    def _watch_janitor(self) -> None:
        ended = self._janitor.ended
        if ended is None:
            return

        def replace() -> None:
            self._connections.forget(ended)
            if self._janitor.replace():
                self._watch_janitor()

        self._connections.watch(ended, replace)

    # Requests

    def _answer(self, channel: Channel, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op not in OPS:
            raise ValueError(f"not a request: {op!r}")
        if op == "keep_log":
            self._keep_log = True
        self._manager.notice()
        if op == "ready" and self._state not in ("ready", "failed"):
            self._waiting.append((channel, message))
            return
        self._reply(channel, message)

    def _reply(self, channel: Channel, message: dict[str, Any]) -> None:
        error = self._recorder_error or self._manager.error
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
        model = self._options.model_path
        return Snapshot(
            state=self._state,
            host=self._options.host,
            port=manager.port or 0,
            pid=manager.pid,
            version=manager.version or "",
            restarts=manager.restarts,
            deaths=tuple(Death(crash.pid, str(crash.exit), crash.log_offset) for crash in crashes),
            log_path=str(self._options.log_path),
            log_size=manager.log_size(),
            control=self._options.env.get(CONTROL_TOKEN),
            recorder=None if self._recorder is None else self._recorder.address.url,
            recorder_token=None if self._recorder is None else self._recorder.address.token,
            model_path=None if model is None else str(model),
            exchanges=self._options.env.get(EXCHANGES),
        )

    def _count_requests(self) -> int | None:
        """How many the server was sent; None where it does not say, or lost count by a restart."""
        token = self._options.env.get(CONTROL_TOKEN)
        is_fake = self._options.shimmy_path is None and self._manager.state == "ready"
        if not is_fake or token is None or self._manager.port is None or self._manager.restarts:
            return None
        from ..supervisor.health import requests_sent

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
            loaded=None if self._warm_up is None else self._warm_up.model,
            load_seconds=None if self._warm_up is None else self._warm_up.seconds,
        )
        for channel in {*self._connections.leavers, *self._connections.holders}:
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
        if self._state in ("ready", "failed"):
            waiting, self._waiting = self._waiting, []
            for channel, message in waiting:
                self._reply(channel, message)

    # Files

    def _put_away(self) -> Path | None:
        """Remove the directory; returns where the log was kept, if it was."""
        log = Path(str(self._options.log_path))
        if self._keep_log and not self._spec.log_kept_anyway and log.exists():
            with contextlib.suppress(OSError):  # no room for it: the end must not fail by that
                log = files.keep_log(log, Path(self._spec.logs), self._directory.name)
        files.remove(self._directory)
        return log if log.exists() else None


def main() -> NoReturn:
    """Run as a program: the spec comes on the connection that standard input names.

    Why there is no server is told there, too. Exits with 1 then.
    """
    channel = Channel(_inherited(sys.stdin.buffer.readline()), MAX_SPEC)
    if sys.platform == "linux":  # to spawn a server takes it; which one is not told yet
        import ctypes  # noqa: F401
    try:
        spec = channel.receive()
        if spec is None:  # the launcher has been killed
            os._exit(1)
        Keeper(KeeperSpec(**spec), channel).run()
    except Exception as error:
        with contextlib.suppress(OSError):
            channel.send({"error": _told(error).to_json()})
        os._exit(1)
    # Everything is put away. The interpreter's own tidying would only keep the waiting longer.
    os._exit(0)


def _load_rest() -> None:
    """Load what the end needs, while the server starts: here it delays nothing, and nothing is
    missing at the end, whatever the system refuses then."""
    import shutil  # noqa: F401

    from ..launch import warm_up  # noqa: F401


def _warm_up(directory: Path) -> WarmUp | None:
    from ..launch.warm_up import recorded

    return recorded(directory)


def _told(error: Exception) -> ShimmyError:
    if isinstance(error, ShimmyError):
        return error
    what = "the keeper, the small Python program that owns the server, could not start it"
    if isinstance(error, REFUSALS):
        return system_refused(what, error, ShimmyErrorCode.CONTROL_FAILED)
    return ShimmyError(
        ShimmyErrorCode.CONTROL_FAILED,
        f"{what}: {error!r}.\nThis is a defect of pytest-shimmy: please report it with this text.",
    )


def _inherited(line: bytes) -> Socket:
    """The launcher's connection; see `launcher`."""
    if sys.platform == "win32":
        import base64
        import socket

        return Socket(fileno=socket.fromshare(base64.b64decode(line)).detach())
    connection = Socket(fileno=int(line))
    os.set_inheritable(connection.fileno(), False)
    return connection
