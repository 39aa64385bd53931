"""What holds a run's servers: so light that every run with workers can afford it."""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import contextlib
import os
import secrets
import socket
import time
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..network.sockets import Socket
from . import sockets

if TYPE_CHECKING:
    from .protocol import Channel

LETTING_GO = 1.0
"""Seconds for looking through the connections that wait at an `Anchor`."""


class AnchorAddress(NamedTuple):
    """How a keeper reaches the run's `Anchor`, and proves that it belongs to the run."""

    address: sockets.Address
    token: str

    @classmethod
    def from_json(cls, data: Any) -> Self:
        address, token = data
        return cls(sockets.to_address(address), str(token))


class Run(NamedTuple):
    """A test run, as far as this machine takes part in it."""

    id: str
    anchor: AnchorAddress | None
    """The run's `Anchor`, when it is on this machine."""
    cwd: str | None = None
    """Where the run was started on this machine, and with it each real server; None: nobody says,
    so it is the directory that this process is in."""

    @classmethod
    def invited(cls, invitation: Mapping[str, Any], cwd: str | None = None) -> Self:
        """The run that an `Anchor.invitation` means for this process, which was started in
        `cwd`."""
        if invitation["host"] != host_id():
            # A worker on another host cannot reach the controller's anchor; there, the workers
            # alone hold their host's server.
            return cls(invitation["id"], None, cwd)
        anchor = invitation["anchor"]
        return cls(invitation["id"], anchor and AnchorAddress.from_json(anchor), invitation["cwd"])

    def is_over(self) -> bool:
        """Whether the process in which it was started has let go, or is gone."""
        if self.anchor is None:
            return False
        try:
            sockets.connect(self.anchor.address, 1.0).close()
        except (ConnectionRefusedError, PermissionError):
            return True
        except OSError:  # it may be there: the keeper that connects to it finds out
            return False
        return False


class Anchor:
    """The hold of a run on all its servers, whether the process that has it knows of them or not.

    Keepers connect to it and watch the connection. It is not answered while tests run: an
    established connection in a listener's queue lasts as long as the listener, so it costs one
    socket and no thread, and it lets go by dying, however its process dies.
    """

    def __init__(self, cwd: str | None = None) -> None:
        self._run = uuid.uuid4().hex
        self._cwd = cwd
        self._token = secrets.token_hex(16)
        self._listener: Socket | None = None
        self.address: AnchorAddress | None = None
        """Where keepers call; None when this machine gave us no socket."""
        # A sandbox without sockets must not break runs that need no server.
        with contextlib.suppress(OSError):
            self._listener = sockets.listen()
            self.address = AnchorAddress(sockets.address_of(self._listener), self._token)
            _anchors.add(self)

    def invitation(self) -> dict[str, Any]:
        """What a worker needs to know to take part in this run."""
        # In a plain tuple: execnet carries no other.
        anchor = self.address and tuple(self.address)
        return {"id": self._run, "anchor": anchor, "host": host_id(), "cwd": self._cwd}

    def let_go(self) -> "list[Channel]":
        """End the hold; returns the connections of the keepers that have called.

        Others may have connected, too: they are closed, whatever they said.
        """
        keepers: list[Channel] = []
        if self._listener is not None:
            self._listener.setblocking(False)
            deadline = time.monotonic() + LETTING_GO
            with contextlib.suppress(OSError):
                while time.monotonic() < deadline:
                    if channel := _keeper_at(self._listener.accept()[0], self._token):
                        keepers.append(channel)
            self._close()
        return keepers

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _keeper_at(connection: Socket, token: str) -> "Channel | None":
    """The connection of a keeper, which introduces itself at once; None for anybody else."""
    from .protocol import MAX_HELLO, MAX_LINE, Channel, is_hello

    with contextlib.suppress(OSError, ValueError):
        channel = Channel(connection, MAX_HELLO)
        connection.setblocking(False)
        if not sockets.is_stranger(connection) and channel.feed():
            message = channel.next_received()
            if message is not None and is_hello(message, token):
                connection.setblocking(True)
                channel.limit = MAX_LINE
                peer = sockets.peer_of(connection)
                channel.process = peer and peer.pid
                return channel
    connection.close()
    return None


_anchors: weakref.WeakSet[Anchor] = weakref.WeakSet()


def _after_fork() -> None:
    # A child that lives on would keep the queue, and the servers, alive.
    for anchor in list(_anchors):
        anchor._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def host_id() -> str:
    """Equal for processes that reach each other's sockets."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"
    except OSError:
        return socket.gethostname()
