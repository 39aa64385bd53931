"""The janitor: puts a killed keeper's things away.

A keeper that is killed (SIGKILL) can remove nothing, and everybody else of its run may have been
killed with it. So each keeper has a shell waiting beside it, which does nothing but read from a
pipe that only the keeper writes to. The pipe ends with the keeper, however that ends; then the
shell kills what is left of the server's process group and removes the keeper's files. Their names
belong to that one keeper, so a later process cannot be hit.

It is a shell because that costs a millisecond and a megabyte, where another interpreter would take
thirty times as much of both. Where there is none (Windows), the next keeper sweeps. One that is
killed is replaced (`ended`, `replace`); one that is killed together with its keeper cannot be.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..process.end import wait_for_end

if TYPE_CHECKING:
    from ..supervisor.manager import ShimmyProcessManager

SHELL = "/bin/sh"

PROGRAM = """
while read -r line; do group=$line; done
[ "$group" = done ] && exit
[ -z "$group" ] || kill -s KILL -- "-$group"
rm -rf -- "$@"
"""

END_TIMEOUT = 1.0
"""Seconds to wait for a shell that has nothing left to do; it takes a millisecond."""
LIFE = 0.5
"""Seconds that one must have lived to be replaced: what kills it at once would kill the next."""


class Janitor:
    """Waits for the end of this process. Without a shell it does nothing at all."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._group: int | None = None
        self._shell: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        # The manager's events come from a thread of its own, and what replaces it from another.
        self._lock = threading.RLock()
        self._start()

    def follow(self, manager: ShimmyProcessManager) -> None:
        """Watch the process group of its server, whenever there is one."""
        manager.on("starting", lambda starting: self.watch(starting.pid))
        manager.on("restarting", lambda _: self.watch(None))
        manager.on("stopped", lambda _: self.watch(None))
        manager.on("error", lambda _: self.watch(None))

    def watch(self, group: int | None) -> None:
        """Kill this process group at the end; None: there is none any more.

        What is told a moment too late does no harm: the system does not give an id to somebody
        else while the group has a member, nor soon after.
        """
        with self._lock:
            self._group = group
            self._tell(b"" if group is None else b"%d" % group)

    @property
    def ended(self) -> IO[bytes] | None:
        """Has something to read (its end) as soon as the shell has ended; None: there is none."""
        return None if self._shell is None else self._shell.stdout

    def replace(self) -> bool:
        """Start another, in place of one that has ended; False where that would be in vain."""
        with self._lock:
            lived = time.monotonic() - self._started
            self._reap()
            if lived >= LIFE:
                self._start()
                self.watch(self._group)
            return self._shell is not None

    def dismiss(self) -> None:
        """End the shell, which removes what could not be removed here, and wait for it.

        No other process may (PID 1 of a container often does not), and it would stay as a zombie.
        """
        with self._lock:
            self.watch(None)
            if not any(path.exists() for path in self._paths):
                self._tell(b"done")
            self._reap()

    def _start(self) -> None:
        if sys.platform == "win32":
            return
        with contextlib.suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", PROGRAM, "pytest-shimmy-janitor", *map(str, self._paths)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "PATH": os.defpath},
                start_new_session=True,
            )
            self._started = time.monotonic()

    def _tell(self, line: bytes) -> None:
        shell = self._shell
        if shell is not None and shell.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it was killed
                shell.stdin.write(line + b"\n")

    def _reap(self) -> None:
        shell, self._shell = self._shell, None
        if shell is None:
            return
        for pipe in (shell.stdin, shell.stdout):
            if pipe is not None:
                pipe.close()
        try:
            wait_for_end(shell, END_TIMEOUT)
        except subprocess.TimeoutExpired:  # it was stopped (SIGSTOP)
            shell.kill()
            shell.wait()
