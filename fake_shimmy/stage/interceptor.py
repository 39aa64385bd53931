"""The layer that follows scripts: around the application, which knows nothing of it.

Strategy: it takes control requests and scripted ill health for itself; every other request goes
through its session. Without a token there is no control route; with a wrong one there is none
either.
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # as hmac has it, which loads OpenSSL

from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.stage.exchange import Exchange
from fake_shimmy.wire.steps import Hang

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Responder, Response
    from fake_shimmy.stage.life import Lifetime
    from fake_shimmy.stage.sessions import Sessions
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

LARGEST_MESSAGE = 1 << 30
"""Bytes of a control request, which may have all recordings of a test in it."""

CONTROL_PATH = b"/fake-shimmy/control"
TOKEN_HEADER = b"x-fake-shimmy-control"


class Interceptor:
    """The layer of ``sessions``. ``token`` is what control requests must know; None means that
    there are none. ``lifetime`` decides on health, and is told what was answered."""

    def __init__(self, sessions: Sessions, token: str | None, lifetime: Lifetime | None) -> None:
        self._sessions = sessions
        self._token = token.encode() if token else None
        self._lifetime = lifetime
        self._is_failing = lifetime is not None and lifetime.is_failing
        self._answered = (
            lifetime.answered if lifetime is not None and lifetime.counts_answers else None
        )

    def around(self, inner: Responder) -> Responder:
        """What answers by the script, with ``inner`` for the application."""
        self._inner = inner
        return self._respond

    def _respond(self, context: Context, head: Head, client: Client) -> Response:
        if head.path == CONTROL_PATH and self._may_control(head, client):
            return PendingRequest(context, head, self._control, LARGEST_MESSAGE)
        if head.path == b"/health" and self._lifetime is not None:
            ill = _ill(context, head, self._lifetime.health())
            if ill is not None:
                return ill
        session, known = self._sessions.of(head)
        exchange = Exchange(session, known, context, client, self._answered)
        if self._is_failing:
            exchange.failure = "load_failed"
        return exchange.respond(self._inner)

    def _control(self, context: Context, head: Head, body: bytes) -> Steps:
        from fake_shimmy.stage import control

        return control.respond(self._sessions, context, head, body)

    def _may_control(self, head: Head, client: Client) -> bool:
        if self._token is None or head.method != b"POST":
            return False
        given = head.header(TOKEN_HEADER) or b""
        return compare_digest(given, self._token) and client.is_local()


def _ill(context: Context, head: Head, health: str) -> Steps | None:
    """What a health check is answered that finds this; None where all is well."""
    if health == "ok":
        return None
    if health == "silent":
        return (Hang(),)
    if health == "garbage":
        return (context.text(head, b"200 OK", b"\xff\x00 this is no health"),)
    return (context.answer(head, b"503 Service Unavailable\r\n", b""),)
