"""From a request's head to its answer: through the layers to a route.

Strategy: the layers are put around the routes once, the first outermost, so that a request pays
for no more than a call for each. The release's own layers are innermost, as in the real one;
around them is whatever follows a script. Clients repeat themselves: heads that are alike are one
object, and what waits for the body of such a request is remembered.
"""

from __future__ import annotations

from functools import partial

from fake_shimmy.api import layers as own_layers
from fake_shimmy.api import routes
from fake_shimmy.api.pending import PendingRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Layer, Responder, Response
    from fake_shimmy.wire.head import Head


_MOST_REMEMBERED = 64


class Application:
    """The answers of one server, whose handlers find ``context``; ``layers`` are around it."""

    def __init__(self, context: Context, layers: Iterable[Layer] = ()) -> None:
        self.server = context.server
        self.head_ends = context.server.release.head_ends
        respond = _remembering(own_layers.around(routes.respond, context.server), context)
        for layer in reversed([*layers]):
            respond = layer(respond)
        self.respond: Callable[[Head, Client], Response] = partial(respond, context)
        """Gives the steps that answer a head, or what answers its body."""


def _remembering(inner: Responder, own: Context) -> Responder:
    """``inner``, which in its ``own`` context is asked once about a head that waits for its body:
    that depends on nothing else."""
    remembered: dict[Head, PendingRequest] = {}

    def respond(context: Context, head: Head, client: Client) -> Response:
        if context is not own:
            return inner(context, head, client)
        pending = remembered.get(head)
        if pending is not None:
            return pending
        response = inner(context, head, client)
        if isinstance(response, PendingRequest) and head.is_kept:
            if len(remembered) >= _MOST_REMEMBERED:
                remembered.clear()
            remembered[head] = response
        return response

    return respond
