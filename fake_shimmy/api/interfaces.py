"""What the application asks of those around it: protocols, and nothing else.

Strategy: a layer sees a request before the next one inside does, and its answer after it. It may
answer itself, pass on another head or context, or change what the inner ones answer; none knows
what is around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.pending import PendingRequest
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Response: TypeAlias = Steps | PendingRequest
    """The answer to a head, or what answers its body."""

    Responder: TypeAlias = Callable[[Context, Head, "Client"], Response]

    Layer: TypeAlias = Callable[[Responder], Responder]
    """Puts itself around what would answer."""


class Client(Protocol):
    """A connection, as far as a layer may know it."""

    number: int
    closed: bool
    left: Callable[[], None] | None
    """Called when the connection ends, by whomever."""
    sent: Callable[[], None] | None
    """Called, once, when the running answer was given to the system."""

    def is_local(self) -> bool:
        """Whether it comes from this machine."""
