"""What holds a run's servers: so light that every run with workers can afford it."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LOOPBACK = "127.0.0.1"


class Run(NamedTuple):
    """A test run, as far as this machine takes part in it."""

    id: str
    anchor: tuple[str, int] | None
    """The run's `Anchor`, when it is on this machine."""
    cwd: str | None = None
    """Where the run was started on this machine, and with it each real server; None: nobody says,
    so it is the directory that this process is in."""

    @classmethod
    def invited(cls, invitation: Mapping[str, Any], cwd: str | None = None) -> Run:
        """The run that an `Anchor.invitation` means for this process, which was started in
        `cwd`."""
        if invitation["host"] != host_id():
            # A worker on another host cannot reach the controller's anchor; there, the workers
            # alone hold their host's server.
            return cls(invitation["id"], None, cwd)
        anchor = invitation["anchor"]
        return cls(invitation["id"], anchor and (anchor[0], anchor[1]), invitation["cwd"])


class Anchor:
    """The hold of a run on all its servers, whether the process that has it knows of them or not.

    Keepers connect to it and watch the connection. It is not answered while tests run: an
    established connection in a listener's queue lasts as long as the listener, so it costs one
    socket and no thread, and it lets go by dying, however its process dies.
    """

    def __init__(self, cwd: str | None = None) -> None:
        self._run = uuid.uuid4().hex
        self._cwd = cwd
        self._listener: socket.socket | None = None
        self.address: tuple[str, int] | None = None
        """Where keepers call; None when this machine gave us no socket."""
        # A sandbox without loopback must not break runs that need no server.
        with contextlib.suppress(OSError):
            self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
            host, port = self._listener.getsockname()[:2]
            self.address = host, port
            _anchors.add(self)

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
            self._close()
        return keepers

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


_anchors: weakref.WeakSet[Anchor] = weakref.WeakSet()


def _after_fork() -> None:
    # A child that lives on would keep the queue, and the servers, alive.
    for anchor in list(_anchors):
        anchor._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def host_id() -> str:
    """Equal for processes that reach each other's loopback addresses."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"
    except OSError:
        return socket.gethostname()
