"""The answer of one scripted request: the application asked, the rule chosen, the steps played.

Strategy: the application makes the answer as for any request, with the exchange for its engine,
which asks for a rule when shimmy has found nothing to refuse; so a refused request uses no answer
up, and what would not load does not load. What a rule says that the model layer cannot is thrown
out of the handler as :class:`_Diverted`. All steps pass a player, which times, counts, damages and
records them; what has no script passes with a note at its end, and nothing more.
"""

from __future__ import annotations

import json
from itertools import chain

from fake_shimmy.api.chat_request import document_in
from fake_shimmy.api.context import Context
from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.models.engine import Engine, LoadError
from fake_shimmy.stage.headers import put_into
from fake_shimmy.stage.player import Player
from fake_shimmy.stage.replies import StagedModel
from fake_shimmy.stage.scripted_request import ScriptedRequest
from fake_shimmy.wire.steps import Cut, Upgrade, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.interfaces import Responder, Response
    from fake_shimmy.models.engine import LoadedModel
    from fake_shimmy.models.registry import ModelSpec, Registry
    from fake_shimmy.script.rules import Failure
    from fake_shimmy.stage.journal import Record
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.session import Choice, RuleState
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
    """The script answers with its ``choice``, and the handler that asked for a model does not."""

    def __init__(self, choice: Choice | None) -> None:
        super().__init__(choice)
        self.choice = choice


class Exchange(ScriptedRequest, Engine):
    """A request on its way to the application and back, and the engine that it finds there."""

    _inner: Responder
    """The application."""
    _pending: PendingRequest
    """What answers its body, where the application asks for one."""
    _is_judged = True
    """Shimmy is not looking for something to refuse."""

    def respond(self, inner: Responder) -> Response:
        """The answer, or what answers the body, where ``inner`` is the application."""
        self._inner = inner
        session = self.session
        if session.replay is not None:
            return self._respond_from(session.replay)
        known = self.known
        if known.speaks_http:
            # Which engine there is matters when the body has come.
            response = inner(self.context, self.head, self._client)
        else:
            response = self._ask(self.context.registry)
        if isinstance(response, PendingRequest):
            is_lenient = session.lenient and session.answers_refused(known)
            self._pending = response
            self.limit = LARGEST_BODY if is_lenient else response.limit
            return self
        upgrade = _upgrade_of(response)
        if upgrade is None:
            steps, head = response, self.head
            has_body = head.chunked or head.content_length
            if has_body and (session.opens(known) or session.answers_refused(known)):
                # Rules that name the path may ask for what is in the body.
                pending = PendingRequest(self.context, head, lambda *_: steps, LARGEST_BODY)
                return self._awaiting(pending, LARGEST_BODY)
            return self._play(lambda _: steps, b"")
        # What counts is the message that will come.
        read, answer = upgrade.read, upgrade.answer
        *before, _ = response
        return (*before, Upgrade(read, lambda message: self._play(answer, message)))

    def answer(self, body: bytes) -> Steps:
        pending = self._pending
        del self._pending  # it knows this exchange
        if len(body) > pending.limit:
            return self._play(lambda _: pending.too_large(), body)
        return self._play(lambda asked: pending.answer_with(self, asked), body)

    def too_large(self) -> Steps:
        self.begin(b"")
        return self._observed(self._pending.too_large())

    def broken(self) -> Steps:
        self.begin(b"")
        return self._observed(self._pending.broken())

    def _awaiting(self, pending: PendingRequest, limit: int) -> Exchange:
        """This exchange, with the body still to come that ``pending`` answers. It is read up to
        ``limit``, which is above that of ``pending`` where rules take what shimmy does not."""
        self._pending = pending
        self.limit = limit
        return self

    def _play(self, answer: Answer, body: bytes) -> Steps:
        """The steps that answer ``body``, as scripted; by itself ``answer`` would."""
        self.begin(body)
        try:
            return self._observed(self._answered_by(answer, body))
        except Exception:
            # What the real one does not survive either.
            self.end("cut")
            raise

    def _observed(self, steps: Steps) -> Steps:
        """``steps``, timed, damaged and recorded on their way."""
        latency = self.latency
        self.is_timed = latency.is_timed
        if isinstance(steps, tuple) and len(steps) == 1:
            (only,) = steps
            if isinstance(only, bytes):
                is_late = self.is_timed or self._loaded_at or self.session.serialise
                if not is_late and not self.faults:
                    # It leaves at once, as it was made.
                    self.record.sends_tokens(only, self.total)
                    self._client.sent = self.end
                    return steps
            elif isinstance(only, Work):
                work = only.work
                return (Work(lambda: self._observed(work())),)
        return Player(self, latency).play(steps)

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

        head = self.head
        pending = RecordedBody(self.context, head, self._application)
        if not wants_socket(head):
            return self._awaiting(pending, pending.limit)
        opened = replay.open(target_of(head))
        if opened is None:
            # It was refused, or it was not recorded.
            return self._play(self._application, b"")
        accepted = accepting(opened.answer, head)
        if not opened.is_asked:
            record = self.begin(b"")
            record.status, record.rule_name = SWITCHED, f"cassette {replay.current}"
            return chain((accepted,), self._observed(unasked(self, opened, replay)))
        from fake_shimmy.wire.websocket import MessageReader

        read = MessageReader().read
        upgrade = Upgrade(read, lambda message: self._play(self._application, message))
        return (accepted, *spoken_first(opened, replay), upgrade)

    def _application(self, body: bytes) -> Steps:
        """What the application says to a whole request."""
        response = self._ask(self.context.registry)
        if isinstance(response, PendingRequest):
            return response.answer(body)
        upgrade = _upgrade_of(response)
        return response if upgrade is None else upgrade.answer(body)

    def _replayed(self, replay: Replay, answer: Answer, body: bytes) -> Steps:
        """The recorded answer, unless a rule says another one; its faults are for either."""
        session = self.session
        choice = self._choose(session.rules if self.known.is_generation else session.opening)
        if choice is not None:
            is_other = self.reply is not None or self.failure is not None
            if choice.missed or is_other or choice.answer.is_beyond:
                return self._scripted(choice, answer, body)
        from fake_shimmy.stage.recorded import asked_by, missed, steps_of

        asked = asked_by(self, body)
        found = replay.find(asked)
        if found is None:
            return missed(self, self.context, asked)
        names = (self.record.rule_name, f"cassette {replay.current}")
        self.record.rule_name = " on ".join(filter(None, names))
        return steps_of(self, asked, found, replay)

    def _ask(self, registry: Registry) -> Response:
        """What the application says to the head, where ``registry`` has its models."""
        context = self.context
        asking = Context(context.server, registry, self, context.cors)
        return self._inner(asking, self.head, self._client)

    def _answered_by(self, answer: Answer, body: bytes) -> Steps:
        session = self.session
        if not self.known.speaks_http:
            self.record.status = SWITCHED
        if session.replay is not None:
            return self._replayed(session.replay, answer, body)
        if self.failure is not None or not (session.rules or session.strict):
            return answer(body)
        if not self.known.is_generation:
            choice = self._choose(session.opening)
            return answer(body) if choice is None else self._scripted(choice, answer, body)
        self._is_judged = False
        try:
            steps = answer(body)
        except _Diverted as diverted:
            return self._scripted(diverted.choice, answer, body)
        if self._is_judged:
            if self.scripted is None or not self.scripted.headers:
                return steps
            return put_into(steps, self.scripted.headers)
        # Shimmy has refused it.
        self._is_judged = True
        choice = self._choose(session.lenient)
        if choice is not None:
            return self._scripted(choice, answer, body)
        self.record.refusal = _reason_in(steps)
        self.record.refused_rule = session.first_match(self.record)
        return steps

    def load(self, spec: ModelSpec) -> LoadedModel:
        session = self.session
        model = self.context.engine.load(spec)
        if not self._is_judged:
            # The request is one that shimmy answers: choose who does.
            self._is_judged = True
            record = self.record
            document = document_in(record.body)
            if document is not ...:
                record.json = document  # which shimmy has just read
            choice = self._choose(session.rules)
            if choice is None:
                record.unmatched = True
                record.nearest = session.nearest(record)
                if session.strict:
                    raise _Diverted(None)
            elif (
                choice.missed
                or choice.answer.is_beyond
                or not (self.failure is None or self.failure in _BY_MODEL)
            ):
                raise _Diverted(choice)
        self._generates = True
        if session.load_time:
            self._loaded_at = session.load_until(spec.name)
        if self.failure == "load_failed":
            raise LoadError("scripted failure")
        return StagedModel(model, self)

    def _choose(self, rules: list[RuleState]) -> Choice | None:
        """The answer that these rules give, if they give one; what is expected of the request may
        be missed."""
        record = self.record
        choice = self.session.choose(record, rules)
        if choice is not None and not choice.missed:
            state, answer = choice.state, choice.answer
            record.rule, record.rule_name, record.answer = state.id, state.name, choice.index
            self._choice, self.scripted = choice, answer
            self.reply, self.failure, self.faults = answer.reply, answer.fail, answer.faults
            if answer.latency is not None:
                self.latency = answer.latency
        return choice

    def _scripted(self, choice: Choice | None, answer: Answer, body: bytes) -> Steps:
        """The answer that was chosen, without the model."""
        record = self.record
        if choice is None:
            return self._refused("no rule of the script matches this request; nearest: ", record)
        if choice.missed:
            record.unexpected, record.nearest = True, choice.complaint()
            return self._refused("this is not the request that was expected: ", record)
        if self.failure is not None:
            return self._failed(self.failure, answer, body)
        if not self.known.speaks_http:
            return answer(body)
        from fake_shimmy.stage.answers import beyond

        steps = beyond.render(self.context, self, choice.answer)
        if steps is None:
            return answer(body)
        record.beyond = True
        return put_into(steps, {**choice.answer.headers, **BEYOND})

    def _refused(self, why: str, record: Record) -> Steps:
        text = why + str(record.nearest)
        error = {"code": "no_rule_matches", "message": text, "type": "invalid_request_error"}
        body = json.dumps({"error": error}, ensure_ascii=False).encode()
        if self.known.speaks_http:
            return (self.context.json(self.head, body, b"400 Bad Request"),)
        from fake_shimmy.wire.websocket import text_frame

        return (text_frame(json.dumps({"error": text}, ensure_ascii=False)),)

    def _failed(self, failure: str | Failure, answer: Answer, body: bytes) -> Steps:
        context, head = self.context, self.head
        if isinstance(failure, str):
            if failure == "unprocessable":
                return answer(b"{}")
            if failure == "bad_json":
                return answer(b"{")
            if failure == "model_not_found":
                return self._answer_without_models(answer)(body)
            if failure not in ("too_large", "unsupported_media_type"):
                return answer(body)
            if self.known.speaks_http:
                is_large = failure == "too_large"
                return context.too_large(head) if is_large else context.no_json(head)
        if isinstance(failure, str) or not self.known.speaks_http:
            # The WebSocket has had its status: all that is left to refuse is to go on.
            return (Cut(),)
        return put_into((_whole(context, head, failure),), failure.headers)

    def _answer_without_models(self, answer: Answer) -> Answer:
        """What would answer if no model could be found."""
        response = self._ask(self.context.registry.without_models())
        if isinstance(response, PendingRequest):
            return response.answer
        upgrade = _upgrade_of(response)
        return answer if upgrade is None else upgrade.answer


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
