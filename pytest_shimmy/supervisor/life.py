"""One life of a server, from the wish for it to its end: what the supervising thread does.

It owns the process and makes all changes of the state; callers set wishes (`stopping`,
`restarting`) under `changed`, and wait on it.

    starting -> ready -> stopping -> idle
     ^  |        |
     |  v        v
     |  failed <- (restarts used up)
     +---------- (exit noticed, or restart asked for)
"""

from __future__ import annotations

import codecs
import contextlib
import subprocess
import threading
import time
from typing import Literal

from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode, system_refused
from ..events import Crash, Exited, Failed, Output, Ready, Restarting, Starting, Stopped
from ..executable.executable import Executable
from ..options import ShimmyProcessOptions
from ..process.log import Log
from ..process.process import ExitStatus, Process
from . import failures, ports
from .listeners import Listeners
from .startup import Startup, open_log

State = Literal["idle", "starting", "ready", "stopping", "failed"]

WORTH_ANOTHER_TRY = (
    ShimmyErrorCode.START_FAILED,
    ShimmyErrorCode.START_TIMEOUT,
    ShimmyErrorCode.HEALTHCHECK_FAILED,
    ShimmyErrorCode.NO_MODELS,
)
"""How a first start can fail that may go well the next time."""


class Life:
    """A server that was wished for with `options`. What is public is guarded by `changed`."""

    def __init__(
        self,
        options: ShimmyProcessOptions,
        executable: Executable | None,
        changed: threading.Condition,
        listeners: Listeners,
    ) -> None:
        self.options = options
        self.state: State = "starting"
        self.error: ShimmyError | None = None
        """Why the state is ``failed``."""
        self.stopping = False
        """Its end is asked for."""
        self.restarting = False
        """Another process is asked for in place of the ready one."""
        self.port: int | None = None
        self.version: str | None = None
        self.process: Process | None = None
        self.log: Log | None = None
        self.crashes: list[Crash] = []
        self.restarts = 0
        self.restarts_since_ready = 0
        self._executable = executable
        self._changed = changed
        self._listeners = listeners
        self._spawned = 0
        self._last_exit: ExitStatus | None = None

    def set(self, state: State) -> None:
        """Change the state. With `changed` held."""
        self.state = state
        self._changed.notify_all()

    def fail(self, error: ShimmyError) -> None:
        """End it with this error. With `changed` held."""
        self.error = error
        self.set("failed")
        self._listeners.tell("error", Failed(error))

    def run(self) -> None:
        """Start the server, keep it running, end it. Never raises for what the server does."""
        error: ShimmyError | None = None
        try:
            with contextlib.ExitStack() as cleanup:
                self.log = open_log(self.options, cleanup)
                try:
                    startup = Startup(
                        self.options, self.log, lambda: self.stopping, self._executable
                    )
                    self._serve(startup, cleanup)
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
                if error is not None and not self.stopping:
                    self.fail(error)
                else:
                    self.set("idle")
                    if self._last_exit is not None:
                        self._listeners.tell("stopped", Stopped(self._last_exit))

    def _serve(self, startup: Startup, cleanup: contextlib.ExitStack) -> None:
        """Start, and restart after each crash and when asked to, until the end is asked for."""
        lease = self._first_start(startup)
        if lease is None:
            return
        cleanup.callback(lease.release)
        while not self.stopping:
            crash = self._wait_for_crash()
            if crash is not None:
                self._restart(startup, crash, lease.port)
            elif self.restarting:
                limit = self.options.max_restarts
                self._listeners.tell("restarting", Restarting(None, 0, limit, 0.0, None))
                self._end_process()
                self._bring_up(startup, lease.port)

    def _first_start(self, startup: Startup) -> ports.PortLease | None:
        options = self.options
        attempts = options.port_attempts or ShimmyProcessDefaults.port_attempts
        taken: frozenset[int] = frozenset()
        while True:
            lease = ports.lease(
                options.preferred_port, host=options.host, skip=taken, limit=options.port_attempts
            )
            self.port = lease.port
            try:
                if self._bring_up(startup, lease.port):
                    return lease
            except ShimmyError as error:
                lease.release()
                if error.code is ShimmyErrorCode.PORT_IN_USE:
                    # A stranger bound it between our probe and the server's bind: the next one.
                    taken |= {lease.port}
                    if len(taken) >= attempts:
                        raise
                    continue
                may_retry = options.retry_first_start and error.code in WORTH_ANOTHER_TRY
                if not may_retry or not self._may_restart():
                    raise
                if not self._pause(None, error):
                    return None
            else:
                lease.release()
                return None

    def _restart(self, startup: Startup, crash: Crash, port: int) -> None:
        """Start again on the same port, as often as the limit allows."""
        assert self.log is not None
        last: ShimmyError | None = None
        reason = failures.crashed(crash, self.log)
        while self._may_restart():
            if not self._pause(crash, last or reason):
                return
            try:
                self._bring_up(startup, port)
            except ShimmyError as error:
                last = error
            else:
                return
        raise failures.restarts_exhausted(self.options, self.crashes, last, self.log)

    def _may_restart(self) -> bool:
        return self._counted() < self.options.max_restarts

    def _counted(self) -> int:
        """The restarts that the limit is for."""
        if self.options.restarts_counted == "since_ready":
            return self.restarts_since_ready
        return self.restarts

    def _pause(self, crash: Crash | None, error: ShimmyError) -> bool:
        """Tell of a restart, and wait before it; False when its end is asked for meanwhile."""
        delay = min(
            ShimmyProcessDefaults.restart_backoff * 2 ** self._counted(),
            ShimmyProcessDefaults.restart_backoff_max,
        )
        self.restarts += 1
        self.restarts_since_ready += 1
        limit = self.options.max_restarts
        restarting = Restarting(crash, self._counted(), limit, delay, error)
        self._listeners.tell("restarting", restarting)
        with self._changed:
            return not self._changed.wait_for(lambda: self.stopping, delay)

    def _bring_up(self, startup: Startup, port: int) -> bool:
        """Spawn and wait until healthy; False when the end was asked for meanwhile."""
        decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace")
            for stream in ("stdout", "stderr")
        }

        def on_output(stream: str, data: bytes) -> None:
            if self._listeners.want(stream):
                self._listeners.tell(stream, Output(decoders[stream].decode(data)))

        self._last_exit = None
        self.restarting = False
        process = self.process = startup.spawn(port, on_output, self._notify)
        self._spawned += 1
        self._listeners.tell(
            "starting", Starting(process.pid, port, process.command, self._spawned)
        )
        try:
            version = startup.wait_until_healthy(process, port)
        except ShimmyError:
            self._end_process()
            if self.stopping:
                return False
            raise
        if version is None:
            return False
        elapsed = time.monotonic() - process.started
        with self._changed:
            self.version = version
            self.restarts_since_ready = 0
            self.set("ready")
            # Before anybody sees the state: `ensure_ready` promises that listeners have heard.
            ready = Ready(process.pid, port, version, elapsed, time.time())
            self._listeners.tell("ready", ready)
        return True

    def _wait_for_crash(self) -> Crash | None:
        """Wait for the ready server's unexpected exit; None when somebody asks for its end."""
        with self._changed:
            if self.stopping:
                return None
            process, log = self.process, self.log
            assert process is not None
            assert log is not None
            self._changed.wait_for(
                lambda: self.stopping or self.restarting or process.exit is not None
            )
            if self.stopping or process.exit is None:
                return None
            crash = Crash(process.pid, process.exit, log.size)
            self.crashes.append(crash)
            self._listeners.tell("exited", Exited(process.pid, process.exit, False))
            self.process = None
            self.set("starting")
            return crash

    def _end_process(self) -> None:
        process = self.process
        if process is None:
            return
        if self.stopping:
            with self._changed:
                self.set("stopping")
        expected = self.stopping or process.exit is None
        self._last_exit = process.stop(ShimmyProcessDefaults.stop_grace)
        self._listeners.tell("exited", Exited(process.pid, self._last_exit, expected))
        with self._changed:
            self.process = None
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
