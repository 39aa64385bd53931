"""`ShimmyProcessManager`: one server process, from spawn to stop, with restarts in between.

A thread looks after it, and lives exactly as long as the server is wanted (`Life`). What is here
sets wishes, waits, and tells.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from pathlib import Path

from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode, system_refused
from ..events import Crash
from ..executable.executable import Executable
from ..network.addresses import authority
from ..options import ShimmyProcessOptions
from ..process.thread import start_thread
from .life import Life, State
from .listeners import Listening


class ShimmyProcessManager(Listening):
    """Starts, watches, restarts and stops one shimmy server. Thread-safe.

    A context manager: leaving it stops the server, and so does the end of the program. `start`
    returns at once; `ensure_ready` waits. Listeners are called on a thread of their own, one at a
    time and in order. They may call any method here; what they raise goes to
    `threading.excepthook` and changes nothing else. When `ensure_ready` and `stop` return, they
    have heard of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._life: Life | None = None
        self._supervisor: threading.Thread | None = None
        self._executable: Executable | None = None

    def start(
        self,
        options: ShimmyProcessOptions | None = None,
        *,
        executable: Executable | None = None,
    ) -> None:
        """Start a server, in the background. Does nothing while one is started or running.

        Without `options`, those of the last start are taken. `executable` is what they mean, where
        that has been asked for its version already. Returns before the server is ready, and never
        fails: `ensure_ready` reports how it went.
        """
        while True:
            with self._changed:
                life = self._life
                if life is not None and life.state in ("starting", "ready") and not life.stopping:
                    return
                last = self._supervisor
                if last is None or not last.is_alive():
                    if options is not None:
                        self._executable = executable
                    elif life is not None:
                        options = life.options
                    self._begin(options or ShimmyProcessOptions())
                    return
            last.join()  # it is just ending

    def _begin(self, options: ShimmyProcessOptions) -> None:
        life = self._life = Life(options, self._executable, self._changed, self._listeners)
        self._changed.notify_all()
        supervisor = threading.Thread(target=life.run, name="shimmy-manager", daemon=True)
        _running.add(self)
        try:
            start_thread(supervisor)
        except REFUSALS as refusal:
            self._supervisor = None
            life.fail(system_refused("no thread could be started to watch the server", refusal))
        else:
            self._supervisor = supervisor

    def ensure_ready(self, timeout: float | None = None) -> None:
        """Wait until the server is healthy; starts it if that was not done.

        `timeout` is in seconds; None means for as long as a start and its restarts may take.

        Raises the `ShimmyError` that the start ended with, or ``START_TIMEOUT`` when `timeout`
        passes first.
        """
        with self._changed:
            idle = self.state == "idle"
        if idle:
            self.start()
        with self._changed:
            settled = self._changed.wait_for(
                lambda: self.state in ("ready", "failed", "idle"), timeout
            )
        self._listeners.wait(ShimmyProcessDefaults.listener_timeout)
        with self._changed:
            if self.state == "ready":
                return
            if self.error is not None:
                raise self.error
            what = f"is not ready after {timeout:g} s" if not settled else "was stopped"
            raise ShimmyError(
                ShimmyErrorCode.START_TIMEOUT,
                f"the server {what} (state: {self.state}).\n"
                "Wait longer, or look at its log for what it is doing.",
                {"state": self.state, "timeout": timeout},
            )

    def stop(self) -> None:
        """Stop the server and wait until it is gone. Does nothing when there is none."""
        with self._changed:
            life, supervisor = self._life, self._supervisor
            if life is None:
                return
            life.stopping = True
            process = life.process
            self._changed.notify_all()
        if process is not None:
            process.terminate()  # at once: the supervisor may be waiting for a silent server
        if supervisor is not None and supervisor is not threading.current_thread():
            supervisor.join()
            self._listeners.wait(ShimmyProcessDefaults.listener_timeout)
        with self._changed:
            if life.state == "failed":
                life.set("idle")

    def restart(self) -> None:
        """Stop the server and start it again, with the same options on the same port.

        For what it reads only when it starts, such as a new model. It is no crash, and no limit
        counts it. A start that is under way is waited for; then this returns at once, and
        `ensure_ready` waits for the new server. Without a server to restart, it is `start`.
        """
        with self._changed:
            under_way = self.state == "starting"
            self._changed.wait_for(lambda: self.state != "starting")
            life = self._life
            if life is not None and life.state == "ready" and not life.stopping:
                life.restarting = True
                life.set("starting")
                return
            if under_way and self.state != "failed":
                return  # stopped meanwhile, which is the later wish
        self.start()

    @property
    def state(self) -> State:
        """``idle``, ``starting``, ``ready``, ``stopping`` or ``failed``."""
        life = self._life
        return "idle" if life is None else life.state

    @property
    def port(self) -> int | None:
        """The leased port; None before there is one. It stays the same across restarts."""
        life = self._life
        return None if life is None else life.port

    @property
    def url(self) -> str | None:
        """Address without a path, such as ``http://127.0.0.1:22435``; None before there is one."""
        life = self._life
        if life is None or life.port is None:
            return None
        return f"http://{authority(life.options.host, life.port)}"

    @property
    def api_key(self) -> str | None:
        """The key that the server asks for (``SHIMMY_API_KEY``, seen on 2.6.5), if it has one."""
        life = self._life
        if life is None:
            return None
        return life.options.environment(os.environ).get("SHIMMY_API_KEY")

    @property
    def pid(self) -> int | None:
        """Process id of the running server; None while there is none."""
        life = self._life
        process = None if life is None else life.process
        return None if process is None or process.exit is not None else process.pid

    @property
    def version(self) -> str | None:
        """What the server says in ``/health``; None before it was ready."""
        life = self._life
        return None if life is None else life.version

    @property
    def restarts(self) -> int:
        """Restarts after crashes since `start`, failed ones included."""
        life = self._life
        return 0 if life is None else life.restarts

    @property
    def restarts_since_ready(self) -> int:
        """Those of them in a row that have not brought the server back."""
        life = self._life
        return 0 if life is None else life.restarts_since_ready

    @property
    def crashes(self) -> tuple[Crash, ...]:
        """Unexpected exits since `start`, oldest first. Calls `notice` first."""
        self.notice()
        with self._changed:
            return () if self._life is None else tuple(self._life.crashes)

    def notice(self) -> None:
        """Make sure that an exit which has happened shows in `state` and `crashes`.

        A client learns of a death from its connection, which can be sooner than the supervisor.
        """
        life = self._life
        process = None if life is None else life.process
        if life is not None and process is not None and process.is_over():
            with self._changed:
                self._changed.wait_for(lambda: life.process is not process, 1.0)

    @property
    def error(self) -> ShimmyError | None:
        """Why the state is ``failed``."""
        life = self._life
        return None if life is None else life.error

    @property
    def log_path(self) -> Path | None:
        """The file with all that the server has written; None before the first `start`."""
        life = self._life
        return None if life is None or life.log is None else life.log.path

    def log_size(self) -> int:
        """Size of the log in bytes, with everything that the server has written so far."""
        life = self._life
        if life is None:
            return 0
        process, log = life.process, life.log
        if process is not None:
            process.drain()
        return 0 if log is None else log.size

    def __enter__(self) -> ShimmyProcessManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


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
