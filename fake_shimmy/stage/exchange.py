"""The answer of one scripted request: the application asked, the rule chosen, the steps played.

Strategy: the application makes the answer as for any request, with an engine that asks for a rule
when shimmy has found nothing to refuse; so a refused request uses no answer up. What a rule says
that the model layer cannot is thrown out of the handler as :class:`_Diverted`. All steps pass a
player, which times, counts, damages and records them; what has no script passes with a note at its
end, and nothing more.
"""

from __future__ import annotations

import json
from itertools import chain

from fake_shimmy.api.context import Context
from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.stage.headers import put_into
from fake_shimmy.stage.player import Player
from fake_shimmy.stage.replies import StagedEngine
from fake_shimmy.wire.steps import Cut, Sent, Upgrade, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.interfaces import Client, Responder, Response
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.script.rules import Failure, Rule
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.stage.session import Choice
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Answer: TypeAlias = Callable[[bytes], Steps]
    """The answer to a body, or to a message of a WebSocket."""

SWITCHED = 101
"""The status of a WebSocket."""

BEYOND = {"x-fake-shimmy": "no shimmy answers like this"}
"""The header of answers that no shimmy gives."""

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body that shimmy does not read, and a rule does."""

_BY_MODEL = ("load_failed", "generation_failed")
"""Failures that the model layer has."""


class _Diverted(Exception):  # noqa: N818 - it is no error
    """The script answers, and the handler that asked for a model does not."""


class Exchange:
    """``request`` on its way to ``inner`` and back."""

    __slots__ = ("_choice", "_client", "_context", "_inner", "_request")

    def __init__(
        self, request: ScriptedRequest, context: Context, client: Client, inner: Responder
    ) -> None:
        self._request = request
        self._context = context
        self._client = client
        self._inner = inner
        self._choice: Choice | None = None

    def respond(self) -> Response:
        """The answer, or what answers the body."""
        replay = self._request.session.replay
        if replay is not None:
            return self._respond_from(replay)
        response = self._ask(self._context.registry)
        request, head = self._request, self._request.head
        session = request.session
        if isinstance(response, PendingRequest):
            is_lenient = session.is_lenient and session.answers_refused(request.facts(b""))
            return _ScriptedBody(response, self, LARGEST_BODY if is_lenient else response.limit)
        upgrade = _upgrade_of(response)
        if upgrade is None:
            steps = response
            facts = request.facts(b"") if head.chunked or head.content_length else None
            if facts is not None and (session.opens(facts) or session.answers_refused(facts)):
                # Rules that name the path may ask for what is in the body.
                pending = PendingRequest(self._context, head, lambda *_: steps, LARGEST_BODY)
                return _ScriptedBody(pending, self, LARGEST_BODY)
            return self.answer(lambda _: steps, b"")
        # What counts is the message that will come.
        read, answer = upgrade.read, upgrade.answer
        *before, _ = response
        return (*before, Upgrade(read, lambda message: self.answer(answer, message)))

    def answer(self, answer: Answer, body: bytes) -> Steps:
        """The steps that answer ``body``, as scripted; by itself ``answer`` would."""
        try:
            return self.observed(self._answered(answer, body))
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
            is_all = isinstance(first, bytes) and len(steps) == 1
            if is_all and request.is_plain and not latency.is_timed:
                record.sends_tokens(first, request.total)
                return (first, Sent(request.complete))
        return Player(request, record, latency, request.faults).play(steps)

    def _respond_from(self, replay: Replay) -> Response:
        """The same from recordings: only the whole request tells which."""
        from fake_shimmy.stage.recorded import (
            RecordedBody,
            accepting,
            spoken_first,
            target_of,
            unasked,
            wants_socket,
        )

        head = self._request.head
        pending = RecordedBody(self._context, head, self._application)
        if not wants_socket(head):
            return _ScriptedBody(pending, self, pending.limit)
        opened = replay.open(target_of(head))
        if opened is None:
            # It was refused, or it was not recorded.
            return self.answer(self._application, b"")
        accepted = accepting(opened.answer, head)
        if not opened.is_asked:
            record = self._request.begin(b"")
            record.status, record.rule_name = SWITCHED, f"cassette {replay.current}"
            return chain((accepted,), self.observed(unasked(self._request, opened, replay)))
        from fake_shimmy.wire.websocket import MessageReader

        read = MessageReader().read
        upgrade = Upgrade(read, lambda message: self.answer(self._application, message))
        return (accepted, *spoken_first(opened, replay), upgrade)

    def _application(self, body: bytes) -> Steps:
        """What the application says to a whole request."""
        response = self._ask(self._context.registry)
        if isinstance(response, PendingRequest):
            return response.answer(body)
        upgrade = _upgrade_of(response)
        return response if upgrade is None else upgrade.answer(body)

    def _replayed(self, replay: Replay, answer: Answer, body: bytes) -> Steps:
        """The recorded answer, unless a rule says another one; its faults are for either."""
        request = self._request
        self._choose(lambda rule: request.is_generation or rule.when.opens)
        choice = self._choice
        if choice is not None:
            is_other = request.reply is not None or request.failure is not None
            if choice.missed or is_other or choice.answer.is_beyond:
                return self._scripted(answer, body)
        from fake_shimmy.stage.recorded import asked_by, missed, steps_of

        asked = asked_by(request, body)
        found = replay.find(asked)
        if found is None:
            return missed(request, self._context, asked)
        record = request.begin(body)
        names = (record.rule_name, f"cassette {replay.current}")
        record.rule_name = " on ".join(filter(None, names))
        return steps_of(request, asked, found, replay)

    def _ask(self, registry: Registry) -> Response:
        """What the application says to the head, where ``registry`` has its models."""
        context = self._context
        engine = StagedEngine(context.engine, self._request)
        asking = Context(context.server, registry, engine, context.cors)
        return self._inner(asking, self._request.head, self._client)

    def _answered(self, answer: Answer, body: bytes) -> Steps:
        request = self._request
        session = request.session
        record = request.begin(body)
        if not request.speaks_http:
            record.status = SWITCHED
        if session.replay is not None:
            return self._replayed(session.replay, answer, body)
        if request.failure is not None or not (session.rules or session.strict):
            return answer(body)
        if not request.is_generation:
            self._choose(lambda rule: rule.when.opens)
            return answer(body) if self._choice is None else self._scripted(answer, body)
        request.accept = self._accept
        try:
            steps = answer(body)
        except _Diverted:
            return self._scripted(answer, body)
        if request.accept is None:
            return steps if request.answer is None else put_into(steps, request.answer.headers)
        # Shimmy has refused it.
        request.accept = None
        self._choose(lambda rule: not session.validates(rule))
        if self._choice is not None:
            return self._scripted(answer, body)
        self._note_refusal(record, steps)
        return steps

    def _accept(self) -> None:
        """The request is one that shimmy answers: choose who does. Raises :class:`_Diverted`."""
        request = self._request
        self._choose(lambda _: True)
        choice = self._choice
        if choice is None:
            self._note_unmatched(request.begin(b""))
            if request.session.strict:
                raise _Diverted
            return
        failure = request.failure
        if choice.missed or choice.answer.is_beyond:
            raise _Diverted
        if failure is not None and failure not in _BY_MODEL:
            raise _Diverted

    def _choose(self, asked: Callable[[Rule], bool]) -> None:
        request = self._request
        self._choice = choice = request.session.choose(request.begin(b"").request, asked)
        if choice is not None and not choice.missed:
            request.takes(choice)

    def _scripted(self, answer: Answer, body: bytes) -> Steps:
        """The answer that was chosen, without the model."""
        request, choice = self._request, self._choice
        record = request.begin(b"")
        if choice is None:
            return self._refused("no rule of the script matches this request; nearest: ", record)
        if choice.missed:
            record.unexpected, record.nearest = True, choice.complaint()
            return self._refused("this is not the request that was expected: ", record)
        if request.failure is not None:
            return self._failed(request.failure, answer, body)
        if not request.speaks_http:
            return answer(body)
        from fake_shimmy.stage.answers import beyond

        steps = beyond.render(self._context, request, choice.answer)
        if steps is None:
            return answer(body)
        record.beyond = True
        return put_into(steps, {**choice.answer.headers, **BEYOND})

    def _note_refusal(self, record: Record, steps: Steps) -> None:
        record.refusal = _reason_in(steps)
        record.refused_rule = self._request.session.first_match(record.request)

    def _note_unmatched(self, record: Record) -> None:
        record.unmatched = True
        record.nearest = self._request.session.nearest(record.request)

    def _refused(self, why: str, record: Record) -> Steps:
        text = why + str(record.nearest)
        error = {"code": "no_rule_matches", "message": text, "type": "invalid_request_error"}
        body = json.dumps({"error": error}, ensure_ascii=False).encode()
        if self._request.speaks_http:
            return (self._context.json(self._request.head, body, b"400 Bad Request"),)
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
        return put_into((_whole(context, head, failure),), failure.headers)

    def _answer_without_models(self, answer: Answer) -> Answer:
        """What would answer if no model could be found."""
        response = self._ask(self._context.registry.without_models())
        if isinstance(response, PendingRequest):
            return response.answer
        upgrade = _upgrade_of(response)
        return answer if upgrade is None else upgrade.answer


class _ScriptedBody(PendingRequest):
    """``pending``, whose answers pass ``exchange``. A body over its limit is read up to another
    ``limit``, for the rules that shimmy's does not hold for."""

    __slots__ = ("_exchange", "_pending")

    def __init__(self, pending: PendingRequest, exchange: Exchange, limit: int) -> None:
        self._pending = pending
        self._exchange = exchange
        self.limit = limit

    def answer(self, body: bytes) -> Steps:
        if len(body) > self._pending.limit:
            return self._exchange.answer(lambda _: self._pending.too_large(), body)
        return self._exchange.answer(self._pending.answer, body)

    def too_large(self) -> Steps:
        return self._exchange.observed(self._pending.too_large())

    def broken(self) -> Steps:
        return self._exchange.observed(self._pending.broken())


def _upgrade_of(steps: Steps) -> Upgrade | None:
    last = steps[-1] if isinstance(steps, tuple) and steps else None
    return last if isinstance(last, Upgrade) else None


def _reason_in(steps: Steps) -> str:
    """Why shimmy refuses a request, from its answer."""
    data = steps[0] if isinstance(steps, tuple) and steps else b""
    if not isinstance(data, bytes):
        return ""
    text = data.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
    try:
        message = json.loads(text)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        message = text
    return str(message)


def _whole(context: Context, head: Head, failure: Failure) -> bytes:
    body, raw = failure.body, failure.base64
    if raw is None and isinstance(body, str):
        raw = body.encode()
    elif raw is None:
        raw = json.dumps(body, ensure_ascii=False).encode()
    status = f"{failure.status} {_reason(failure.status)}".rstrip(" ")
    if raw and "content-type" not in failure.headers:
        is_text = isinstance(body, str) and failure.base64 is None
        kind = "text/plain; charset=utf-8" if is_text else "application/json"
        kind = kind if failure.base64 is None else "application/octet-stream"
        status += f"\r\ncontent-type: {kind}"
    return context.answer(head, f"{status}\r\n".encode("latin-1"), raw)


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "<none>"
