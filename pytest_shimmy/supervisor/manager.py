"""`ShimmyProcessManager`: one server process, from spawn to stop, with restarts in between.

One supervisor thread owns the process and all state changes; callers only set wishes (start,
stop) and wait on a condition. That thread also lives exactly as long as the server is wanted.

    idle -> starting -> ready -> stopping -> idle
              ^  |        |
              |  v        v
              |  failed <- (restarts used up)
              +---------- (exit noticed, or restart asked for)
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Literal, overload

from ..addresses import authority
from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode, system_refused
from ..events import Crash, EventName, Failed, Output, Ready, Restarting, Starting, Stopped
from ..executable.identify import Executable
from ..options import ShimmyProcessOptions
from ..process.log import Log
from ..process.process import ExitStatus, Process
from ..process.thread import start_thread
from . import failures, ports
from .listeners import Listener, Listeners
from .startup import Startup, open_log

State = Literal["idle", "starting", "ready", "stopping", "failed"]


class ShimmyProcessManager:
    """Starts, watches, restarts and stops one shimmy server. Thread-safe.

    A context manager: leaving it stops the server, and so does the end of the program. `start`
    returns at once; `ensure_ready` waits. Listeners are called on a thread of their own, one at a
    time and in order. They may call any method here; what they raise goes to
    `threading.excepthook` and changes nothing else. When `ensure_ready` and `stop` return, they
    have heard of it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state: State = "idle"
        self._error: ShimmyError | None = None
        self._stopping = False
        self._restarting = False
        self._supervisor: threading.Thread | None = None
        self._listeners = Listeners()
        self._options: ShimmyProcessOptions | None = None
        self._executable: Executable | None = None
        self._port: int | None = None
        self._version: str | None = None
        self._process: Process | None = None
        self._log: Log | None = None
        self._crashes: list[Crash] = []
        self._restarts = 0
        self._last_exit: ExitStatus | None = None

    def start(
        self,
        options: ShimmyProcessOptions | None = None,
        *,
        executable: Executable | None = None,
    ) -> None:
        """Begin to start a server. A no-op while one is wanted already.

        Without `options`, those of the last start are taken. `executable` is what they mean, where
        that has been asked for its version already. Returns before the server is ready, and never
        fails: `ensure_ready` reports how it went.
        """
        while True:
            with self._changed:
                if self._state in ("starting", "ready") and not self._stopping:
                    return
                last = self._supervisor
                if last is None or not last.is_alive():
                    if options is not None:
                        self._executable = executable
                    self._begin(options or self._options or ShimmyProcessOptions())
                    return
            last.join()  # it is just ending

    def _begin(self, options: ShimmyProcessOptions) -> None:
        self._options = options
        self._stopping = self._restarting = False
        self._error = None
        self._crashes = []
        self._restarts = 0
        self._last_exit = None
        self._port = self._version = self._process = None
        self._set("starting")
        supervisor = threading.Thread(
            target=self._supervise, args=(options,), name="shimmy-manager", daemon=True
        )
        _running.add(self)
        try:
            start_thread(supervisor)
        except REFUSALS as refusal:
            self._supervisor = None
            self._error = system_refused("no thread could be started to watch the server", refusal)
            self._set("failed")
            self._listeners.tell("error", Failed(self._error))
        else:
            self._supervisor = supervisor

    def ensure_ready(self, timeout: float | None = None) -> None:
        """Wait until the server is healthy; starts it when nobody did.

        `timeout` is in seconds; None means for as long as a start and its restarts may take.

        Raises the `ShimmyError` that the start ended with, or ``START_TIMEOUT`` when `timeout`
        passes first.
        """
        with self._changed:
            idle = self._state == "idle"
        if idle:
            self.start()
        with self._changed:
            settled = self._changed.wait_for(
                lambda: self._state in ("ready", "failed", "idle"), timeout
            )
        self._listeners.wait(ShimmyProcessDefaults.listener_timeout)
        with self._changed:
            if self._state == "ready":
                return
            if self._error is not None:
                raise self._error
            what = f"is not ready after {timeout:g} s" if not settled else "was stopped"
            raise ShimmyError(
                ShimmyErrorCode.START_TIMEOUT,
                f"the server {what} (state: {self._state}).\n"
                "Wait longer, or look at its log for what it is doing.",
                {"state": self._state, "timeout": timeout},
            )

    def stop(self) -> None:
        """Stop the server and wait until it is gone. A no-op when there is none."""
        with self._changed:
            self._stopping = True
            supervisor, process = self._supervisor, self._process
            self._changed.notify_all()
        if process is not None:
            process.terminate()  # at once: the supervisor may be waiting for a silent server
        if supervisor is not None and supervisor is not threading.current_thread():
            supervisor.join()
            self._listeners.wait(ShimmyProcessDefaults.listener_timeout)
        with self._changed:
            if self._state == "failed":
                self._set("idle")

    def restart(self) -> None:
        """Stop the server and start it again, with the same options on the same port.

        For what it reads only when it starts, such as a new model. It is no crash, and no limit
        counts it. A start that is under way is waited for; then this returns at once, and
        `ensure_ready` waits for the new server. Without a server to restart, it is `start`.
        """
        with self._changed:
            under_way = self._state == "starting"
            self._changed.wait_for(lambda: self._state != "starting")
            if self._state == "ready" and not self._stopping:
                self._restarting = True
                self._set("starting")
                return
            if under_way and self._state != "failed":
                return  # stopped meanwhile, which is the later wish
        self.start()

    @property
    def state(self) -> State:
        return self._state

    @property
    def port(self) -> int | None:
        """The leased port; None before there is one. It stays the same across restarts."""
        return self._port

    @property
    def url(self) -> str | None:
        """Address without a path, such as ``http://127.0.0.1:22435``; None before there is one."""
        port, options = self._port, self._options
        if port is None or options is None:
            return None
        return f"http://{authority(options.host, port)}"

    @property
    def api_key(self) -> str | None:
        """The key that the server asks for (``SHIMMY_API_KEY``, seen on 2.6.5), if it has one."""
        options = self._options
        return None if options is None else options.environment(os.environ).get("SHIMMY_API_KEY")

    @property
    def pid(self) -> int | None:
        """Process id of the running server; None while there is none."""
        process = self._process
        return None if process is None or process.exit is not None else process.pid

    @property
    def version(self) -> str | None:
        """What the server says in ``/health``; None before it was ready."""
        return self._version

    @property
    def restarts(self) -> int:
        """Restarts after crashes since `start`, failed ones included."""
        return self._restarts

    @property
    def crashes(self) -> tuple[Crash, ...]:
        """Unexpected exits since `start`, oldest first. Calls `notice` first."""
        self.notice()
        with self._changed:
            return tuple(self._crashes)

    def notice(self) -> None:
        """Make sure that an exit which has happened shows in `state` and `crashes`.

        A client learns of a death from its connection, which can be sooner than the supervisor.
        """
        process = self._process
        if process is not None and process.is_over():
            with self._changed:
                self._changed.wait_for(lambda: self._process is not process, 1.0)

    @property
    def error(self) -> ShimmyError | None:
        """Why the state is ``failed``."""
        return self._error

    @property
    def log_path(self) -> Path | None:
        return None if self._log is None else self._log.path

    def log_size(self) -> int:
        """Size of the log in bytes, with everything that the server has written so far."""
        process, log = self._process, self._log
        if process is not None:
            process.drain()
        return 0 if log is None else log.size

    @overload
    def on(self, event: Literal["starting"], listener: Callable[[Starting], object]) -> None: ...
    @overload
    def on(self, event: Literal["ready"], listener: Callable[[Ready], object]) -> None: ...
    @overload
    def on(
        self, event: Literal["restarting"], listener: Callable[[Restarting], object]
    ) -> None: ...
    @overload
    def on(self, event: Literal["stopped"], listener: Callable[[Stopped], object]) -> None: ...
    @overload
    def on(
        self, event: Literal["stdout", "stderr"], listener: Callable[[Output], object]
    ) -> None: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[Failed], object]) -> None: ...
    def on(self, event: EventName, listener: Listener) -> None:
        """Call `listener(payload)` at each `event`; the payloads are in `pytest_shimmy.events`."""
        self._listeners.add(event, listener)

    def off(self, event: EventName, listener: Listener) -> None:
        """Undo `on`. A listener that is not there is ignored."""
        self._listeners.remove(event, listener)

    def __enter__(self) -> ShimmyProcessManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The supervisor thread, from here on.

    def _supervise(self, options: ShimmyProcessOptions) -> None:
        error: ShimmyError | None = None
        try:
            with contextlib.ExitStack() as cleanup:
                self._log = open_log(options, cleanup)
                try:
                    startup = Startup(options, self._log, lambda: self._stopping, self._executable)
                    self._serve(startup, options, cleanup)
                finally:
                    self._end_process()
        except ShimmyError as failure:
            error = failure
        except (*REFUSALS, subprocess.SubprocessError) as refusal:
            error = system_refused("the server could not be started and watched", refusal)
        except Exception as defect:  # of ours; it must not look like a hang
            error = ShimmyError(
                ShimmyErrorCode.START_FAILED,
                f"the process manager failed: {defect!r}.\n"
                "This is a defect of pytest-shimmy: please report it with this text.",
            )
            raise
        finally:
            with self._changed:
                # Who asked to stop does not want to hear that the server did not like it.
                self._error = None if self._stopping else error
                self._set("failed" if self._error else "idle")
                if self._error is not None:
                    self._listeners.tell("error", Failed(self._error))
                elif self._last_exit is not None:
                    self._listeners.tell("stopped", Stopped(self._last_exit))

    def _serve(
        self, startup: Startup, options: ShimmyProcessOptions, cleanup: contextlib.ExitStack
    ) -> None:
        """Start, and restart after each crash and when asked to, until `stop` is called."""
        lease = self._first_start(startup, options)
        if lease is None:
            return
        cleanup.callback(lease.release)
        while not self._stopping:
            crash = self._wait_for_crash()
            if crash is not None:
                self._restart(startup, options, crash, lease.port)
            elif self._restarting:
                self._listeners.tell("restarting", Restarting(None, 0, options.max_restarts, 0.0))
                self._end_process()
                self._bring_up(startup, lease.port)

    def _first_start(
        self, startup: Startup, options: ShimmyProcessOptions
    ) -> ports.PortLease | None:
        taken: frozenset[int] = frozenset()
        while True:
            lease = ports.lease(options.preferred_port, host=options.host, skip=taken)
            self._port = lease.port
            try:
                if self._bring_up(startup, lease.port):
                    return lease
            except ShimmyError as error:
                lease.release()
                # A stranger bound it between our probe and the server's bind: the next one.
                taken |= {lease.port}
                last_try = len(taken) >= ShimmyProcessDefaults.port_attempts
                if error.code is not ShimmyErrorCode.PORT_IN_USE or last_try:
                    raise
            else:
                lease.release()
                return None

    def _restart(
        self, startup: Startup, options: ShimmyProcessOptions, crash: Crash, port: int
    ) -> None:
        """Start again on the same port, as often as the limit allows."""
        last: ShimmyError | None = None
        while self._restarts < options.max_restarts:
            delay = min(
                ShimmyProcessDefaults.restart_backoff * 2**self._restarts,
                ShimmyProcessDefaults.restart_backoff_max,
            )
            self._restarts += 1
            self._listeners.tell(
                "restarting", Restarting(crash, self._restarts, options.max_restarts, delay)
            )
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, delay):
                    return
            try:
                self._bring_up(startup, port)
            except ShimmyError as error:
                last = error
            else:
                return
        assert self._log is not None
        raise failures.restarts_exhausted(options, self._crashes, last, self._log)

    def _bring_up(self, startup: Startup, port: int) -> bool:
        """Spawn and wait until healthy; False when `stop` was called meanwhile."""
        decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace")
            for stream in ("stdout", "stderr")
        }

        def on_output(stream: str, data: bytes) -> None:
            if self._listeners.want(stream):
                self._listeners.tell(stream, Output(decoders[stream].decode(data)))

        self._last_exit = None
        self._restarting = False
        process = self._process = startup.spawn(port, on_output, self._notify)
        self._listeners.tell("starting", Starting(process.pid, port, process.command))
        try:
            version = startup.wait_until_healthy(process, port)
        except ShimmyError:
            self._end_process()
            if self._stopping:
                return False
            raise
        if version is None:
            return False
        elapsed = time.monotonic() - process.started
        with self._changed:
            self._version = version
            self._set("ready")
            # Before anybody sees the state: `ensure_ready` promises that listeners have heard.
            self._listeners.tell("ready", Ready(process.pid, port, version, elapsed))
        return True

    def _wait_for_crash(self) -> Crash | None:
        """Wait for the ready server's unexpected exit; None when somebody asks for its end."""
        with self._changed:
            if self._stopping:
                return None
            process, log = self._process, self._log
            assert process is not None
            assert log is not None
            self._changed.wait_for(
                lambda: self._stopping or self._restarting or process.exit is not None
            )
            if self._stopping or process.exit is None:
                return None
            crash = Crash(process.pid, process.exit, log.size)
            self._crashes.append(crash)
            self._process = None
            self._set("starting")
            return crash

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        if self._stopping:
            with self._changed:
                self._set("stopping")
        self._last_exit = process.stop(ShimmyProcessDefaults.stop_grace)
        with self._changed:
            self._process = None
            self._changed.notify_all()

    def _set(self, state: State) -> None:
        self._state = state
        self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


_running: weakref.WeakSet[ShimmyProcessManager] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    # Its server would end with this process in any case, but its log would stay.
    for manager in list(_running):
        manager.stop()


def _after_fork() -> None:
    _running.clear()  # they are the parent's; threads of theirs are not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
