"""What an application knows of those who may watch it: protocols, and nothing else.

Strategy: who follows a script sees every request before the routes do, and every answer before
the client. The application does not know how that is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.app import App
    from fake_shimmy.api.routes import BodyHandler
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Responded: TypeAlias = tuple[Steps | None, BodyHandler | None]
    """The answer to a head, or the handler that needs the body first."""


class Client(Protocol):
    """A connection, as far as a watcher may know it."""

    number: int
    closed: bool
    left: Callable[[], None] | None
    unread: Callable[[Steps], Steps] | None
    """What the answer passes where a handler waits for a body that turns out too large or broken,
    so that the handler never gets it."""

    def is_local(self) -> bool:
        """Whether it comes from this machine."""


class Exchange(Protocol):
    """One request and its answer."""

    def engine(self, engine: Engine) -> Engine:
        """``engine`` as this request finds it."""

    def answer(self, app: App, handler: BodyHandler, head: Head, body: bytes) -> Steps:
        """The answer of ``handler``, or another one."""


class Director(Protocol):
    """Who sees every request first."""

    def respond(
        self, app: App, head: Head, client: Client, route: Callable[[App, Head], Responded]
    ) -> Responded:
        """The answer to ``head``, which ``route`` would answer."""
