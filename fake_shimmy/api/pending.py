"""A request whose head was read, and that is answered when its body has come."""

from __future__ import annotations

from fake_shimmy.api.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.models.engine import Engine
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    BodyHandler: TypeAlias = Callable[[Context, Head, bytes], Steps]

MAX_BODY = 2 * 1024 * 1024
"""Longest request body in bytes."""


class PendingRequest:
    """The request of ``head``, which ``handler`` answers."""

    __slots__ = ("_handler", "context", "head", "limit")

    def __init__(
        self, context: Context, head: Head, handler: BodyHandler, limit: int = MAX_BODY
    ) -> None:
        self.limit = limit
        self.context = context
        self.head = head
        self._handler = handler

    def answer(self, body: bytes) -> Steps:
        """The steps that answer the request with ``body``."""
        return self._handler(self.context, self.head, body)

    def answer_with(self, engine: Engine, body: bytes) -> Steps:
        """The same with the models of ``engine``."""
        own = self.context
        context = Context(own.server, own.registry, engine, own.cors)
        return self._handler(context, self.head, body)

    def too_large(self) -> Steps:
        """The answer to a body of more than ``limit`` bytes."""
        return self.context.too_large(self.head)

    def broken(self) -> Steps:
        """The answer to a body whose framing is wrong, or that ends too early."""
        return self.context.broken_body(self.head)
