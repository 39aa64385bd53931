"""Run a command to its end, or to ours: its output, how it ended, why it was stopped if it was.

Knows nothing of shimmy. Strategy: the command has a process group of its own, which is killed when
its time or its room for output is used up, when the caller gave up, and after its
own end (for children that it left behind). Its output is kept up to a limit, and a child that
goes on holding the pipes is not waited for.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import re
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .process import ExitStatus, Process

CANCEL_INTERVAL = 0.02
"""Seconds between two looks at whether the answer is still wanted."""

_SHOWN_LINES = 20
_SHOWN_COLUMNS = 500
_KEPT = 4000


_MAIN_OF_PACKAGE = r"from (\w+)\.\w+ import main; "


def as_typed(command: Sequence[str]) -> str:
    """`command` as a person would type it: one that runs a package's ``main()`` in a bare
    interpreter by the name of its program."""
    is_bare = tuple(command[1:4]) == ("-I", "-S", "-c")
    if is_bare and (of := re.search(_MAIN_OF_PACKAGE, command[4])):
        command = [of[1].replace("_", "-"), *command[5:]]
    return shlex.join(command)


class Outcome(NamedTuple):
    """How a command ended, and what it had written by then."""

    command: tuple[str, ...]
    exit: ExitStatus
    stdout: bytes
    stderr: bytes
    cut: str | None
    """Why it was stopped, in words; None when it ended by itself."""
    seconds: float

    def told(self) -> str:
        """How it ended and what it wrote, for an error message."""
        ended = self.cut or f"ended with {self.exit}"
        parts = [f"{as_typed(self.command)}\n{ended}."]
        for name, data in (("stdout", self.stdout), ("stderr", self.stderr)):
            lines = data.decode("utf-8", "replace").splitlines()
            if lines:
                shown = lines[:_SHOWN_LINES]
                more = len(lines) - len(shown)
                parts.append(
                    f"On {name}:\n" + "\n".join(f"  {line[:_SHOWN_COLUMNS]}" for line in shown)
                )
                if more:
                    parts.append(f"  ({more} more lines)")
        if len(parts) == 1:
            parts.append("It wrote nothing.")
        return "\n".join(parts)

    def details(self) -> dict[str, Any]:
        """The same, for programs."""
        return {
            "command": list(self.command),
            "exit_code": self.exit.code,
            "signal": self.exit.signal,
            "stopped": self.cut,
            "stdout": self.stdout[:_KEPT].decode("utf-8", "replace"),
            "stderr": self.stderr[:_KEPT].decode("utf-8", "replace"),
        }


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float,
    limit: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run `command`: it has `timeout` seconds, `limit` bytes of output, and until `cancelled()`.

    Nothing of its process group outlives this call, however it ends. Raises `OSError` when the
    command cannot be executed, `ValueError` when it or its environment cannot be passed on.
    """
    output = {"stdout": bytearray(), "stderr": bytearray()}
    full, over = threading.Event(), threading.Event()

    def keep(stream: str, data: bytes) -> None:
        room = limit - len(output["stdout"]) - len(output["stderr"])
        output[stream] += data[:room]
        if len(data) > room:
            full.set()
            over.set()

    process = Process(command, env=env, cwd=cwd, on_output=keep, on_exit=over.set)
    cut = None
    try:
        while not over.wait(min(CANCEL_INTERVAL, _left(process, timeout))):
            if cancelled():
                cut = "was stopped, because its caller gave up"
            elif not _left(process, timeout):
                cut = f"had not ended after {timeout:g} s and was stopped"
            else:
                continue
            break
    finally:
        status = process.stop(0)
    if full.is_set():
        cut = f"wrote more than {_size(limit)} and was stopped"
    seconds = time.monotonic() - process.started
    stdout, stderr = bytes(output["stdout"]), bytes(output["stderr"])
    return Outcome(process.command, status, stdout, stderr, cut, seconds)


def _left(process: Process, timeout: float) -> float:
    return max(0.0, process.started + timeout - time.monotonic())


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
