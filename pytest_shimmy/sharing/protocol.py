"""What a test process and a keeper say to each other: JSON lines over a connection.

A test process sends requests (``{"op": "ready"}``) and gets one answer each: a `Snapshot`, or an
error. The connection itself is the lifeline: the kernel closes it however its holder ends, and
the keeper ends the server when the last one is gone.

Nothing that arrives is believed before it has been looked at: who connects proves by a token that
it belongs to us, and whatever has not the names and types that are expected is a `ValueError`.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import _socket
import binascii
import json
import zlib
from _operator import _compare_digest as compare_digest  # as hmac has it, which loads OpenSSL
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self, TypeVar, get_args

from ..errors import ShimmyError
from ..network.sockets import Socket

MAX_LINE = 1 << 20
MAX_SPEC = 1 << 28
"""Of a keeper's spec, which has the files in it that it is to make."""
MAX_HELLO = 1 << 10
"""Of what a peer says that has not proved yet that it belongs to us."""

Op = Literal["ready", "status", "keep_log"]
OPS: tuple[Op, ...] = get_args(Op)

T = TypeVar("T")

_TYPES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (float, int),
    str | None: (str, type(None)),
    int | None: (int, type(None)),
    float | None: (float, int, type(None)),
}


def read(kind: type[T], data: Any, **parsed: Any) -> T:
    """A `kind` (a named tuple) of values that have just these names and types.

    `parsed` are fields that the caller has read already. Raises `ValueError`.
    """
    annotations: dict[str, Any] = kind.__annotations__
    if not isinstance(data, dict) or data.keys() | parsed.keys() != annotations.keys():
        raise ValueError(f"no {kind.__name__}")
    for name, value in data.items():
        if name not in parsed and type(value) not in _TYPES[annotations[name]]:
            raise ValueError(f"no {kind.__name__}: {name} is a {type(value).__name__}")
    return kind(**{**data, **parsed})


def read_error(data: Any) -> ShimmyError:
    """A `ShimmyError` from its JSON form. Raises `ValueError`."""
    try:
        error = ShimmyError.from_json(data)
    except (TypeError, KeyError, AttributeError) as problem:
        raise ValueError(f"no error: {problem!r}") from None
    if not isinstance(error.message, str):
        raise ValueError("no error: its message is no text")
    return error


def hello(token: str) -> dict[str, Any]:
    """The first message of a peer that connects."""
    return {"token": token}


def is_hello(message: dict[str, Any], token: str) -> bool:
    """Whether `message` proves that its sender was told `token`."""
    said = message.get("token")
    return isinstance(said, str) and compare_digest(said.encode("utf-8", "replace"), token.encode())


class Death(NamedTuple):
    """An unexpected exit of the server."""

    pid: int
    exit: str
    """In words: ``exit code 1``, ``killed by SIGSEGV``."""
    log_offset: int


class Snapshot(NamedTuple):
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
    control: str | None = None
    """The token for the fake's remote control; never shown to anybody."""
    recorder: str | None = None
    """Address of the recorder in front of the server, if there is one."""
    recorder_token: str | None = None
    """What it wants to be told; never shown to anybody."""
    model_path: str | None = None
    """The model file that it was started with, if it was one."""
    exchanges: str | None = None
    """The file in which the fake notes its exchanges, for a report of the run."""

    def __repr__(self) -> str:
        shown = self._asdict()
        del shown["control"], shown["recorder_token"]
        return f"Snapshot({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def to_json(self) -> dict[str, Any]:
        deaths = [death._asdict() for death in self.deaths]
        return {**self._asdict(), "deaths": deaths}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises `ValueError`."""
        deaths = data.get("deaths") if isinstance(data, dict) else None
        if not isinstance(deaths, list):
            raise ValueError("no Snapshot")
        return read(cls, data, deaths=tuple(read(Death, death) for death in deaths))


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
    loaded: str | None = None
    """The model that its warm-up loaded, if it had one."""
    load_seconds: float | None = None
    """How long that took."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """With texts that can be shown: a server says its own version. Raises `ValueError`."""
        summary = read(cls, data)
        return summary._replace(
            executable=summary.executable and _printable(summary.executable),
            version=_printable(summary.version),
            kept_log=summary.kept_log and _printable(summary.kept_log),
            loaded=summary.loaded and _printable(summary.loaded),
        )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def packed(files: Mapping[str, bytes]) -> dict[str, str]:
    """Files as JSON values: a model is mostly zeros."""
    return {
        path: binascii.b2a_base64(zlib.compress(content, 1), newline=False).decode()
        for path, content in files.items()
    }


def unpacked(files: Mapping[str, str]) -> dict[str, bytes]:
    """The way back from `packed`."""
    return {path: zlib.decompress(binascii.a2b_base64(text)) for path, text in files.items()}


class Channel:
    """One end of a connection that carries JSON objects, a line each of at most `limit` bytes."""

    def __init__(self, peer: Socket, limit: int = MAX_LINE) -> None:
        if peer.family == _socket.AF_INET:
            peer.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.socket = peer
        self.limit = limit
        self.process: int | None = None
        """Process id of the other end, where it is known."""
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
        return bool(data) and len(self._received) <= self.limit

    def has_news(self) -> bool:
        """Whether there is something to read, the end of the connection included."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

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
