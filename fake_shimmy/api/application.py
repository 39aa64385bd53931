"""From a request's head to its answer: through the layers to a route.

Strategy: the layers are put around the routes once, the first outermost, so that a request pays
for no more than a call for each. The release's own layers are innermost, as in the real one;
around them is whatever follows a script.
"""

from __future__ import annotations

from functools import partial

from fake_shimmy.api import layers as own_layers
from fake_shimmy.api import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Layer, Response
    from fake_shimmy.wire.head import Head


class Application:
    """The answers of one server, whose handlers find ``context``; ``layers`` are around it."""

    def __init__(self, context: Context, layers: Iterable[Layer] = ()) -> None:
        self.server = context.server
        self.head_ends = context.server.release.head_ends
        respond = own_layers.around(routes.respond, context.server)
        for layer in reversed([*layers]):
            respond = layer(respond)
        self.respond: Callable[[Head, Client], Response] = partial(respond, context)
        """Gives the steps that answer a head, or what answers its body."""
