"""Who may script what: sessions, the keys that tell them apart, and the control route.

Strategy: every request belongs to the session of its API key; a path that begins with ``/~KEY/``
says the key for code that cannot. What has no session of its own belongs to the anonymous one.
Without a token there is no control route; with a wrong one there is none either.
"""

from __future__ import annotations

from collections import deque

from fake_shimmy.script.matching import Request
from fake_shimmy.script.rules import ENDPOINTS, Script
from fake_shimmy.stage.exchange import Exchange
from fake_shimmy.stage.session import Session
from fake_shimmy.wire.head import Head
from fake_shimmy.wire.steps import Hang, Upgrade

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.api.app import App
    from fake_shimmy.api.watching import Client, Responded
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.stage.life import Lifetime
    from fake_shimmy.wire.steps import Steps

CONTROL_PATH = b"/fake-shimmy/control"
TOKEN_HEADER = b"x-fake-shimmy-control"
ANONYMOUS = ""
HARNESS_KEY = "shimmy-harness"
"""The API key of pytest-shimmy's own questions, which are not counted."""

MAX_SESSIONS = 1024
"""Sessions at once; the oldest is dropped for the next."""

STRAYS = 20
"""How many requests without a session of their own are remembered."""

KNOWN_HEADS = 64
USUAL_HEADERS = 2048
"""Bytes of a head that may be kept."""

_PATHS = frozenset(ENDPOINTS.values())


class Director:
    """The sessions of one server, whose script is ``base``, if it has one. ``token`` is what
    control requests must know; nothing means that there are none."""

    def __init__(self, base: Script | None, token: str | None, lifetime: Lifetime | None) -> None:
        self.base = Script() if base is None else base
        self.sessions = {ANONYMOUS: Session(self.base, self.base)}
        self.strays: deque[dict[str, str]] = deque(maxlen=STRAYS)
        self.stray_count = 0
        self.request_count = 0
        """Requests of all sessions, for good: each head that was understood, but for the harness's
        own, control requests, health checks without a session, and those a scripted life fails."""
        # Heads that are alike are one object.
        self._headers: dict[Head, list[tuple[str, str]]] = {}
        self._token = token.encode() if token else None
        self._lifetime = lifetime

    def respond(
        self, app: App, head: Head, client: Client, route: Callable[[App, Head], Responded]
    ) -> Responded:
        """The answer to ``head``, or what answers its body."""
        if head.path == CONTROL_PATH and self._may_control(head, client):
            from fake_shimmy.stage import control

            return None, lambda app, head, body: control.respond(self, app, head, body)
        if head.path == b"/health" and self._lifetime is not None:
            ill = self._ill(app, head, self._lifetime.health())
            if ill is not None:
                return ill, None
        session, head = self._session_of(head)
        exchange = Exchange(self, session, head, client)
        view = app.seen_by(exchange)
        steps, handler = route(view, head)
        if handler is not None:
            read = handler
            client.unread = exchange.observed
            return None, lambda _app, _head, body: view.handle(read, head, body)
        assert steps is not None
        if isinstance(steps, tuple) and isinstance(steps[-1], Upgrade):
            # What counts is the message that will come.
            return steps, None
        return view.handle(lambda _app, _head, _body: steps, head, b""), None

    def open(self, key: str, script: Script) -> Session:
        """A fresh session for ``key``."""
        session = Session(self.base, script)
        self.sessions.pop(key, None)
        self.sessions[key] = session
        while len(self.sessions) > MAX_SESSIONS:
            oldest = next(name for name in self.sessions if name != ANONYMOUS)
            del self.sessions[oldest]
        return session

    def close(self, key: str) -> None:
        """Forget a session; the anonymous one begins anew."""
        if key == ANONYMOUS:
            self.open(key, self.base)
        else:
            self.sessions.pop(key, None)

    def request(self, head: Head, body: bytes) -> Request:
        """The facts of a request."""
        headers = self._headers.get(head)
        if headers is None:
            headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
            ]
            if sum(len(name) + len(value) for name, value in headers) <= USUAL_HEADERS:
                if len(self._headers) >= KNOWN_HEADS:
                    self._headers.clear()
                self._headers[head] = headers
        return Request(head.method.decode("latin-1"), head.path.decode("latin-1"), headers, body)

    def is_generation(self, request: Request) -> bool:
        """Whether a request asks a model."""
        return request.path in _PATHS

    def answered(self, record: Record) -> None:
        """An answer is over."""
        if self._lifetime is not None:
            self._lifetime.answered(record.request.path)

    def _ill(self, app: App, head: Head, health: str) -> Steps | None:
        if health == "ok":
            return None
        if health == "silent":
            return (Hang(),)
        if health == "garbage":
            return (app.text(head, b"200 OK", b"\xff\x00 this is no health"),)
        return (app.answer(head, b"503 Service Unavailable\r\n", b""),)

    def _may_control(self, head: Head, client: Client) -> bool:
        if self._token is None or head.method != b"POST":
            return False
        import hmac

        given = head.header(TOKEN_HEADER) or b""
        return hmac.compare_digest(given, self._token) and client.is_local()

    def _session_of(self, head: Head) -> tuple[Session, Head]:
        if head.path.startswith(b"/~"):
            name, slash, rest = head.path[2:].partition(b"/")
            session = self.sessions.get(name.decode("latin-1")) if name and slash else None
            if session is not None:
                self.request_count += 1
                return session, _with_path(head, b"/" + rest)
        key = _key_of(head)
        session = self.sessions.get(key) if key else None
        if key != HARNESS_KEY and (session is not None or head.path != b"/health"):
            self.request_count += 1
        if session is None:
            session = self.sessions[ANONYMOUS]
            if len(self.sessions) > 1 and head.path != b"/health":
                self.stray_count += 1
                method, path = head.method.decode("latin-1"), head.path.decode("latin-1")
                self.strays.append({"method": method, "path": path, "key": key})
        return session, head


def _key_of(head: Head) -> str:
    value = head.header(b"authorization")
    if value is not None:
        scheme, _, key = value.partition(b" ")
        if scheme.lower() == b"bearer":
            return key.strip().decode("latin-1")
    return (head.header(b"x-api-key") or b"").decode("latin-1")


def _with_path(head: Head, path: bytes) -> Head:
    # Heads are shared between requests that are alike.
    other = Head(head.method, path, head.is_1_0)
    for name in Head.__slots__:
        if name != "path":
            setattr(other, name, getattr(head, name))
    return other
