"""A load generator over raw sockets, so that the client does not set the pace.

It knows as much HTTP as its purpose needs: answers to the same request are equally long, and an
event stream ends with an empty chunk.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

RECV = 256 * 1024
LAST_CHUNK = b"0\r\n\r\n"
EVENT = b"data: {"
TIMEOUT = 60.0


def chat_request(model: str, content: str, **fields: Any) -> bytes:
    """One keep-alive POST of a chat completion."""
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    ).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"content-type: application/json\r\naccept: */*\r\nauthorization: Bearer benchmark\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )


def connect(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def first_event(port: int, request: bytes) -> float:
    """Milliseconds from a request to the first event of its answer."""
    with connect(port) as peer:
        began = time.perf_counter()
        peer.sendall(request)
        received = b""
        while EVENT not in received:
            received += peer.recv(RECV)
        return 1000 * (time.perf_counter() - began)


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """That many connections, closed afterwards."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


class Rate(NamedTuple):
    done: int
    per_second: float
    client_share: float
    """Of one core's time that the client itself used: near 1, it may be what limits."""


def answer_length(peer: socket.socket, request: bytes) -> int:
    """Bytes of the whole answer, after a look at what it says."""
    peer.sendall(request)
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        answer += _receive(peer)
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        while not body.endswith(LAST_CHUNK):
            body += _receive(peer)
    else:
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        while len(body) < length:
            body += _receive(peer)
    if not lines[0].startswith(b"http/1.1 200") or b'"message"' not in body:
        raise RuntimeError(f"not a chat completion: {bytes(answer[:500])!r}")
    return len(head) + 4 + len(body)


def skip(peer: socket.socket, length: int) -> None:
    """Take an answer of so many bytes, and do not look at it."""
    while length:
        length -= len(_receive(peer))


def request_rate(port: int, request: bytes, count: int, seconds: float) -> Rate:
    """Answers per second over `count` keep-alive connections, one request at a time on each."""
    with connections(port, count) as peers:
        length = answer_length(peers[0], request)
        cpu = time.process_time()
        began = time.perf_counter()
        exchange = _one_by_one if count == 1 else _all_at_once
        done = exchange(peers, request, length, began + seconds)
        elapsed = time.perf_counter() - began
        return Rate(done, done / elapsed, (time.process_time() - cpu) / elapsed)


def _one_by_one(peers: list[socket.socket], request: bytes, length: int, end: float) -> int:
    (peer,) = peers
    peer.settimeout(None)  # with a time-out every call is two
    done = 0
    while time.perf_counter() < end:
        peer.send(request)
        missing = length
        while missing:
            missing -= len(_receive(peer))
        done += 1
    return done


def _all_at_once(peers: list[socket.socket], request: bytes, length: int, end: float) -> int:
    missing = dict.fromkeys(peers, length)
    done = 0
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            peer.setblocking(False)
            selector.register(peer, selectors.EVENT_READ)
            peer.send(request)
        while time.perf_counter() < end:
            for key, _ in selector.select(TIMEOUT):
                peer = key.fileobj  # type: ignore[assignment]
                left = missing[peer] - len(_receive(peer))
                if not left:
                    done += 1
                    left = length
                    peer.send(request)
                missing[peer] = left
    return done


class Stream(NamedTuple):
    """One event stream, in milliseconds since its request."""

    first_event: float
    total: float
    events: int


def stream(peer: socket.socket, request: bytes) -> Stream:
    """Request one event stream and take it to its end."""
    began = time.perf_counter()
    peer.sendall(request)
    parts = []
    first = 0.0
    while True:
        parts.append(_receive(peer))
        if not first and EVENT in b"".join(parts):
            first = time.perf_counter()
        if parts[-1].endswith(LAST_CHUNK) or b"".join(parts[-2:]).endswith(LAST_CHUNK):
            total = time.perf_counter()
            break
    answer = b"".join(parts)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not a stream: {answer[:500]!r}")
    return Stream(1000 * (first - began), 1000 * (total - began), answer.count(EVENT))


class Streams(NamedTuple):
    """Several event streams at once."""

    events_per_second: float
    last_first_event: float
    """Milliseconds until every stream had its first event."""
    fairness: float
    """How far the slowest stream was (0 to 1) when the first one was done. A client that was
    held up between its requests makes it small, too: look at the median of several rounds."""
    client_share: float
    gaps: list[float]
    """Milliseconds between events of one stream; empty unless asked for."""


def streams(port: int, request: bytes, count: int, keep_gaps: bool = False) -> Streams:
    """Request `count` event streams at once and take them to their ends."""
    with connections(port, count) as peers, selectors.DefaultSelector() as selector:
        received = dict.fromkeys(peers, 0)
        tails = dict.fromkeys(peers, b"")
        events = dict.fromkeys(peers, 0)
        latest: dict[socket.socket, float] = {}
        gaps: list[float] = []
        open_ = count
        first_done: list[int] = []
        all_begun = 0.0
        cpu = time.process_time()
        for peer in peers:
            peer.setblocking(False)
            selector.register(peer, selectors.EVENT_READ)
        began = time.perf_counter()
        for peer in peers:
            peer.send(request)
        while open_:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise RuntimeError(f"{open_} of {count} streams stalled")
            for key, _ in ready:
                peer = key.fileobj  # type: ignore[assignment]
                data = _receive(peer)
                now = time.perf_counter()
                new = data.count(EVENT)
                if peer not in latest and new:
                    latest[peer] = now
                    if len(latest) == count:
                        all_begun = now
                elif keep_gaps and new:
                    # Events that arrive together have no gap between them.
                    gaps.append(1000 * (now - latest[peer]))
                    gaps.extend([0.0] * (new - 1))
                    latest[peer] = now
                events[peer] += new
                received[peer] += len(data)
                tails[peer] = tail = (tails[peer] + data)[-len(LAST_CHUNK) :]
                if tail == LAST_CHUNK:
                    if not first_done:
                        first_done = list(received.values())
                    selector.unregister(peer)
                    open_ -= 1
        elapsed = time.perf_counter() - began
        share = (time.process_time() - cpu) / elapsed
        return Streams(
            sum(events.values()) / elapsed,
            1000 * (all_begun - began),
            min(first_done) / max(received.values()),
            share,
            gaps,
        )


def _receive(peer: socket.socket) -> bytes:
    data = peer.recv(RECV)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data
