"""The requests of one connection, one after another, as the steps that answer them.

Strategy: a buffer that the connection fills, and a place in it: before a head, before a body that a
handler waits for, or after an upgrade, where what comes in is for whoever listens. No sockets; who
asks for the next answer too early gets nothing, and asks again when more has come in.
"""

from __future__ import annotations

from itertools import chain

from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.wire import answers, http1
from fake_shimmy.wire.body import BROKEN
from fake_shimmy.wire.head import RefusedError
from fake_shimmy.wire.steps import NoMessageError, Reset, unless_long

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.application import Application
    from fake_shimmy.api.interfaces import Client
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps, Upgrade

CONTINUE = (b"HTTP/1.1 100 Continue\r\n\r\n",)
"""Is no answer, but asks for the body."""


class Incoming:
    """What one connection is asked."""

    __slots__ = (
        "_head",
        "_pending",
        "_reader",
        "buffer",
        "has_ended",
        "is_unread",
        "is_upgraded",
        "listener",
    )

    def __init__(self) -> None:
        self._reader = http1.RequestReader()
        self.buffer = self._reader.buffer
        """What has come in and was not read yet."""
        self.has_ended = False
        """The running answer is the last, whatever its request says."""
        self.is_unread = False
        """The running answer began before the request's body was complete."""
        self.is_upgraded = False
        self._head: Head | None = None
        self._pending: PendingRequest | None = None
        """Waits for the body that belongs to the head."""
        self.listener: Upgrade | None = None
        """Gets what comes in after an upgrade, instead of the reader of requests."""

    @property
    def waits_for_body(self) -> bool:
        """Whether a head was read that is answered when its body is complete."""
        return self._pending is not None

    @property
    def is_last(self) -> bool:
        """Whether the connection ends after the running answer."""
        head = self._head
        return self.has_ended or head is None or not head.keep_alive

    def answer(self, application: Application, client: Client) -> Steps | None:
        """The steps that answer the next request, or :data:`CONTINUE`; nothing until enough of it
        has come in."""
        if self._pending is not None:
            return self._answer_body(self._pending)
        if self.listener is not None:
            return self._answer_message(self.listener)
        try:
            head = self._reader.read_head(application.head_ends)
        except RefusedError as error:
            self.has_ended = True
            self.buffer.clear()
            if error.unread:
                return (Reset(),)
            return (answers.refusal(self._head, error, application.server.date()),)
        if head is None:
            return None
        self._head = head
        response = application.respond(head, client)
        if not isinstance(response, PendingRequest):
            self.is_unread = not self._reader.skip_body()
            return response
        self._pending = response
        steps = self._answer_body(response)
        if head.expects_continue and (head.chunked or head.content_length):
            # Where the body is there already, hyper sends this with the answer, and not at all if
            # the handler panics (seen on 2.6.5 default).
            return CONTINUE if steps is None else chain(CONTINUE, steps)
        return steps

    def break_off(self) -> Steps | None:
        """The client sends no more: the steps that answer the body that it broke off, if it did."""
        pending, self._pending = self._pending, None
        if pending is None:
            return None
        self.has_ended = True
        return pending.broken()

    def skip_rest(self) -> bool:
        """Drop what there is of an unread body; whether that was all of it."""
        self.is_unread = not self._reader.skip_body()
        return not self.is_unread

    def upgrade(self, upgrade: Upgrade) -> None:
        """What comes in from here on is for ``upgrade``."""
        self.listener = upgrade
        self.is_upgraded = True

    def _answer_body(self, pending: PendingRequest) -> Steps | None:
        body = self._reader.read_body(pending.limit)
        if body is None:
            return None
        self._pending = None
        if isinstance(body, bytes):
            return unless_long(body, pending.answer)
        if body == BROKEN:
            self.has_ended = True
            return pending.broken()
        self.is_unread = not self._reader.skip_body()
        return pending.too_large()

    def _answer_message(self, upgrade: Upgrade) -> Steps | None:
        try:
            message = upgrade.read(self.buffer)
        except NoMessageError:
            steps: Steps = ()
        else:
            if message is None:
                return None
            steps = unless_long(message, upgrade.answer)
        self.listener = None
        self.has_ended = True
        return steps
