"""What a test process and a keeper say to each other: JSON lines over a loopback connection.

A test process sends requests (``{"op": "ready"}``) and gets one answer each: a `Snapshot`, or an
error. The connection itself is the lifeline: the kernel closes it however its holder ends, and
the keeper ends the server when the last one is gone.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

MAX_LINE = 1 << 20

Op = Literal["ready", "status", "keep_log"]


@dataclass(frozen=True)
class Death:
    """An unexpected exit of the server."""

    pid: int
    exit: str
    """In words: ``exit code 1``, ``killed by SIGSEGV``."""
    log_offset: int


@dataclass(frozen=True)
class Snapshot:
    """A server as its keeper sees it now."""

    state: str
    host: str
    port: int
    pid: int | None
    version: str
    restarts: int
    deaths: tuple[Death, ...]
    log_path: str
    log_size: int
    """Includes everything that the server had written when the question arrived."""
    control: str | None = field(default=None, repr=False)
    """The token for the fake's remote control; never shown to anybody."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Snapshot:
        deaths = tuple(Death(**death) for death in data.pop("deaths"))
        return cls(**data, deaths=deaths)


class ServerSummary(NamedTuple):
    """A keeper's last words, to those who wait for its end."""

    executable: str | None
    """What was executed; None: the bundled fake."""
    version: str
    port: int
    restarts: int
    lifetime: float
    """Seconds from its first start to its end."""
    requests: int | None
    """How many it was sent, if it says, and was never restarted; questions of ours do not count."""
    kept_log: str | None
    """Where the log is; None when it was removed."""


class Channel:
    """One end of a connection that carries JSON objects, a line each."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = peer
        self._received = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end of the connection. Blocks as the socket does."""
        while (message := self.next_received()) is None:
            if not self.feed():
                return None
        return message

    def feed(self) -> bool:
        """Read once; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self._received += data
        return bool(data) and len(self._received) <= MAX_LINE

    def next_received(self) -> dict[str, Any] | None:
        """The next message that has arrived whole. Raises `ValueError` for anything else."""
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            return None
        self._received = rest
        try:
            message = json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(message, dict):
            raise ValueError(f"not an object: {message!r}")
        return message

    def close(self) -> None:
        self.socket.close()
