"""Spawn a command, keep its output, end its whole process group. Knows nothing of shimmy.

Each `Process` has two threads. One spawns the child and waits for it, so that an exit is noticed at
once and the Linux parent-death signal, which is tied to the spawning thread, fires exactly when
this program dies. The *pump* drains the child's output into a `Log`: an undrained pipe freezes a
server that logs (seen on shimmy 2.5.0).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

READ_SIZE = 64 * 1024


class ExitStatus(NamedTuple):
    """How a process ended: an exit code, or the signal that killed it."""

    code: int | None
    signal: int | None

    @classmethod
    def from_returncode(cls, returncode: int) -> ExitStatus:
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


class Log:
    """A server's output: all of it in a file, the newest part in memory.

    Output goes on being taken when the file cannot be written (disk full): the server must not
    stall or die because of its log. `lost` counts the bytes that are in memory only.
    """

    def __init__(self, path: Path, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.size = 0
        self.lost = 0
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115
        self._keep = keep
        self._newest = bytearray()
        self._lock = threading.Lock()

    def append(self, data: bytes) -> None:
        with self._lock:
            self._newest += data
            if len(self._newest) > 2 * self._keep:
                del self._newest[: -self._keep]
            try:
                written = self._file.write(data)
            except (OSError, ValueError):
                written = 0
            self.size += written
            self.lost += len(data) - written

    def newest(self) -> str:
        """The newest output, as text."""
        with self._lock:
            return bytes(self._newest[-self._keep :]).decode("utf-8", "replace")

    def forget(self) -> None:
        """Begin `newest` anew; the file keeps everything."""
        with self._lock:
            self._newest.clear()

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Process:
    """A running command, in a process group of its own.

    `on_output(stream, data)` is called from the pump thread with ``"stdout"`` or ``"stderr"``;
    `on_exit()` from the exit thread, after the last output and with `exit` set.

    Raises `OSError` when the command cannot be executed, `ValueError` when it has a null byte.
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
        self._spawn_error: Exception | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._pump: _Pump | None = None
        self._reaping = threading.Lock()
        threading.Thread(target=self._live, name="shimmy-process", daemon=True).start()
        self._spawned.wait()
        if self._spawn_error is not None:
            raise self._spawn_error

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def is_over(self) -> bool:
        """Whether it has exited or is just exiting, even if nobody here has noticed yet."""
        return self.exit is not None or _is_exiting(self.pid)

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
            popen = self._popen = _spawn(self.command, self._env, self._cwd)
        except Exception as error:  # whatever it is, the thread that waits for us must have it
            self._spawn_error = error
            self._spawned.set()
            return
        assert popen.stdout is not None
        assert popen.stderr is not None
        pump = self._pump = _Pump({"stdout": popen.stdout, "stderr": popen.stderr}, self._on_output)
        self._spawned.set()
        _wait_unreaped(popen)
        # Until it is reaped, the dead leader's id cannot be given to anybody else: the group that
        # is killed here, for children that the leader left behind, is certainly ours.
        self._signal_group("SIGKILL")
        try:
            pump.close()
        finally:
            with self._reaping:
                self.exit = ExitStatus.from_returncode(popen.wait())
            self.exited.set()
            self._on_exit()

    def _signal_group(self, name: str) -> None:
        popen = self._popen
        assert popen is not None
        with self._reaping:
            if self.exit is not None:
                return
            if sys.platform == "win32":
                popen.terminate()
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # macOS answers EPERM when only a zombie is left.
                os.killpg(popen.pid, getattr(signal, name))


def _spawn(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C at the terminal is for the tests, not for the server.
    return subprocess.Popen(
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
        if os.getppid() != parent:  # it died before the call: nobody is left to send the signal
            os._exit(1)

    return arm


def _is_exiting(pid: int) -> bool:
    if sys.platform == "linux":
        # A dying process closes its sockets before it can be waited for, and may lose the
        # processor in between. Its flag is up before both.
        with contextlib.suppress(OSError):  # reaped since, or there is no /proc
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            flags = int(stat.rpartition(b")")[2].split()[6])
            return bool(flags & 0x4)  # PF_EXITING
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:  # reaped since
        return True


def _wait_unreaped(popen: subprocess.Popen[bytes]) -> None:
    """Wait for the exit, but leave the zombie in place."""
    if hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    else:
        popen.wait()


class _Pump:
    """Moves output from pipes to a sink, from whichever thread is there first.

    The pump thread waits for readability and then takes what is there under a lock; `drain` does
    the same at once from any thread, so "everything written so far" has an exact meaning.
    """

    def __init__(self, pipes: Mapping[str, IO[bytes]], sink: Callable[[str, bytes], None]) -> None:
        self._pipes = dict(pipes)
        self._sink = sink
        self._lock = threading.Lock()
        self._closed = False
        if sys.platform == "win32":  # select() takes sockets only: one blocking reader per pipe
            self._readers = [
                threading.Thread(
                    target=self._read_blocking, args=item, name="shimmy-pump", daemon=True
                )
                for item in self._pipes.items()
            ]
        else:
            self._wake, self._waker = os.pipe()
            for pipe in self._pipes.values():
                os.set_blocking(pipe.fileno(), False)
            self._readers = [threading.Thread(target=self._run, name="shimmy-pump", daemon=True)]
        for reader in self._readers:
            reader.start()

    def drain(self) -> None:
        if sys.platform == "win32":
            return
        with self._lock:
            if not self._closed:
                for stream, pipe in self._pipes.items():
                    self._take(stream, pipe)

    def close(self) -> None:
        """Take the rest and stop. A pipe that a stray grandchild keeps open is not waited for."""
        if sys.platform == "win32":
            for reader in self._readers:
                reader.join(1.0)
        else:
            self.drain()
            with self._lock:
                self._closed = True
            os.write(self._waker, b"x")
            self._readers[0].join()
            os.close(self._wake)
            os.close(self._waker)
        for pipe in self._pipes.values():
            pipe.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for stream, pipe in self._pipes.items():
                selector.register(pipe, selectors.EVENT_READ, stream)
            while True:
                ready = selector.select()
                with self._lock:
                    if self._closed:
                        return
                    for key, _ in ready:
                        if key.data is None:
                            continue
                        if not self._take(key.data, self._pipes[key.data]):
                            selector.unregister(key.fileobj)

    def _take(self, stream: str, pipe: IO[bytes]) -> bool:
        """Hand over what the pipe holds; False at its end. Bounded, so streams take turns."""
        for _ in range(16):
            try:
                data = os.read(pipe.fileno(), READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._sink(stream, data)
        return True

    def _read_blocking(self, stream: str, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(pipe.fileno(), READ_SIZE):
                with self._lock:
                    self._sink(stream, data)
