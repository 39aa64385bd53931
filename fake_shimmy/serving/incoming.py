"""The requests of one connection, one after another, as the steps that answer them.

Strategy: a buffer that the connection fills, and a place in it: before a head, before a body that a
handler waits for, or after an upgrade, where what comes in is for whoever listens. No sockets; who
asks for the next answer too early gets nothing, and asks again when more has come in.
"""

from __future__ import annotations

from fake_shimmy.api.app import MAX_BODY
from fake_shimmy.wire import answers, http1
from fake_shimmy.wire.body import BROKEN
from fake_shimmy.wire.head import RefusedError
from fake_shimmy.wire.steps import unless_long

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.api.app import App
    from fake_shimmy.api.routes import BodyHandler
    from fake_shimmy.api.watching import Client
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

CONTINUE = (b"HTTP/1.1 100 Continue\r\n\r\n",)
"""Is no answer, but asks for the body."""


class Incoming:
    """What one connection is asked."""

    __slots__ = (
        "_handler",
        "_head",
        "_reader",
        "_receive",
        "buffer",
        "has_ended",
        "is_unread",
        "is_upgraded",
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
        self._handler: BodyHandler | None = None
        """Waits for the body that belongs to the head."""
        self._receive: Callable[[bytearray], Steps | None] | None = None
        """Gets what comes in, instead of the reader of requests."""

    @property
    def waits_for_body(self) -> bool:
        """Whether a head was read that is answered when its body is complete."""
        return self._handler is not None

    @property
    def is_listening(self) -> bool:
        """Whether somebody gets what comes in after an upgrade."""
        return self._receive is not None

    @property
    def is_last(self) -> bool:
        """Whether the connection ends after the running answer."""
        head = self._head
        return self.has_ended or head is None or not head.keep_alive

    def answer(self, app: App, client: Client) -> Steps | None:
        """The steps that answer the next request, or :data:`CONTINUE`; nothing until enough of it
        has come in."""
        if self._handler is not None:
            return self._answer_body(app, client, self._handler)
        if self._receive is not None:
            return self._answer_message(self._receive)
        try:
            head = self._reader.read_head()
        except RefusedError as error:
            self.has_ended = True
            self.buffer.clear()
            return (answers.refusal(self._head, error, app.date()),)
        if head is None:
            return None
        self._head = head
        steps, self._handler = app.respond(head, client)
        if self._handler is None:
            self.is_unread = not self._reader.skip_body()
            return steps
        if head.expects_continue and (head.chunked or head.content_length):
            return CONTINUE
        return self._answer_body(app, client, self._handler)

    def break_off(self, app: App, client: Client) -> Steps | None:
        """The client sends no more: the steps that answer the body that it broke off, if it did."""
        if self._handler is None:
            return None
        assert self._head is not None
        self._handler = None
        self.has_ended = True
        return _unread(client, app.broken_body(self._head))

    def skip_rest(self) -> bool:
        """Drop what there is of an unread body; whether that was all of it."""
        self.is_unread = not self._reader.skip_body()
        return not self.is_unread

    def upgrade(self, receive: Callable[[bytearray], Steps | None]) -> None:
        """What comes in from here on is for ``receive``."""
        self._receive = receive
        self.is_upgraded = True

    def _answer_body(self, app: App, client: Client, handler: BodyHandler) -> Steps | None:
        head = self._head
        assert head is not None
        body = self._reader.read_body(MAX_BODY)
        if body is None:
            return None
        self._handler = None
        if isinstance(body, bytes):
            client.unread = None
            return unless_long(len(body), lambda: handler(app, head, body))
        if body == BROKEN:
            self.has_ended = True
            return _unread(client, app.broken_body(head))
        self.is_unread = not self._reader.skip_body()
        return _unread(client, app.too_large(head))

    def _answer_message(self, receive: Callable[[bytearray], Steps | None]) -> Steps | None:
        steps = receive(self.buffer)
        if steps is not None:
            self._receive = None
            self.has_ended = True
        return steps


def _unread(client: Client, steps: Steps) -> Steps:
    """``steps``, past whoever wants to see the answer to a body that was not read."""
    observe, client.unread = client.unread, None
    return steps if observe is None else observe(steps)
