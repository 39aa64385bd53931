"""The controller's part in sharing: so light that every run with workers can afford it."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LOOPBACK = "127.0.0.1"


class Run(NamedTuple):
    """A test run, as far as this machine takes part in it."""

    id: str
    anchor: tuple[str, int] | None
    """The controller's `Anchor`, when it is on this machine."""
    cwd: str | None = None
    """Where the run was started on this machine, and with it each real server; None: nobody says,
    so it is the directory that this process is in."""

    @classmethod
    def alone(cls, cwd: str | None = None) -> Run:
        """A run of one process."""
        return cls(uuid.uuid4().hex, None, cwd)

    @classmethod
    def invited(cls, invitation: Mapping[str, Any], cwd: str | None = None) -> Run:
        """The run that a controller's `Anchor.invitation` means for this process, which was
        started in `cwd`."""
        if invitation["host"] != host_id():
            # A worker on another host cannot reach the controller's anchor; there, the workers
            # alone hold their host's server.
            return cls(invitation["id"], None, cwd)
        anchor = invitation["anchor"]
        return cls(invitation["id"], anchor and (anchor[0], anchor[1]), invitation["cwd"])


class Anchor:
    """A controller's hold on all servers of its run, whether it knows of them or not.

    Keepers connect to it and watch the connection. It is not answered while tests run: an
    established connection in a listener's queue lasts as long as the listener, so the controller
    pays one socket and no thread, and lets go by dying, however it dies.
    """

    def __init__(self, cwd: str | None = None) -> None:
        self._run = uuid.uuid4().hex
        self._cwd = cwd
        self._listener: socket.socket | None = None
        # A sandbox without loopback must not break runs that need no server.
        with contextlib.suppress(OSError):
            self._listener = socket.create_server((LOOPBACK, 0), backlog=128)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where keepers call; None when this machine gave us no socket."""
        if self._listener is None:
            return None
        host, port = self._listener.getsockname()[:2]
        return host, port

    def invitation(self) -> dict[str, Any]:
        """What a worker needs to know to take part in this run."""
        return {"id": self._run, "anchor": self.address, "host": host_id(), "cwd": self._cwd}

    def let_go(self) -> list[socket.socket]:
        """End the hold; returns the connections of the keepers that have called."""
        keepers: list[socket.socket] = []
        if self._listener is not None:
            self._listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    keepers.append(self._listener.accept()[0])
            self._listener.close()
            self._listener = None
        return keepers


def host_id() -> str:
    """Equal for processes that reach each other's loopback addresses."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"
    except OSError:
        return socket.gethostname()
