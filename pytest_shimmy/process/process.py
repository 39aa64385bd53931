"""Spawn a command, keep its output, end its whole process group. Knows nothing of shimmy.

Each `Process` has two threads. One spawns the child and waits for it, so that an exit is noticed at
once and the Linux parent-death signal, which is tied to the spawning thread, fires exactly when
this program dies. The other is a *pump* that drains the child's output: an undrained pipe freezes
a server that logs (seen on shimmy 2.5.0). On Windows, a job object stands for group and signal.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from .pump import BlockingPump, Pump, SelectingPump
from .thread import start_thread
from .vitals import is_exiting

if sys.platform == "win32":
    from .windows_job import Job


SPAWN_TIMEOUT = 20.0
"""Seconds for the system to execute a command. Something that follows child processes (a debugger)
can hold one before it has begun."""


class ExitStatus(NamedTuple):
    """How a process ended: an exit code, or the signal that killed it."""

    code: int | None
    """None if a signal killed it."""
    signal: int | None
    """None if it exited by itself."""

    @classmethod
    def from_returncode(cls, returncode: int) -> Self:
        # Windows has no signals; its codes may be negative.
        if returncode < 0 and sys.platform != "win32":
            return cls(None, -returncode)
        return cls(returncode, None)

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(self.signal).name}"
        except ValueError:
            return f"killed by signal {self.signal}"


class Process:
    """A running command, in a process group of its own.

    `on_output(stream, data)` is called from the pump thread with ``"stdout"`` or ``"stderr"``;
    `on_exit()` from the exit thread, after the last output and with `exit` set.

    Raises `OSError` when the command cannot be executed, or the system refuses a thread or a
    descriptor for it; `ValueError` when it has a null byte. Nothing is left then.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        on_output: Callable[[str, bytes], None],
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self.command = tuple(command)
        self.started = time.monotonic()
        self.exit: ExitStatus | None = None
        self.exited = threading.Event()
        self._env = dict(env)
        self._cwd = cwd
        self._on_output = on_output
        self._on_exit = on_exit
        self._spawned = threading.Event()
        self._given_up = False
        self._spawn_error: Exception | None = None
        self._starting: _Popen | None = None
        """The child since its start began; `_popen` since it was executed."""
        self._popen: subprocess.Popen[bytes] | None = None
        self._pump: Pump | None = None
        if sys.platform == "win32":
            self._job: Job | None = None
        self._reaping = threading.Lock()
        start_thread(threading.Thread(target=self._live, name="shimmy-process", daemon=True))
        try:
            in_time = self._spawned.wait(SPAWN_TIMEOUT)
        except BaseException:  # Ctrl-C: no caller is ever going to hold this object
            if self._wait_or_give_up() and self._spawn_error is None:
                self.stop(0)
            raise
        if not in_time and not self._wait_or_give_up():
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"it was not executed within {SPAWN_TIMEOUT:g} s; a debugger or another program "
                "that follows child processes may hold it",
            )
        if self._spawn_error is not None:
            raise self._spawn_error

    def _wait_or_give_up(self) -> bool:
        """Whether the child is there, or known not to be; else it is ended."""
        self._spawned.wait(1.0)
        with self._reaping:
            if self._spawned.is_set():
                return True
            self._given_up = True
            pid = getattr(self._starting, "pid", None)
            if pid is None:  # not even forked
                return False
            # It hangs between fork and exec, perhaps over a lock that another thread had then.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        self.exited.wait(1.0)
        return False

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def is_over(self) -> bool:
        """Whether it has exited or is just exiting, even if this object has not noticed yet."""
        return self.exit is not None or is_exiting(self.pid)

    def owns(self, pid: int) -> bool:
        """Whether process `pid` is this one, or one that it has started in its group."""
        with self._reaping:
            if self.exit is not None:
                return False
            if sys.platform == "win32":
                return pid == self.pid or (self._job is not None and self._job.has(pid))
            try:
                return os.getpgid(pid) == self.pid
            except OSError:  # gone, or in a session that the system does not talk about
                return False

    def drain(self) -> None:
        """Take over all output that the child has written so far."""
        if self._pump is not None:
            self._pump.drain()

    def terminate(self) -> None:
        """Ask the process group to end (SIGTERM), and do not wait."""
        self._signal_group("SIGTERM")

    def stop(self, grace: float) -> ExitStatus:
        """End the process group: SIGTERM, and SIGKILL after `grace` seconds."""
        self.terminate()
        if not self.exited.wait(grace):
            self._signal_group("SIGKILL")
            self.exited.wait()
        assert self.exit is not None
        return self.exit

    def _live(self) -> None:
        try:
            popen = self._popen = _spawn(self.command, self._env, self._cwd, self._begins)
            pump = self._pump = self._drain(popen)
        except Exception as error:  # whatever it is, the thread that waits for us must have it
            if self._popen is not None:
                self._abandon(self._popen)
            self._spawn_error = error
            self._spawned.set()
            return
        with self._reaping:
            if not self._given_up:
                self._spawned.set()
        if self._given_up:  # no caller holds this object
            self._signal_group("SIGKILL")
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # without it, the server's children may stay
                self._job = Job(popen.pid)
        _wait_unreaped(popen)
        # Until it is reaped, the dead leader's id cannot be given to anybody else: the group that
        # is killed here, for children that the leader left behind, is certainly ours.
        self._signal_group("SIGKILL")
        try:
            pump.close()
        finally:
            with self._reaping:
                self.exit = ExitStatus.from_returncode(popen.wait())
                if sys.platform == "win32" and self._job is not None:
                    self._job.close()
            self.exited.set()
            self._on_exit()

    def _begins(self, popen: "_Popen") -> None:
        self._starting = popen

    def _drain(self, popen: subprocess.Popen[bytes]) -> Pump:
        assert popen.stdout is not None
        assert popen.stderr is not None
        pipes = {"stdout": popen.stdout, "stderr": popen.stderr}
        kind = BlockingPump if sys.platform == "win32" else SelectingPump
        return kind(pipes, self._on_output)

    def _abandon(self, popen: subprocess.Popen[bytes]) -> None:
        """End a child whose output cannot be taken."""
        self._signal_group("SIGKILL")
        for pipe in (popen.stdout, popen.stderr):
            if pipe is not None:
                pipe.close()
        popen.wait()

    def _signal_group(self, name: str) -> None:
        popen = self._popen
        assert popen is not None
        with self._reaping:
            if self.exit is not None:
                return
            if sys.platform == "win32":
                if name == "SIGKILL" and self._job is not None:
                    self._job.kill()
                else:
                    popen.terminate()
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # macOS answers EPERM when only a zombie is left.
                os.killpg(popen.pid, getattr(signal, name))


class _Popen(subprocess.Popen[bytes]):
    """Is made known before it starts its child: it is made when that was executed."""

    def __init__(self, known: Callable[[Any], None], command: Sequence[str], **how: Any) -> None:
        known(self)
        super().__init__(command, **how)


def _spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    known: Callable[[_Popen], None],
) -> _Popen:
    # A group of its own: Ctrl-C at the terminal is for the tests, not for the server.
    return _Popen(
        known,
        command,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        preexec_fn=_die_with_parent(),
    )


def _die_with_parent() -> Callable[[], None] | None:
    """A hook for the child that has Linux kill it when the spawning thread dies."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):  # no such symbol in this C library
        return None
    parent = os.getpid()
    set_death_signal = 1  # PR_SET_PDEATHSIG

    def arm() -> None:
        prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call, so the signal will not come
            os._exit(1)

    return arm


def _wait_unreaped(popen: subprocess.Popen[bytes]) -> None:
    """Wait for the exit, but leave the zombie in place."""
    if sys.platform != "win32" and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    else:
        popen.wait()
