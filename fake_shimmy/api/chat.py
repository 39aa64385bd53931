"""``POST /v1/chat/completions``.

Strategy: the checks in shimmy's order (body, messages, max_tokens, model, load), then either one
JSON body or an event stream. Streaming is the default: only an explicit ``"stream": false`` gets
one body. Seen on 2.5.0 CPU-only and 1.8.1, which has no limits for messages and max_tokens.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.api import chat_request, openai_errors, payloads
from fake_shimmy.models import templates
from fake_shimmy.models.engine import DEFAULT_MAX_TOKENS, GenerationError, LoadError
from fake_shimmy.rust.tracing import DEBUG, WARN
from fake_shimmy.serde.structs import RejectedError
from fake_shimmy.wire.steps import Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps


def respond(context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    try:
        request = chat_request.read_chat(
            body, chat_request.SHAPES[context.server.release.chat], context.server.release.exponent
        )
    except RejectedError as error:
        return context.rejected(head, error)
    messages, name = request.messages, request.model
    if not messages and context.server.release.has_limits:
        return openai_errors.bad_request(context, head, "messages", "messages must not be empty")
    max_tokens = request.max_tokens
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    elif context.server.release.has_limits and not openai_errors.is_acceptable(max_tokens):
        return openai_errors.bad_max_tokens(context, head)
    spec = context.registry.lookup(name)
    if spec is None:
        context.server.event(WARN, openai_errors.TARGET, f"Model '{name}' not found in registry")
        available = rust.debug_list(context.server.names)
        text = f"Model '{name}' not found. Available models: {available}"
        return openai_errors.no_model(context, head, text)
    is_verbose = context.server.tracer.wants(DEBUG, openai_errors.TARGET)
    if is_verbose:
        context.server.event(
            DEBUG, openai_errors.TARGET, f"Found model spec for '{name}': {spec.debug()}"
        )
    prompt = templates.render_chat(templates.family_for(spec.template, name), messages)
    user_text = next((text for role, text in reversed(messages) if role == "user"), "")
    ident, created = f"chatcmpl-{context.server.identifier()}", context.server.seconds()
    try:
        model = context.engine.load(spec)
        if request.stream is False:
            text = model.generate(prompt, max_tokens, user_text)
            if is_verbose:
                size = len(text.encode())
                message = f"Generated response for model '{name}': {size} chars"
                context.server.event(DEBUG, openai_errors.TARGET, message)
            return (context.json(head, payloads.chat_completion(ident, created, name, text)),)
    except LoadError as error:
        return openai_errors.load_failed(context, head, name, error, "chat_completions")
    except GenerationError as error:
        message = f"Failed to generate response for model '{name}': {error.debug()}"
        return context.failed(head, b"502 Bad Gateway", openai_errors.TARGET, message)
    chunks = payloads.ChatChunks(ident, created, name, not head.is_1_0)
    return _stream(context, head, chunks, lambda: model.stream(prompt, max_tokens, user_text))


def _stream(
    context: Context,
    head: Head,
    chunks: payloads.ChatChunks,
    generate: Callable[[], Iterator[str | Step]],
) -> Iterator[Step]:
    yield context.stream_head(head) + chunks.role
    token = chunks.token
    try:
        for piece in generate():
            yield token(piece) if isinstance(piece, str) else piece
    except GenerationError:
        # The real one does not tell: the stream ends as if all had been said.
        pass
    yield chunks.final
    if head.is_1_0:
        yield Cut()
