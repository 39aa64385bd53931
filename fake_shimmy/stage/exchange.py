"""The answer of one scripted request: the rule is chosen, the application asked, the steps played.

Strategy: the application makes the answer as for any request, with an engine that says what was
scripted; the steps then pass a player, which times, counts, damages and records them. What has no
script passes with a note at its end, and nothing more.
"""

from __future__ import annotations

import json

from fake_shimmy.api.context import Context
from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.stage.player import Player
from fake_shimmy.stage.replies import StagedEngine
from fake_shimmy.wire.steps import Cut, Sent, Upgrade, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.interfaces import Client, Responder, Response
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.script.rules import Failure
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Answer: TypeAlias = Callable[[bytes], Steps]
    """The answer to a body, or to a message of a WebSocket."""

SWITCHED = 101
"""The status of a WebSocket."""


class Exchange:
    """``request`` on its way to ``inner`` and back."""

    __slots__ = ("_client", "_context", "_inner", "_request")

    def __init__(
        self, request: ScriptedRequest, context: Context, client: Client, inner: Responder
    ) -> None:
        self._request = request
        self._context = context
        self._client = client
        self._inner = inner

    def respond(self) -> Response:
        """The answer, or what answers the body."""
        response = self._ask(self._context.registry)
        if isinstance(response, PendingRequest):
            return _ScriptedBody(response, self)
        upgrade = _upgrade_of(response)
        if upgrade is None:
            steps = response
            return self.answer(lambda _: steps, b"")
        # What counts is the message that will come.
        read, answer = upgrade.read, upgrade.answer
        *before, _ = response
        return (*before, Upgrade(read, lambda message: self.answer(answer, message)))

    def answer(self, answer: Answer, body: bytes) -> Steps:
        """The steps that answer ``body``, as scripted; by itself ``answer`` would."""
        try:
            return self._answered(answer, body)
        except Exception:
            # What the real one does not survive either.
            self._request.end("cut")
            raise

    def observed(self, steps: Steps) -> Steps:
        """``steps``, timed, damaged and recorded on their way."""
        request = self._request
        record = request.begin(b"")
        latency = request.latency
        request.is_timed = latency.is_timed
        if isinstance(steps, tuple):
            first = steps[0] if steps else b""
            if isinstance(first, Work):
                work = first.work
                return (Work(lambda: self.observed(work())),)
            if request.is_plain and not latency.is_timed and isinstance(first, bytes):
                record.sends(first)
                record.tokens = request.total
                return (*steps, Sent(request.complete))
        return Player(request, record, latency, request.faults).play(steps)

    def _ask(self, registry: Registry) -> Response:
        """What the application says to the head, where ``registry`` has its models."""
        context = self._context
        engine = StagedEngine(context.engine, self._request)
        asking = Context(context.server, registry, engine, context.cors)
        return self._inner(asking, self._request.head, self._client)

    def _answered(self, answer: Answer, body: bytes) -> Steps:
        request = self._request
        record = request.begin(body)
        if not request.speaks_http:
            record.status = SWITCHED
        is_generation = request.is_generation
        choice = request.session.choose(record.request, is_generation)
        if choice is None:
            if request.session.strict and is_generation:
                return self.observed(self._unmatched(record))
            return self.observed(answer(body))
        request.takes(choice)
        if request.failure is None:
            return self.observed(answer(body))
        return self.observed(self._failed(request.failure, answer, body))

    def _unmatched(self, record: Record) -> Steps:
        request = self._request
        record.unmatched = True
        record.nearest = request.session.nearest(record.request)
        text = f"no rule of the script matches this request; nearest: {record.nearest}"
        error = {"code": "no_rule_matches", "message": text, "type": "invalid_request_error"}
        body = json.dumps({"error": error}, ensure_ascii=False).encode()
        if request.speaks_http:
            return (self._context.json(request.head, body, b"400 Bad Request"),)
        from fake_shimmy.wire.websocket import text_frame

        return (text_frame(json.dumps({"error": text}, ensure_ascii=False)),)

    def _failed(self, failure: str | Failure, answer: Answer, body: bytes) -> Steps:
        context, head = self._context, self._request.head
        if isinstance(failure, str):
            if failure == "unprocessable":
                return answer(b"{}")
            if failure == "bad_json":
                return answer(b"{")
            if failure == "model_not_found":
                return self._answer_without_models(answer)(body)
            if failure not in ("too_large", "unsupported_media_type"):
                return answer(body)
            if self._request.speaks_http:
                is_large = failure == "too_large"
                return context.too_large(head) if is_large else context.no_json(head)
        if isinstance(failure, str) or not self._request.speaks_http:
            # The WebSocket has had its status: all that is left to refuse is to go on.
            return (Cut(),)
        return (_whole(context, head, failure),)

    def _answer_without_models(self, answer: Answer) -> Answer:
        """What would answer if no model could be found."""
        response = self._ask(self._context.registry.without_models())
        if isinstance(response, PendingRequest):
            return response.answer
        upgrade = _upgrade_of(response)
        return answer if upgrade is None else upgrade.answer


class _ScriptedBody(PendingRequest):
    """``pending``, whose answers pass ``exchange``."""

    __slots__ = ("_exchange", "_pending")

    def __init__(self, pending: PendingRequest, exchange: Exchange) -> None:
        self._pending = pending
        self._exchange = exchange

    def answer(self, body: bytes) -> Steps:
        return self._exchange.answer(self._pending.answer, body)

    def too_large(self) -> Steps:
        return self._exchange.observed(self._pending.too_large())

    def broken(self) -> Steps:
        return self._exchange.observed(self._pending.broken())


def _upgrade_of(steps: Steps) -> Upgrade | None:
    last = steps[-1] if isinstance(steps, tuple) and steps else None
    return last if isinstance(last, Upgrade) else None


def _whole(context: Context, head: Head, failure: Failure) -> bytes:
    body = failure.body
    raw = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    headers = {name.lower(): value for name, value in failure.headers.items()}
    if raw:
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        headers = {"content-type": kind, **headers}
    lines = [f"{failure.status} {_reason(failure.status)}".rstrip(" ")]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    status = "\r\n".join([*lines, ""]).encode("latin-1")
    return context.answer(head, status, raw)


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "<none>"
