"""One request as its script sees it: what it gets, and what is known of its answer.

Strategy: no more than what the model layer and the player need to know of it, and the record of it
in the journal, which begins when the request is complete and ends once.
"""

from __future__ import annotations

import time

from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.stage import damage
from fake_shimmy.stage.journal import Record
from fake_shimmy.wire.steps import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client
    from fake_shimmy.script.rules import Answer, Failure, Fault, Latency
    from fake_shimmy.script.timed_answer import TimedAnswer
    from fake_shimmy.stage.known_head import KnownHead
    from fake_shimmy.stage.session import Choice, Session
    from fake_shimmy.wire.steps import Step


class ScriptedRequest(PendingRequest):
    """The request of a head in ``session``; ``answered`` is told its path when it is over."""

    record: Record
    """From :meth:`begin` on."""
    is_open = False
    """It has begun and is not over."""
    latency: Latency
    """When the tokens are due, from :meth:`begin` on."""
    is_timed = False
    """The script says when tokens are sent, and not the model."""
    faults: Sequence[Fault] = ()
    """What goes wrong with the answer."""
    scripted: Answer | None = None
    """What the script answers."""
    reply: str | list[str] | None = None
    failure: str | Failure | None = None
    total = 0
    """Tokens of an answer that is sent whole."""
    recorded: TimedAnswer | None = None
    """The recorded answer that it gets."""
    _choice: Choice | None = None
    _loaded_at = 0.0
    _generates = False

    def __init__(
        self,
        session: Session,
        known: KnownHead,
        context: Context,
        client: Client,
        answered: Callable[[str], None] | None,
    ) -> None:
        self.session = session
        self.context = context
        self.head = known.head
        self.known = known
        self._client = client
        self._answered = answered

    def begin(self, body: bytes) -> Record:
        """The record of it, which is complete."""
        client, session = self._client, self.session
        record = self.record = Record(self.known, body, client.number)
        self.latency = session.latency
        self.is_open = True
        session.begin(record)
        client.left = self._left
        if client.closed:
            # A long body was being read aside.
            self._left()
        return record

    def end(self, how: str = "complete") -> None:
        """The answer is over; only the first end counts."""
        if not self.is_open:
            return
        self.is_open = False
        self._client.left = None
        record = self.record
        record.end(how)
        self.session.end(record, self)
        if self._answered is not None:
            self._answered(record.path)

    @property
    def use(self) -> str:
        """Which use of which rule it is, for what happens by chance."""
        choice = self._choice
        return "" if choice is None else f"{choice.state.id}:{choice.number}"

    def turn(self) -> Generator[Step, None, float]:
        """The steps until this request's model may answer; how long after the request it may."""
        record = self.record
        seconds = 0.0
        wait = self._loaded_at - time.monotonic()
        if wait > 0:
            seconds = self._loaded_at - record.begun
            yield Pause(wait)
        if self.session.serialise and self._generates and (yield from self.session.take_turn(self)):
            seconds = time.monotonic() - record.begun
        return seconds

    def framing(self, is_whole: bool) -> str:
        """How the pieces of the answer are framed; see :mod:`damage`."""
        if self.recorded is not None and not is_whole:
            framings = {"chunked": damage.CHUNKS, "frames": damage.FRAMES}
            return framings.get(self.recorded.framing, damage.LINES)
        if not self.known.speaks_http:
            return damage.FRAMES
        if is_whole:
            return damage.BODY
        return damage.LINES if self.head.is_1_0 else damage.CHUNKS

    def _left(self) -> None:
        self.end("client_left")
