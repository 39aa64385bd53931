"""What a release does with every request before it looks for a route.

Strategy: a release names its layers, outermost first; a layer is made for one server and is a
function. Seen on 2.5.0 and 1.8.1.
"""

from __future__ import annotations

from fake_shimmy.api import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Layer, Responder, Response
    from fake_shimmy.api.server import Server
    from fake_shimmy.wire.head import Head


def of(server: Server) -> list[Layer]:
    """The layers of ``server``, outermost first."""
    return [_LAYERS[name](server) for name in server.release.layers]


def _options(_server: Server) -> Layer:
    """OPTIONS is answered for any path."""
    return _answer_options


def _answer_options(context: Context, head: Head, client: Client, inner: Responder) -> Response:
    if head.method != b"OPTIONS":
        return inner(context, head, client)
    route = routes.find(context.server.release, head.path)
    return (context.answer(head, b"200 OK\r\n", b"", route.allow if route else b""),)


_LAYERS: dict[str, Callable[[Server], Layer]] = {"options": _options}
