"""Whose request it is, and what has been recorded for whom, inside the recorder.

Strategy: as on the fake, a test process is known by its API key, or by the path ``/~KEY``. What it
asks belongs to the cassette that it has named last; it takes the exchanges when a test is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fake_shimmy.script.same_request import read_body, read_json
from fake_shimmy.script.timed_answer import AskedRequest, Recording, TimedAnswer

from .readers import AnswerReader, RequestHead, first

KEY_HEADERS = ("authorization", "x-api-key", "api-key")
CREDENTIALS = (*KEY_HEADERS, "proxy-authorization", "cookie")


class Exchange:
    """One request on its way, and its answer as far as it has come."""

    def __init__(self, session: Session, cassette: str, server: int, head: RequestHead) -> None:
        self.cassette = cassette
        self.reader = AnswerReader(head.method)
        self.credentials = [value for name, value in head.headers if name in CREDENTIALS]
        self._session = session
        self._server = server
        self._method = head.method
        self._path = head.target
        self._body = bytearray()
        self._messages: list[Any] | None = None
        self._before = 0
        """How many frames the server had sent when the first message came."""
        self._after: list[int] = []
        self._moments: list[float] = []
        """Where in the answer, and when, each message but the first came."""
        self.asked_at = time.monotonic()
        """When the request was whole, or began where it is not."""
        self.answer: TimedAnswer | None = None
        session.begun(self)

    def heard(self, content: bytes) -> None:
        """A part of the request's body."""
        self._body += content

    def asked(self) -> None:
        """The request is complete: from now on, time counts."""
        self.asked_at = time.monotonic()

    def message(self, message: bytes) -> None:
        """The client said something over a WebSocket."""
        if self._messages is None:
            self._messages = []
            self._before = len(self.reader.answer.chunks)
            self.asked()
        else:
            self._after.append(len(self.reader.answer.chunks))
            self._moments.append(self.moment())
        text = message.decode("utf-8", "replace")
        value = read_json(text)
        self._messages.append(text if value is ... else value)

    def moment(self) -> float:
        """Milliseconds since the request was complete."""
        return round(max(0.0, (time.monotonic() - self.asked_at) * 1000), 1)

    def feed(self, data: bytes) -> bytes:
        """A part of the answer; returns what belongs to the next one."""
        rest = self.reader.feed(data, self.moment())
        if self.reader.is_complete:
            self._over(self.reader.answer)
        return rest

    def end(self, how: str) -> None:
        """There will be no more of the answer; see `AnswerReader.end`."""
        if self.answer is None:
            self._over(self.reader.end(how, self.moment()))

    @property
    def is_awaited(self) -> bool:
        """Whether it is the server's turn; of an open WebSocket that is not known."""
        return self.answer is None and not self.reader.is_upgraded

    def waiting(self) -> dict[str, Any]:
        """What is waited for, and since when."""
        return {
            "request": f"{self._method} {self._path.partition('?')[0]}",
            "seconds": self.moment() / 1000,
            "chunks": len(self.reader.answer.chunks),
        }

    def recording(self) -> Recording:
        """The exchange as it is written; credentials are in it as they were sent."""
        assert self.answer is not None
        body = read_body(bytes(self._body))
        if self._messages is not None:
            body |= {
                "messages": self._messages,
                "before": self._before,
                "after": self._after,
                "moments": self._moments,
            }
        request = AskedRequest(method=self._method, path=self._path, **body)
        return Recording(server=self._server, request=request, answer=self.answer)

    def _over(self, answer: TimedAnswer) -> None:
        self.answer = answer
        self._session.ended()


class Session:
    """What one test process has asked."""

    def __init__(self) -> None:
        self.cassette = ""
        self.server = 0
        """The number of the test's own server that this recorder stands before."""
        self._exchanges: list[Exchange] = []
        self._listeners: list[Callable[[], None]] = []

    def begun(self, exchange: Exchange) -> None:
        """A request has come."""
        self._exchanges.append(exchange)

    def ended(self) -> None:
        """An answer has ended."""
        listeners, self._listeners = self._listeners, []
        for call in listeners:
            call()

    @property
    def in_flight(self) -> int:
        """How many answers have not ended."""
        return sum(each.answer is None for each in self._exchanges)

    def waiting(self) -> list[dict[str, Any]]:
        """The answers that are waited for, the oldest first."""
        return [each.waiting() for each in self._exchanges if each.is_awaited]

    def on_end(self, call: Callable[[], None]) -> None:
        """Call once, when an answer ends."""
        self._listeners.append(call)

    def take(self) -> list[dict[str, Any]]:
        """All exchanges since the last time, as plain values. What is in flight is cut there."""
        # A replay chooses when a request is whole, or the first message over a WebSocket has come.
        taken = sorted(self._exchanges, key=lambda exchange: exchange.asked_at)
        self._exchanges = []
        since_epoch = time.time() - time.monotonic()
        for exchange in taken:
            exchange.end("left")
        return [
            {
                "cassette": exchange.cassette,
                "time": exchange.asked_at + since_epoch,
                "credentials": exchange.credentials,
                "recording": exchange.recording().document(),
            }
            for exchange in taken
        ]


class Sessions:
    """The sessions by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, Session] = {}

    def owner(self, head: RequestHead) -> tuple[str, Session | None, RequestHead]:
        """The key that a request was sent with, the session that it belongs to, and its head
        without a key in the path. One session alone gets what has no key."""
        if head.target.startswith("/~"):
            name, slash, rest = head.target[2:].partition("/")
            if slash and name in self.by_key:
                line = " ".join((head.method, f"/{rest}", *head.lines[0].split(" ")[2:]))
                lines = [line, *head.lines[1:]]
                return name, self.by_key[name], head._replace(lines=lines, target=f"/{rest}")
        key = key_of(head)
        if key in self.by_key:
            return key, self.by_key[key], head
        if len(self.by_key) == 1:
            return key, next(iter(self.by_key.values())), head
        return key, None, head


def key_of(head: RequestHead) -> str:
    """The API key of a request; empty where there is none."""
    authorization = first(head.headers, "authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
    return first(head.headers, "x-api-key") or first(head.headers, "api-key") or ""
