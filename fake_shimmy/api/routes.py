"""Which route answers a request.

Strategy: a table from paths to routes; a route has one method, and either answers the head alone
or says what answers the body. Modules of routes that few requests need are loaded by
the first one. Seen on 2.5.0 CPU-only and 1.8.1.
"""

from __future__ import annotations

from fake_shimmy.api import chat, info
from fake_shimmy.api.pending import PendingRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.api.interfaces import Client, Response
    from fake_shimmy.api.pending import BodyHandler
    from fake_shimmy.releases import Release
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Handler: TypeAlias = Callable[[Context, Head], Response]
    NamedHandler: TypeAlias = Callable[[Context, Head, str], Steps]


class Route:
    """A path's one method, and what answers a request's head there."""

    __slots__ = ("allow", "answer", "methods")

    def __init__(self, allow: bytes, answer: Handler) -> None:
        self.allow = allow
        self.methods = allow.split(b",")
        self.answer = answer


def _json_route(read: BodyHandler) -> Route:
    """A route for requests whose body is JSON, which ``read`` answers."""

    def answer(context: Context, head: Head) -> Response:
        if not _is_json(head.content_type):
            return context.no_json(head)
        return PendingRequest(context, head, read)

    return Route(_POST, answer)


_GET = b"GET,HEAD"
_POST = b"POST"


def _metrics(context: Context, head: Head) -> Steps:
    from fake_shimmy.api import metrics

    return metrics.respond(context, head)


def _upgrade(context: Context, head: Head) -> Steps:
    from fake_shimmy.api import generate

    return generate.upgrade(context, head)


def _generate(context: Context, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import generate

    return generate.respond(context, head, body)


def _completions(context: Context, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import completions

    return completions.respond(context, head, body)


def _messages(context: Context, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import messages

    return messages.respond(context, head, body)


def _docs(context: Context, head: Head) -> Steps:
    from fake_shimmy.api import api_docs

    return api_docs.page(context, head)


def _openapi(context: Context, head: Head) -> Steps:
    from fake_shimmy.api import api_docs

    return api_docs.openapi(context, head)


def _workflow(context: Context, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import placeholders

    return placeholders.execute_workflow(context, head, body)


_ROUTES = {
    b"/health": Route(_GET, info.health),
    b"/metrics": Route(_GET, _metrics),
    b"/diag": Route(_GET, info.diag),
    b"/v1/models": Route(_GET, info.models),
    b"/v1/chat/completions": _json_route(chat.respond),
    b"/v1/completions": _json_route(_completions),
    b"/v1/messages": _json_route(_messages),
    b"/api/tags": Route(_GET, info.tags),
    b"/api/models": Route(_GET, info.api_models),
    b"/api/models/discover": Route(_POST, info.discover),
    b"/api/generate": _json_route(_generate),
    b"/api/tools": Route(_GET, info.tools),
    b"/api/workflows/execute": _json_route(_workflow),
    b"/docs": Route(_GET, _docs),
    b"/openapi.json": Route(_GET, _openapi),
    b"/ws/generate": Route(_GET, _upgrade),
}
_MODEL_ACTIONS: dict[bytes, tuple[bytes, NamedHandler]] = {
    b"load": (_POST, info.model_load),
    b"unload": (_POST, info.model_unload),
    b"status": (_GET, info.model_status),
}


def respond(context: Context, head: Head, client: Client) -> Response:  # noqa: ARG001
    """The answer to ``head``, or what answers its body."""
    route = find(context.server.release, head.path)
    if route is None:
        return (context.answer(head, b"404 Not Found\r\n", b""),)
    if head.method not in route.methods:
        return (context.answer(head, b"405 Method Not Allowed\r\n", b"", route.allow),)
    return route.answer(context, head)


def find(release: Release, path: bytes) -> Route | None:
    """The route of ``path``, if ``release`` has one."""
    route = None if path in release.missing_routes else _ROUTES.get(path)
    if route is None and path.startswith(b"/api/"):
        return _with_name(path)
    return route


def _with_name(path: bytes) -> Route | None:
    """The route of a path that has a name in the middle."""
    parts = path.split(b"/")
    # An empty name is a name to the real router.
    if len(parts) != 5:
        return None
    kind, raw_name, action = parts[2], parts[3], parts[4]
    is_tool = kind == b"tools" and action == b"execute"
    model_action = _MODEL_ACTIONS.get(action) if kind == b"models" else None
    if not is_tool and model_action is None:
        return None
    try:
        name = _percent_decoded(raw_name).decode()
    except UnicodeDecodeError:
        return Route(_POST if model_action is None else model_action[0], _bad_name)
    if model_action is None:
        return _json_route(lambda context, head, body: _execute_tool(context, head, body, name))
    allow, handler = model_action
    return Route(allow, lambda context, head: handler(context, head, name))


def _bad_name(context: Context, head: Head) -> Steps:
    return (context.text(head, b"400 Bad Request", b"Invalid URL: Invalid UTF-8 in `name`"),)


def _execute_tool(context: Context, head: Head, body: bytes, name: str) -> Steps:
    from fake_shimmy.api import placeholders

    return placeholders.execute_tool(context, head, body, name)


def _percent_decoded(text: bytes) -> bytes:
    first, *pieces = text.split(b"%")
    decoded = first
    for piece in pieces:
        code = piece[:2]
        if len(code) == 2 and not code.translate(None, b"0123456789abcdefABCDEF"):
            decoded += bytes((int(code, 16),)) + piece[2:]
        else:
            decoded += b"%" + piece
    return decoded


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    kind = content_type.lower()
    if kind == b"application/json":
        return True
    import re

    token = rb"[-!#$%&'*+.^_`|~0-9a-z]"
    # Each byte can belong to one part only, or matching could take for ever.
    value = rb"(?:" + token + rb'+(?:;|\Z)|\Z|"[ -~][ !#-~]*" *(?:;|\Z))'
    parameters = rb"(?: *" + token + rb"+=" + value + rb")* *"
    match = re.fullmatch(rb"application/(" + token + rb"+)(?:;" + parameters + rb")?", kind)
    if match is None:
        return False
    subtype, plus, suffix = match[1].rpartition(b"+")
    return subtype == b"json" or (suffix == b"json" and bool(subtype or not plus))
