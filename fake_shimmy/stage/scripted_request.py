"""One request as its script sees it: what it gets, and what is known of its answer.

Strategy: no more than what the model layer and the player need to know of it, and the record of it
in the journal, which begins when the request is complete and ends once.
"""

from __future__ import annotations

import time

from fake_shimmy.script.rules import ENDPOINTS
from fake_shimmy.stage import damage
from fake_shimmy.stage.journal import Record
from fake_shimmy.stage.patterns import LimitedRequest
from fake_shimmy.wire.steps import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from fake_shimmy.api.interfaces import Client
    from fake_shimmy.script.rules import Answer, Failure, Fault, Latency
    from fake_shimmy.script.timed_answer import TimedAnswer
    from fake_shimmy.stage.session import Choice, Session
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step

_GENERATIONS = frozenset(ENDPOINTS.values())
_WEBSOCKET = ENDPOINTS["websocket"].encode()

KNOWN_HEADS = 64
USUAL_HEADERS = 2048
"""Bytes of a head that may be kept."""


class ScriptedRequest:
    """The request of ``head`` in ``session``; ``answered`` is told its path when it is over."""

    def __init__(
        self, session: Session, head: Head, client: Client, answered: Callable[[str], None]
    ) -> None:
        self.session = session
        self.head = head
        self.speaks_http = head.path != _WEBSOCKET
        """Whether the answer is one of HTTP, and not of a WebSocket."""
        self.is_timed = False
        """The script says when tokens are sent, and not the model."""
        self.accept: Callable[[], None] | None = None
        """Called when shimmy has found nothing to refuse, and the model is to answer."""
        self.answer: Answer | None = None
        self.reply: str | list[str] | None = None
        self.failure: str | Failure | None = None
        self.total = 0
        """Tokens of an answer that is sent whole."""
        self.recorded: TimedAnswer | None = None
        """The recorded answer that it gets."""
        self.use = ""
        """Which use of which rule it is, for what happens by chance."""
        self._record: Record | None = None
        self._client = client
        self._answered = answered
        self._loaded_at = 0.0
        self._generates = False

    def facts(self, body: bytes) -> LimitedRequest:
        """What rules see of it."""
        return _facts(self.head, body)[0]

    def begin(self, body: bytes) -> Record:
        """The record, which begins with the first call."""
        record = self._record
        if record is None:
            facts, size = _facts(self.head, body)
            record = self._record = Record(facts, size, self._client.number)
            self.session.begin(record)
            self._client.left = self._left
            if self._client.closed:
                # A long body was being read aside.
                self._left()
        return record

    def end(self, how: str) -> None:
        """The answer is over; only the first end counts."""
        record = self._record
        if record is None or record.ended is not None:
            return
        self._client.left = None
        record.end(how)
        self.session.end_turn(self)
        self.session.end(record)
        self._answered(record.request.path)

    def complete(self) -> None:
        """The answer was sent to its end."""
        self.end("complete")

    def takes(self, choice: Choice) -> None:
        """The script gives this answer."""
        record = self.begin(b"")
        record.rule, record.rule_name = choice.state.id, choice.state.name
        record.answer = choice.index
        self.answer = choice.answer
        self.reply, self.failure = choice.answer.reply, choice.answer.fail
        self.use = f"{choice.state.id}:{choice.number}"

    def loads(self, model: str) -> None:
        """``model`` is about to answer."""
        accept, self.accept = self.accept, None
        if accept is not None:
            accept()
        self._generates = True
        self._loaded_at = self.session.load_until(model)

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

    @property
    def latency(self) -> Latency:
        """When the tokens are due."""
        if self.answer is not None and self.answer.latency is not None:
            return self.answer.latency
        return self.session.latency

    @property
    def faults(self) -> list[Fault]:
        """What goes wrong with the answer."""
        return [] if self.answer is None else self.answer.faults

    @property
    def is_plain(self) -> bool:
        """Whether the answer leaves at once, as the application made it."""
        return not self.faults and not self._loaded_at and not self.session.serialise

    @property
    def is_generation(self) -> bool:
        """Whether it asks a model."""
        return self.begin(b"").request.path in _GENERATIONS

    def framing(self, is_whole: bool) -> str:
        """How the pieces of the answer are framed; see :mod:`damage`."""
        if self.recorded is not None and not is_whole:
            framings = {"chunked": damage.CHUNKS, "frames": damage.FRAMES}
            return framings.get(self.recorded.framing, damage.LINES)
        if not self.speaks_http:
            return damage.FRAMES
        if is_whole:
            return damage.BODY
        return damage.LINES if self.head.is_1_0 else damage.CHUNKS

    def _left(self) -> None:
        self.end("client_left")


# Heads that are alike are one object.
_known_heads: dict[Head, tuple[str, str, list[tuple[str, str]], int]] = {}


def _facts(head: Head, body: bytes) -> tuple[LimitedRequest, int]:
    """What rules see of a request, and how many bytes its headers have."""
    known = _known_heads.get(head)
    if known is None:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        ]
        size = sum(len(name) + len(value) for name, value in headers)
        known = head.method.decode("latin-1"), head.path.decode("latin-1"), headers, size
        if size <= USUAL_HEADERS:
            if len(_known_heads) >= KNOWN_HEADS:
                _known_heads.clear()
            _known_heads[head] = known
    method, path, headers, size = known
    return LimitedRequest(method, path, headers, body), size
