"""Have a running server offer a model that came after it had started.

Strategy: ask it, and start it again if it says no. shimmy looks for models only when it starts: its
``POST /api/models/discover`` looks again, but forgets what it finds, and no other request looks
(seen on 1.8.1, 2.5.0 and 2.6.5). A release that does better is not restarted.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import ShimmyError, ShimmyErrorCode
from ..network.questions import Questions, key_headers
from .summary import ShimmyModelSummary


class Manager(Protocol):
    """What is asked of a `ShimmyProcessManager` here."""

    @property
    def state(self) -> str: ...

    @property
    def url(self) -> str | None: ...

    @property
    def api_key(self) -> str | None: ...

    def ensure_ready(self, timeout: float | None = None) -> None: ...

    def restart(self) -> None: ...


def offer(manager: Manager, model: ShimmyModelSummary) -> None:
    """See `ModelRegistry.ensure_default`, about its `manager`."""
    if manager.state in ("idle", "stopping"):
        return
    try:
        manager.ensure_ready()
        if model.id in _offered(manager):
            return
    except ShimmyError as error:
        if error.code is not ShimmyErrorCode.NO_MODELS:
            raise
    manager.restart()
    manager.ensure_ready()
    offered = _offered(manager)
    if model.id not in offered:
        raise ShimmyError(
            ShimmyErrorCode.MODEL_NOT_FOUND,
            f"the model {model.id!r} is there, at {model.path}, but the server does not offer it, "
            f"not even after a restart. It has: {', '.join(map(repr, offered)) or 'none'}.\n"
            "Start it with the same directories and environment as the registry has.",
            {"model": model.id, "path": str(model.path), "available": offered},
        )


def _offered(manager: Manager) -> list[str]:
    return Questions(f"{manager.url}", key_headers(manager.api_key)).models()
