"""The routes that tell about the server and its models, and the placeholders.

Strategy: one function per route, from the application's state to a body. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.models.registry import shuffled
from fake_shimmy.wire.steps import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.app import App
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps


def health(app: App, head: Head) -> Steps:
    """``GET /health``."""
    registry = app.registry
    body = payloads.health(
        len(registry.discovered),
        len(registry.registered),
        len(app.names),
        app.timestamp(),
        app.seconds(),
        app.release.version,
    )
    return (app.json(head, body),)


def diag(app: App, head: Head) -> Steps:
    """``GET /diag``."""
    body = f'{{"os":"linux","cores":{app.cores},"mem_total_mb":{app.memory}}}'
    return (app.json(head, body.encode()),)


def models(app: App, head: Head) -> Steps:
    """``GET /v1/models``."""
    return (app.json(head, payloads.models(app.names, app.seconds())),)


def tags(app: App, head: Head) -> Steps:
    """``GET /api/tags``."""
    return (app.json(head, payloads.tags(app.names)),)


def api_models(app: App, head: Head) -> Steps:
    """``GET /api/models``."""
    registry = app.registry
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
    return (app.json(head, f'{{"models":[{",".join(rows)}]}}'.encode()),)


def discover(app: App, head: Head) -> Steps:
    """``POST /api/models/discover``: a fresh search, which changes nothing but this answer."""
    return (Work(lambda: (app.json(head, payloads.discovered(app.search())),)),)


def tools(app: App, head: Head) -> Steps:
    """``GET /api/tools``."""
    return (app.json(head, b'{"tools":[]}'),)


def model_load(app: App, head: Head, name: str) -> Steps:
    """``POST /api/models/:name/load``."""
    return (app.json(head, payloads.model_request(name, "load")),)


def model_unload(app: App, head: Head, name: str) -> Steps:
    """``POST /api/models/:name/unload``."""
    return (app.json(head, payloads.model_request(name, "unload")),)


def model_status(app: App, head: Head, name: str) -> Steps:
    """``GET /api/models/:name/status``."""
    return (app.json(head, payloads.model_status(name)),)
