"""HTTP/1.1, as much as our own questions need: one request, one answer, bounded in time and size.

Over `sockets`, and not over a library: `responses`, requests-mock and vcrpy replace those, they log
into the user's caplog, and each costs more to load than the fake takes to be ready.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, Self

from . import sockets
from .addresses import authority

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
"""Bytes of an answer, unless the asker allows more."""
OVER_INTERVAL = 0.05
"""Seconds between two looks at whether an answer still matters."""


class NotHttpError(OSError):
    """The peer answered with something that is not HTTP, is too long, or is cut off."""


class ClosedError(NotHttpError, ConnectionResetError):
    """The peer closed the connection instead of answering."""


class Peer(Protocol):
    """A socket, or TLS over one."""

    def settimeout(self, seconds: float | None, /) -> None: ...
    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Route(NamedTuple):
    """How to reach a server; see `route.route_to`."""

    host: str
    port: int
    prefix: str = ""
    """What comes before a path: that of a URL, or a whole URL for a proxy."""
    headers: Mapping[str, str] = {}
    wrap: Callable[[sockets.Socket, float], Peer] | None = None
    """Makes a connection one that can be asked: through a proxy, over TLS."""


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    status_line: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises `ValueError`."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Patience:
    """How long an answer is waited for: `seconds` for all of it, or `each` time that nothing comes;
    and only as long as it matters, until `over()`."""

    def __init__(
        self, seconds: float, *, each: bool = False, over: Callable[[], bool] | None = None
    ) -> None:
        self._seconds = seconds
        self._each = each
        self._over = over
        self._deadline = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds. Raises `TimeoutError` when it is used up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"it took longer than {self._seconds:g} s")
        return left

    def receive(self, peer: Peer) -> bytes:
        """What comes next, ``b""`` at the end. Raises `OSError`."""
        while True:
            left = self.left()
            peer.settimeout(left if self._over is None else min(left, OVER_INTERVAL))
            try:
                data = peer.recv(65536)
            except TimeoutError:
                if self._over is not None and self._over():
                    raise
                continue
            if self._each:
                self._deadline = time.monotonic() + self._seconds
            return data


class Connection:
    """One connection to a server, for one question after the other. Not thread-safe."""

    def __init__(self, route: Route, timeout: float) -> None:
        """Connect within `timeout` seconds. Raises `OSError`."""
        self._route = route
        plain = sockets.connect(route.host, route.port, timeout)
        try:
            self._peer: Peer = plain if route.wrap is None else route.wrap(plain, timeout)
        except BaseException:
            plain.close()
            raise
        self._received = bytearray()
        self.is_reusable = True
        """Whether another question can follow."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._peer.close()

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        patience: Patience,
        limit: int = MAX_BODY,
    ) -> Answer:
        """The whole answer to one request. Raises `OSError`, so `TimeoutError`, `NotHttpError`."""
        self._send(method, path, headers, body, patience)
        return self.receive(patience, limit, method)

    def open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        patience: Patience,
    ) -> tuple[Answer, Iterator[bytes]]:
        """The answer without its body, and the pieces of that as they come."""
        self._send(method, path, headers, body, patience)
        answer = self._final_head(patience)
        return answer, self._pieces(method, answer, patience)

    def send(self, request: bytes, patience: Patience) -> None:
        """Send a whole request; `receive` gives the answers in the order of the requests."""
        self._peer.settimeout(patience.left())
        self._peer.sendall(request)

    def receive(self, patience: Patience, limit: int = MAX_BODY, method: str = "POST") -> Answer:
        """The next whole answer."""
        answer = self._final_head(patience)
        size = len(self._received)
        if answer.headers.get("content-length") == str(size) and size <= limit:
            body = bytes(self._received)  # all of it came at once, as most answers do
            self._received.clear()
            return Answer(answer.status, answer.status_line, answer.headers, body)
        whole = bytearray()
        for piece in self._pieces(method, answer, patience):
            whole += piece
            if len(whole) > limit:
                raise NotHttpError(f"the answer is longer than {limit} bytes")
        return answer._replace(body=bytes(whole))

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, patience: Patience
    ) -> None:
        self._received.clear()
        has_body = bool(body) or method == "POST"
        self.send(request(head(self._route, method, path, headers), body, has_body), patience)

    def _final_head(self, patience: Patience) -> Answer:
        while True:
            answer = self._head(patience)
            if not 100 <= answer.status < 200:
                return answer

    def _head(self, patience: Patience) -> Answer:
        received = self._received
        while (end := received.find(b"\r\n\r\n")) < 0:
            # Such as a server of another protocol, which would not say more.
            if len(received) > MAX_HEAD or (
                len(received) > 7 and not received.startswith(b"HTTP/1.")
            ):
                break
            data = patience.receive(self._peer)
            if not data:
                break
            received += data
        if not received:
            raise ClosedError("it did not answer in HTTP, but closed the connection")
        lines = received[: max(end, 0)].decode("latin-1").split("\r\n")
        protocol, _, rest = lines[0].partition(" ")
        status = rest.partition(" ")[0]
        if (
            len(status) != 3
            or end < 0
            or not protocol.startswith("HTTP/1.")
            or not status.isdecimal()
        ):
            raise NotHttpError(f"it did not answer in HTTP: {bytes(received[:80])!r}")
        del received[: end + 4]
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if protocol == "HTTP/1.0" or headers.get("connection", "").lower() == "close":
            self.is_reusable = False
        return Answer(int(status), lines[0], headers, b"")

    def _pieces(self, method: str, answer: Answer, patience: Patience) -> Iterator[bytes]:
        if method == "HEAD" or answer.status in (204, 304):
            return
        if answer.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks(patience)
        elif (length := answer.headers.get("content-length")) is not None:
            if not length.isdecimal():
                raise NotHttpError(f"the answer has a content-length of {length[:80]!r}")
            yield from self._exactly(int(length), patience)
        else:
            self.is_reusable = False
            while data := self._next(patience):
                yield data

    def _chunks(self, patience: Patience) -> Iterator[bytes]:
        while True:
            line = self._line(patience)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise NotHttpError(f"the answer has a chunk of size {line[:80]!r}") from None
            if size == 0:
                while self._line(patience):
                    pass  # trailers
                return
            yield from self._exactly(size, patience)
            self._line(patience)

    def _exactly(self, size: int, patience: Patience) -> Iterator[bytes]:
        while size:
            data = self._next(patience)
            if not data:
                raise NotHttpError(f"the answer was cut off, {size} bytes before its end")
            self._received += data[size:]
            data = data[:size]
            size -= len(data)
            yield data

    def _line(self, patience: Patience) -> bytes:
        begin = b""
        while (end := begin.find(b"\r\n")) < 0:
            data = self._next(patience)
            if not data or len(begin) > MAX_HEAD:
                raise NotHttpError("the answer was cut off, or is not in chunks as it says")
            begin += data
        self._received += begin[end + 2 :]
        return begin[:end]

    def _next(self, patience: Patience) -> bytes:
        data = bytes(self._received)
        self._received.clear()
        return data or patience.receive(self._peer)


def head(route: Route, method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The lines before a request's ``content-length``."""
    every = {"host": authority(route.host, route.port), **route.headers, **headers}
    lines = [f"{method} {route.prefix}{path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in every.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise NotHttpError("a line break in a header or an address cannot be sent")
    return "\r\n".join([*lines, ""]).encode("utf-8")


def request(head: bytes, body: bytes, has_body: bool = True) -> bytes:
    """A whole request, which begins with this `head`."""
    if not has_body:
        return head + b"\r\n"
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def ask(
    route: Route,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] = {},
    body: bytes = b"",
    timeout: float,
    over: Callable[[], bool] | None = None,
) -> Answer:
    """The answer to one request on a connection of its own, whole within `timeout` seconds.

    An answer that does not come is not waited for when `over()` says that it decides nothing.
    Raises `OSError`, so `TimeoutError` and `NotHttpError`.
    """
    patience = Patience(timeout, over=over)
    with Connection(route, timeout) as connection:
        headers = {"accept": "application/json", "connection": "close", **headers}
        return connection.ask(method, path, headers, body, patience)
