"""What a release does with every request before it looks for a route.

Strategy: a release names its layers, outermost first; each is made for one server and is a function
around the next one. Seen on 2.6.5, 2.5.0 and 1.8.1.
"""

from __future__ import annotations

from fake_shimmy.api import payloads, routes
from fake_shimmy.wire import answers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Responder, Response
    from fake_shimmy.api.server import Server
    from fake_shimmy.wire.head import Head


def around(respond: Responder, server: Server) -> Responder:
    """``respond`` with the layers of ``server`` around it."""
    for name in reversed(server.release.layers):
        respond = _LAYERS[name](respond, server)
    return respond


def _options(inner: Responder, _server: Server) -> Responder:
    """OPTIONS is answered for any path."""

    def respond(context: Context, head: Head, client: Client) -> Response:
        if head.method != b"OPTIONS":
            return inner(context, head, client)
        route = routes.find(context.server.release, head.path)
        return (context.answer(head, b"200 OK\r\n", b"", route.allow if route else b""),)

    return respond


def _guard(inner: Responder, server: Server) -> Responder:
    """Pages of other origins, preflights and keys, in this order; what comes after them has headers
    about origins only where a page asked."""
    access = server.access

    def respond(context: Context, head: Head, client: Client) -> Response:
        origin = head.header(b"origin")
        if origin is not None:
            if origin not in access.origins:
                body = payloads.refusal("Browser origin is not allowed", "permission_error")
                return _refuse(context, head, b"403 Forbidden", body)
            context = context.with_cors(answers.cors_of(origin))
        if head.method == b"OPTIONS":
            allow = _foreign_method(context, head)
            if origin is None:
                return (context.answer(head, b"400 Bad Request\r\n", b"", allow),)
            return (context.no_content(head, allow),)
        is_health = head.method == b"GET" and head.path == b"/health"
        if not is_health and not access.lets_in(head):
            body = payloads.refusal("Valid API credentials required", "authentication_error")
            return _refuse(context, head, b"401 Unauthorized", body, _BEARER)
        return inner(context, head, client)

    return respond


_BEARER = b"www-authenticate: Bearer\r\n"


def _refuse(
    context: Context, head: Head, status: bytes, body: bytes, challenge: bytes = b""
) -> Response:
    status += b"\r\ncontent-type: application/json\r\n" + challenge
    return (context.answer(head, status, body, _foreign_method(context, head)),)


def _foreign_method(context: Context, head: Head) -> bytes:
    """The methods of the route of ``head``, where its own is none of them."""
    route = routes.find(context.server.release, head.path)
    return b"" if route is None or head.method in route.methods else route.allow


_LAYERS: dict[str, Callable[[Responder, Server], Responder]] = {
    "options": _options,
    "guard": _guard,
}
