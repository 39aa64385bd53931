"""One request on its way through a script: what it gets, when, and what goes wrong with it.

Strategy: the application makes the answer as for any request, with an engine that says what was
scripted; the steps then pass through here, where they are timed, counted, damaged and recorded.
What has no script passes with a note at its end, and nothing more.
"""

from __future__ import annotations

import json
import time

from fake_shimmy.script.rules import ENDPOINTS
from fake_shimmy.stage import damage
from fake_shimmy.stage.journal import Record
from fake_shimmy.stage.player import Player
from fake_shimmy.stage.replies import StagedEngine
from fake_shimmy.wire import answers
from fake_shimmy.wire.steps import Cut, Pause, Sent, Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from fake_shimmy.api.app import App
    from fake_shimmy.api.routes import BodyHandler
    from fake_shimmy.api.watching import Client
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.script.rules import Answer, Failure
    from fake_shimmy.stage.director import Director
    from fake_shimmy.stage.session import Session
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

_WEBSOCKET = ENDPOINTS["websocket"].encode()
SWITCHED = 101
"""The status of a WebSocket."""


class Exchange:
    """A request of ``session`` and the answer that its script gives."""

    def __init__(self, director: Director, session: Session, head: Head, client: Client) -> None:
        self.session = session
        self.head = head
        self.is_timed = False
        """The script says when tokens are sent, and not the model."""
        self.reply: str | list[str] | None = None
        self.failure: str | Failure | None = None
        self.total = 0
        """Tokens of an answer that is sent whole."""
        self.record: Record | None = None
        self._director = director
        self._client = client
        self._answer: Answer | None = None
        self._use = ""
        self._loaded_at = 0.0
        self._generates = False

    def engine(self, engine: Engine) -> Engine:
        """``engine`` as this request finds it."""
        return StagedEngine(engine, self)

    def loads(self, model: str) -> None:
        """``model`` is about to answer."""
        self._generates = True
        self._loaded_at = self.session.load_until(model)

    def answer(self, app: App, handler: BodyHandler, head: Head, body: bytes) -> Steps:
        """The steps that answer ``body``, as scripted."""
        try:
            return self._answered(app, handler, head, body)
        except Exception:
            # What the real one does not survive either.
            self.end("cut")
            raise

    def _answered(self, app: App, handler: BodyHandler, head: Head, body: bytes) -> Steps:
        record = self._begin(body)
        request = record.request
        if not self.speaks_http:
            record.status = SWITCHED
        is_generation = self._director.is_generation(request)
        choice = self.session.choose(request, is_generation)
        if choice is None:
            if self.session.strict and is_generation:
                return self.observed(self._refused(app, record))
            return self.observed(handler(app, head, body))
        record.rule, record.rule_name = choice.state.id, choice.state.name
        record.answer = choice.index
        self._answer = choice.answer
        self._use = f"{choice.state.id}:{choice.number}"
        self.reply, self.failure = choice.answer.reply, choice.answer.fail
        if self.failure is None:
            return self.observed(handler(app, head, body))
        return self.observed(self._failed(app, handler, head, body))

    def observed(self, steps: Steps) -> Steps:
        """``steps``, timed, damaged and recorded on their way."""
        latency = self.session.latency
        if self._answer is not None and self._answer.latency is not None:
            latency = self._answer.latency
        self.is_timed = latency.is_timed
        record = self._begin(b"")
        if isinstance(steps, tuple):
            first = steps[0] if steps else b""
            if isinstance(first, Work):
                work = first.work
                return (Work(lambda: self.observed(work())),)
            is_plain = self._answer is None and not self.is_timed and not self._loaded_at
            if is_plain and not self.session.serialise and isinstance(first, bytes):
                record.sends(first)
                record.tokens = self.total
                return (*steps, Sent(self._complete))
        faults = [] if self._answer is None else self._answer.faults
        return Player(self, record, latency, faults, self._use).play(steps)

    def turn(self, record: Record) -> Generator[Step, None, float]:
        """The steps until this request's model may answer; how long after the request it may."""
        seconds = 0.0
        wait = self._loaded_at - time.monotonic()
        if wait > 0:
            seconds = self._loaded_at - record.begun
            yield Pause(wait)
        if self.session.serialise and self._generates and (yield from self.session.take_turn(self)):
            seconds = time.monotonic() - record.begun
        return seconds

    def end(self, how: str) -> None:
        """The answer is over; only the first end counts."""
        record = self.record
        if record is None or record.ended is not None:
            return
        self._client.left = None
        record.end(how)
        self.session.end_turn(self)
        self.session.end(record)
        self._director.answered(record)

    @property
    def speaks_http(self) -> bool:
        """Whether the answer is one of HTTP, and not of a WebSocket."""
        return self.head.path != _WEBSOCKET

    def framing(self, is_whole: bool) -> str:
        """How the pieces of its answer are framed; see :mod:`damage`."""
        if not self.speaks_http:
            return damage.FRAMES
        if is_whole:
            return damage.BODY
        return damage.LINES if self.head.is_1_0 else damage.CHUNKS

    def _begin(self, body: bytes) -> Record:
        """The record, which begins with the first call."""
        if self.record is None:
            request = self._director.request(self.head, body)
            self.record = Record(request, self._client.number)
            self.session.begin(self.record)
            self._client.left = self._left
            if self._client.closed:
                # A long body was being read aside.
                self._left()
        return self.record

    def _left(self) -> None:
        self.end("client_left")

    def _complete(self) -> None:
        self.end("complete")

    def _refused(self, app: App, record: Record) -> Steps:
        record.unmatched = True
        record.nearest = self.session.nearest(record.request)
        text = f"no rule of the script matches this request; nearest: {record.nearest}"
        error = {"code": "no_rule_matches", "message": text, "type": "invalid_request_error"}
        body = json.dumps({"error": error}, ensure_ascii=False).encode()
        if self.speaks_http:
            return (app.json(self.head, body, b"400 Bad Request"),)
        from fake_shimmy.wire.websocket import text_frame

        return (text_frame(json.dumps({"error": text}, ensure_ascii=False)),)

    def _failed(self, app: App, handler: BodyHandler, head: Head, body: bytes) -> Steps:
        failure = self.failure
        if isinstance(failure, str):
            if failure == "unprocessable":
                return handler(app, head, b"{}")
            if failure == "bad_json":
                return handler(app, head, b"{")
            if failure == "model_not_found":
                app.registry = app.registry.without_models()
            if failure not in ("too_large", "unsupported_media_type"):
                return handler(app, head, body)
            if self.speaks_http:
                is_large = failure == "too_large"
                return app.too_large(head) if is_large else app.no_json(head)
        if failure is None or isinstance(failure, str) or not self.speaks_http:
            # The WebSocket has had its status: all that is left to refuse is to go on.
            return (Cut(),)
        return (_whole(app, head, failure),)


def _whole(app: App, head: Head, failure: Failure) -> bytes:
    body = failure.body
    raw = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
    headers = {name.lower(): value for name, value in failure.headers.items()}
    if raw:
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        headers = {"content-type": kind, **headers}
    lines = [f"{failure.status} {_reason(failure.status)}".rstrip(" ")]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    status = "\r\n".join([*lines, ""]).encode("latin-1")
    return answers.answer(head, status, raw, app.date())


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "<none>"
