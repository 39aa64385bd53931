"""``POST /api/tools/:name/execute`` and ``POST /api/workflows/execute``.

Strategy: the real one reads any JSON value, complaints included, and then does nothing. Seen on
2.5.0 CPU-only.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.serde import structs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps


def execute_tool(context: Context, head: Head, body: bytes, name: str) -> Steps:
    """No tool is ever available."""
    return _after_reading(context, head, body, payloads.tool_missing(name))


def execute_workflow(context: Context, head: Head, body: bytes) -> Steps:
    """Every workflow is pending for ever."""
    return _after_reading(context, head, body, payloads.WORKFLOW_PENDING)


def _after_reading(context: Context, head: Head, body: bytes, answer: bytes) -> Steps:
    try:
        structs.read_body(body, structs.anything)
    except structs.RejectedError as error:
        return context.rejected(head, error)
    return (context.json(head, answer),)
