"""Which route answers a request, and what precedes every route.

Strategy: a table from paths to routes; a route has one method, and either answers the head alone
or names the handler that needs the body. Modules of routes that few requests need are loaded by
the first one. Seen on 2.5.0 CPU-only and 1.8.1.
"""

from __future__ import annotations

from fake_shimmy.api import chat, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.api.app import App
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

    Handler: TypeAlias = Callable[[App, Head], Steps]
    BodyHandler: TypeAlias = Callable[[App, Head, bytes], Steps]
    NamedHandler: TypeAlias = Callable[[App, Head, str], Steps]


class Route:
    """A path's one method. Without an ``answer`` to the head, ``read`` answers the body."""

    __slots__ = ("allow", "answer", "methods", "read")

    def __init__(
        self, allow: bytes, answer: Handler | None = None, read: BodyHandler | None = None
    ) -> None:
        self.allow = allow
        self.methods = allow.split(b",")
        self.answer = answer
        self.read = read


_GET = b"GET,HEAD"
_POST = b"POST"


def _metrics(app: App, head: Head) -> Steps:
    from fake_shimmy.api import metrics

    return metrics.respond(app, head)


def _upgrade(app: App, head: Head) -> Steps:
    from fake_shimmy.api import generate

    return generate.upgrade(app, head)


def _generate(app: App, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import generate

    return generate.respond(app, head, body)


def _completions(app: App, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import completions

    return completions.respond(app, head, body)


def _messages(app: App, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import messages

    return messages.respond(app, head, body)


def _workflow(app: App, head: Head, body: bytes) -> Steps:
    from fake_shimmy.api import placeholders

    return placeholders.execute_workflow(app, head, body)


_ROUTES = {
    b"/health": Route(_GET, info.health),
    b"/metrics": Route(_GET, _metrics),
    b"/diag": Route(_GET, info.diag),
    b"/v1/models": Route(_GET, info.models),
    b"/v1/chat/completions": Route(_POST, read=chat.respond),
    b"/v1/completions": Route(_POST, read=_completions),
    b"/v1/messages": Route(_POST, read=_messages),
    b"/api/tags": Route(_GET, info.tags),
    b"/api/models": Route(_GET, info.api_models),
    b"/api/models/discover": Route(_POST, info.discover),
    b"/api/generate": Route(_POST, read=_generate),
    b"/api/tools": Route(_GET, info.tools),
    b"/api/workflows/execute": Route(_POST, read=_workflow),
    b"/ws/generate": Route(_GET, _upgrade),
}
_MODEL_ACTIONS: dict[bytes, tuple[bytes, NamedHandler]] = {
    b"load": (_POST, info.model_load),
    b"unload": (_POST, info.model_unload),
    b"status": (_GET, info.model_status),
}


def respond(app: App, head: Head) -> tuple[Steps | None, BodyHandler | None]:
    """The answer to ``head``, or the handler that needs the body first."""
    path = head.path
    route = None if path in app.release.missing_routes else _ROUTES.get(path)
    if route is None and path.startswith(b"/api/"):
        route = _with_name(path)
    if head.method == b"OPTIONS":
        return (app.answer(head, b"200 OK\r\n", b"", route.allow if route else b""),), None
    if route is None:
        return (app.answer(head, b"404 Not Found\r\n", b""),), None
    if head.method not in route.methods:
        return (app.answer(head, b"405 Method Not Allowed\r\n", b"", route.allow),), None
    if route.answer is not None:
        return route.answer(app, head), None
    if not _is_json(head.content_type):
        return app.no_json(head), None
    return None, route.read


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
        return Route(_POST, read=lambda app, head, body: _execute_tool(app, head, body, name))
    allow, handler = model_action
    return Route(allow, lambda app, head: handler(app, head, name))


def _bad_name(app: App, head: Head) -> Steps:
    return (app.text(head, b"400 Bad Request", b"Invalid URL: Invalid UTF-8 in `name`"),)


def _execute_tool(app: App, head: Head, body: bytes, name: str) -> Steps:
    from fake_shimmy.api import placeholders

    return placeholders.execute_tool(app, head, body, name)


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
