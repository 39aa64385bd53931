"""The janitor: puts a killed keeper's things away.

A keeper that is killed (SIGKILL) can remove nothing, and everybody else of its run may have been
killed with it. So each keeper has a shell waiting beside it, which does nothing but read from a
pipe that only the keeper writes to. The pipe ends with the keeper, however that ends; then the
shell kills what is left of the server's process group and removes the keeper's files. Their names
belong to that one keeper, so whoever comes later cannot be hit.

It is a shell because that costs a millisecond and a megabyte, where another interpreter would take
thirty times as much of both. Where there is none (Windows), the next keeper sweeps.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..supervisor.manager import ShimmyProcessManager

SHELL = "/bin/sh"

PROGRAM = """
while read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group"
rm -rf -- "$@"
"""


class Janitor:
    """Waits for the end of this process. Without a shell it does nothing at all."""

    def __init__(self, *paths: Path) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if sys.platform == "win32":
            return
        with contextlib.suppress(OSError):
            self._shell = subprocess.Popen(
                [SHELL, "-c", PROGRAM, "pytest-shimmy-janitor", *map(str, paths)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "PATH": os.defpath},
                start_new_session=True,
            )

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
        if self._shell is not None and self._shell.stdin is not None:
            with contextlib.suppress(OSError):  # somebody killed it
                self._shell.stdin.write(b"%s\n" % (b"" if group is None else b"%d" % group))
