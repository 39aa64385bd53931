"""Does a server answer ``/health`` as shimmy?

Asked over a bare socket: it runs every two milliseconds while a server starts, and an HTTP library
costs more to load than the fake takes to be ready. A healthy answer may come from another process
that holds the port; `port_owner` tells.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..addresses import authority

CONTROL_ROUTE = "/fake-shimmy/control"
"""Of the bundled fake; see `control`."""

MAX_ANSWER = 64 * 1024
OVER_INTERVAL = 0.05
"""Seconds between two looks at whether an answer still matters."""


class Probe(NamedTuple):
    """What one look at ``/health`` saw."""

    healthy: bool
    """It answered 200 as shimmy."""
    answered: bool
    """Something answered, whatever it said."""
    seen: str
    """In words, for an error message."""
    version: str | None = None
    """The version in the answer."""


def probe(host: str, port: int, timeout: float, over: Callable[[], bool] = lambda: False) -> Probe:
    """Ask ``GET /health`` once, within `timeout` seconds. Never raises for what the peer does.

    An answer that does not come is not waited for when `over()` says that it decides nothing.
    """
    request = (
        f"GET /health HTTP/1.1\r\nhost: {authority(host, port)}\r\n"
        "accept: application/json\r\nconnection: close\r\n\r\n"
    )
    try:
        answer = _exchange(host, port, request, timeout, over)
    except TimeoutError:
        return Probe(False, False, f"no answer from {host}:{port} within {timeout:g} s")
    except ConnectionRefusedError:
        return Probe(False, False, f"nothing listens on {host}:{port}")
    except OSError as error:
        return Probe(False, False, f"{host}:{port}: {error}")
    return _judge(answer)


def requests_sent(host: str, port: int, token: str) -> int | None:
    """How many requests the fake there has been sent; None when it does not say at once."""
    question = '{"op": "totals"}'
    request = (
        f"POST {CONTROL_ROUTE} HTTP/1.1\r\nhost: {authority(host, port)}\r\nconnection: close\r\n"
        f"x-fake-shimmy-control: {token}\r\ncontent-length: {len(question)}\r\n\r\n{question}"
    )
    try:
        document = _document(_exchange(host, port, request, 0.5))
    except OSError:
        return None
    count = document.get("requests") if document is not None else None
    return count if isinstance(count, int) else None


def _exchange(
    host: str, port: int, request: str, timeout: float, over: Callable[[], bool] = lambda: False
) -> bytes:
    """Everything that comes back, whole within `timeout`. Raises `OSError`."""
    deadline = time.monotonic() + timeout
    answer = bytearray()
    with socket.create_connection((host, port), timeout) as peer:
        peer.sendall(request.encode())
        while len(answer) < MAX_ANSWER:
            # The limit is for the whole answer: a peer that drips bytes must not extend it.
            left = max(0.001, deadline - time.monotonic())
            peer.settimeout(min(left, OVER_INTERVAL))
            try:
                data = peer.recv(16384)
            except TimeoutError:
                if left <= OVER_INTERVAL or over():
                    raise
                continue
            if not data:
                break
            answer += data
    return bytes(answer)


def _judge(answer: bytes) -> Probe:
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    parts = status_line.split(" ", 2)
    if not parts[0].startswith("HTTP/1.") or len(parts) < 2:
        return Probe(False, True, f"/health did not answer in HTTP: {answer[:80]!r}")
    if parts[1] != "200":
        return Probe(False, True, f"/health answered {status_line!r}")
    document = _document(answer)
    if document is None or not is_shimmy(document):
        return Probe(False, True, f"/health answered 200, but not as shimmy: {body[:80]!r}")
    version = document.get("version")
    return Probe(True, True, "healthy", version if isinstance(version, str) else None)


def _document(answer: bytes) -> dict[str, Any] | None:
    """The JSON object in the body of an answer."""
    _, _, body = answer.partition(b"\r\n\r\n")
    # From brace to brace: a proxy or another release may answer in chunks.
    start, end = body.find(b"{"), body.rfind(b"}")
    try:
        document = json.loads(body[start : end + 1]) if start >= 0 else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def version_at(url: str, timeout: float = 1.0) -> str | None:
    """The version of the shimmy at `url`; None when it does not say at once (or over TLS)."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path:
        return None
    return probe(parts.hostname or "", parts.port or 80, timeout).version


def is_shimmy(document: Any) -> bool:
    """Whether a parsed ``/health`` body is shimmy's (seen on 2.5.0)."""
    return isinstance(document, dict) and document.get("service") == "shimmy"
