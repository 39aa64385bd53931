"""What a `ShimmyProcessManager` tells its listeners: one typed payload per event."""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

from typing import Literal, NamedTuple

from .errors import ShimmyError
from .process.process import ExitStatus

EventName = Literal[
    "starting", "ready", "exited", "restarting", "stopped", "stdout", "stderr", "error"
]


class Starting(NamedTuple):
    """``starting``: a process was spawned; it is not healthy yet."""

    pid: int
    """Its process id."""
    port: int
    """The port it was told to listen on."""
    command: tuple[str, ...]
    """What was run, with its arguments."""
    attempt: int
    """Which process this is since `ShimmyProcessManager.start`, from 1."""


class Ready(NamedTuple):
    """``ready``: the process that was started answers ``/health``."""

    pid: int
    """Its process id."""
    port: int
    """The port it listens on."""
    version: str
    """What it says in ``/health``."""
    elapsed: float
    """Seconds from spawn to healthy."""
    time: float
    """When that was, as `time.time` has it."""


class Exited(NamedTuple):
    """``exited``: a process ended, whenever and for whatever reason."""

    pid: int
    """Its process id."""
    exit: ExitStatus
    """How it ended."""
    expected: bool
    """It was told to: by `stop` or `restart`, or because it was not healthy in time."""


class Crash(NamedTuple):
    """An unexpected exit of a server that had been ready."""

    pid: int
    """Process id of the one that died."""
    exit: ExitStatus
    """How it ended."""
    log_offset: int
    """Size of the log when it was noticed: what came before belongs to the dead process."""


class Restarting(NamedTuple):
    """``restarting``: the server will be started again on the same port."""

    crash: Crash | None
    """What it died of; None when `ShimmyProcessManager.restart` was called, and for a first start
    that is tried again."""
    attempt: int
    """Which restart this is, from 1, as ``restarts_counted`` counts them; 0 for one that was asked
    for, which is not counted."""
    limit: int
    """``max_restarts``: how many there may be."""
    delay: float
    """Seconds until the attempt."""
    error: ShimmyError | None
    """Why: ``CRASHED``, or how the last attempt failed; None for one that was asked for."""


class Stopped(NamedTuple):
    """``stopped``: the server ended because `stop` was called; no event follows."""

    exit: ExitStatus
    """How it ended."""


class Output(NamedTuple):
    """``stdout`` and ``stderr``: what the server wrote, in pieces as they arrived."""

    text: str
    """Decoded as UTF-8; invalid bytes are replaced."""


class Failed(NamedTuple):
    """``error``: the manager has given up; its state is ``failed``."""

    error: ShimmyError
    """Why; `ensure_ready` raises the same."""


Event = Starting | Ready | Exited | Restarting | Stopped | Output | Failed
