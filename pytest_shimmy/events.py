"""What a `ShimmyProcessManager` tells its listeners: one typed payload per event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import ShimmyError
from .process import ExitStatus

EventName = Literal["starting", "ready", "restarting", "stopped", "stdout", "stderr", "error"]


@dataclass(frozen=True)
class Starting:
    """``starting``: a process was spawned; it is not healthy yet."""

    pid: int
    port: int
    command: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """``ready``: our own child answers ``/health``."""

    pid: int
    port: int
    version: str
    elapsed: float
    """Seconds from spawn to healthy."""


@dataclass(frozen=True)
class Crash:
    """An unexpected exit of a server that had been ready."""

    pid: int
    exit: ExitStatus
    log_offset: int
    """Size of the log when it was noticed: what came before belongs to the dead process."""


@dataclass(frozen=True)
class Restarting:
    """``restarting``: the server died and will be started again on the same port."""

    crash: Crash
    attempt: int
    limit: int
    delay: float
    """Seconds until the attempt."""


@dataclass(frozen=True)
class Stopped:
    """``stopped``: the server ended because `stop` was called."""

    exit: ExitStatus


@dataclass(frozen=True)
class Output:
    """``stdout`` and ``stderr``: what the server wrote, in pieces as they arrived."""

    text: str


@dataclass(frozen=True)
class Failed:
    """``error``: the manager has given up; its state is ``failed``."""

    error: ShimmyError


Event = Starting | Ready | Restarting | Stopped | Output | Failed
