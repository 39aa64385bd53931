"""The routes that tell about the server and its models, and the placeholders.

Strategy: one function per route, from the application's state to a body. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.models.registry import shuffled
from fake_shimmy.wire.steps import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps


def health(context: Context, head: Head) -> Steps:
    """``GET /health``."""
    registry = context.registry
    body = payloads.health(
        len(registry.discovered),
        len(registry.registered),
        len(context.server.names),
        context.server.timestamp(),
        context.server.seconds(),
        context.server.release.version,
    )
    return (context.json(head, body),)


def diag(context: Context, head: Head) -> Steps:
    """``GET /diag``."""
    body = f'{{"os":"linux","cores":{context.server.cores},"mem_total_mb":{context.server.memory}}}'
    return (context.json(head, body.encode()),)


def models(context: Context, head: Head) -> Steps:
    """``GET /v1/models``."""
    return (context.json(head, payloads.models(context.server.names, context.server.seconds())),)


def tags(context: Context, head: Head) -> Steps:
    """``GET /api/tags``."""
    return (context.json(head, payloads.tags(context.server.names)),)


def api_models(context: Context, head: Head) -> Steps:
    """``GET /api/models``."""
    registry = context.registry
    rows = [
        payloads.api_model(name, None, None, None, "registered")
        for name in shuffled(registry.registered)
    ]
    rows += [
        payloads.api_model(
            model.name, model.size_bytes, model.model_type, model.parameter_count, "discovered"
        )
        for model in shuffled(registry.discovered.values())
    ]
    return (context.json(head, f'{{"models":[{",".join(rows)}]}}'.encode()),)


def discover(context: Context, head: Head) -> Steps:
    """``POST /api/models/discover``: a fresh search, which changes nothing but this answer."""
    return (Work(lambda: (context.json(head, payloads.discovered(context.server.search())),)),)


def tools(context: Context, head: Head) -> Steps:
    """``GET /api/tools``."""
    return (context.json(head, b'{"tools":[]}'),)


def model_load(context: Context, head: Head, name: str) -> Steps:
    """``POST /api/models/:name/load``."""
    return (context.json(head, payloads.model_request(name, "load")),)


def model_unload(context: Context, head: Head, name: str) -> Steps:
    """``POST /api/models/:name/unload``."""
    return (context.json(head, payloads.model_request(name, "unload")),)


def model_status(context: Context, head: Head, name: str) -> Steps:
    """``GET /api/models/:name/status``."""
    return (context.json(head, payloads.model_status(name)),)
