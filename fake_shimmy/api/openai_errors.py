"""What the two OpenAI routes have in common: limits, error objects, load failures.

Strategy: each function gives the whole answer of one refusal. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.rust import backtrace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.models.engine import LoadError
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

TARGET = "shimmy::openai_compat"
"""Who logs."""

LARGEST_MAX_TOKENS = 131072


def is_acceptable(max_tokens: int) -> bool:
    """Whether these routes take ``max_tokens``."""
    return 1 <= max_tokens <= LARGEST_MAX_TOKENS


def bad_max_tokens(context: Context, head: Head) -> Steps:
    """The refusal of a ``max_tokens`` that is not acceptable."""
    text = f"max_tokens must be between 1 and {LARGEST_MAX_TOKENS}"
    return bad_request(context, head, "max_tokens", text)


def bad_request(context: Context, head: Head, param: str, text: str) -> Steps:
    """The refusal of a request because of ``param``."""
    body = payloads.error(f"invalid_{param}", text, param)
    return (context.json(head, body, b"400 Bad Request"),)


def unsupported_media(context: Context, head: Head) -> Steps:
    """The refusal of messages that hold something else than text."""
    body = payloads.error("unsupported_media", payloads.NO_MEDIA, "messages")
    return (context.json(head, body, b"400 Bad Request"),)


def no_model(context: Context, head: Head, text: str) -> Steps:
    """The refusal of a name that no model has."""
    body = payloads.error("model_not_found", text, "model")
    return (context.json(head, body, b"404 Not Found"),)


def load_failed(context: Context, head: Head, name: str, error: LoadError, handler: str) -> Steps:
    """What follows a model that does not load; ``handler`` is the real function's name."""
    trace = backtrace.of_error(context.server.environ, error.frames, f"{TARGET}::{handler}")
    message = f"Failed to load model '{name}': {error}{trace}"
    return context.failed(head, b"502 Bad Gateway", TARGET, message)
