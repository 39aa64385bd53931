"""Ask an executable a question that it answers and ends: its output, its end, or that it hung."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..process import ExitStatus, Process

MAX_OUTPUT = 32 * 1024 * 1024
"""Ten thousand models, more than which shimmy refuses to list (seen on 2.5.0), take a tenth."""

_SHOWN_LINES = 20
_KEPT = 4000


class Answer(NamedTuple):
    """How a command ended, and what it had written by then."""

    command: tuple[str, ...]
    exit: ExitStatus
    stdout: bytes
    stderr: bytes
    cut: str | None
    """Why it was stopped, in words; None when it ended by itself."""

    def told(self) -> str:
        """How it ended and what it wrote, for an error message."""
        ended = self.cut or f"ended with {self.exit}"
        parts = [f"{shlex.join(self.command)}\n{ended}."]
        for name, data in (("stdout", self.stdout), ("stderr", self.stderr)):
            lines = data.decode("utf-8", "replace").splitlines()
            if lines:
                shown = lines[:_SHOWN_LINES]
                more = len(lines) - len(shown)
                parts.append(f"On {name}:\n" + "\n".join(f"  {line[:500]}" for line in shown))
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


def ask(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, timeout: float
) -> Answer:
    """Run `command` to its end, or to ours: it has `timeout` seconds and `MAX_OUTPUT` bytes.

    Nothing of its process group outlives this call, however it ends. Raises `OSError` when the
    command cannot be executed, `ValueError` when it has a null byte.
    """
    output = {"stdout": bytearray(), "stderr": bytearray()}
    over = threading.Event()

    def keep(stream: str, data: bytes) -> None:
        room = MAX_OUTPUT - len(output["stdout"]) - len(output["stderr"])
        output[stream] += data[:room]
        if len(data) > room:
            over.set()

    process = Process(command, env=env, cwd=cwd, on_output=keep, on_exit=over.set)
    cut = None
    try:
        if not over.wait(timeout):
            cut = f"had not ended after {timeout:g} s and was stopped"
        elif process.exit is None:
            cut = f"wrote more than {MAX_OUTPUT >> 20} MiB and was stopped"
    finally:
        status = process.stop(0)
    return Answer(process.command, status, bytes(output["stdout"]), bytes(output["stderr"]), cut)
