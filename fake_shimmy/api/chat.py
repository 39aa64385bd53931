"""``POST /v1/chat/completions``.

Strategy: the checks in shimmy's order (body, messages, max_tokens, model, load), then either one
JSON body or an event stream. Streaming is the default: only an explicit ``"stream": false`` gets
one body. Seen on 2.5.0 CPU-only and 1.8.1, which has no limits for messages and max_tokens.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.api import openai, payloads, requests
from fake_shimmy.models import templates
from fake_shimmy.models.engine import DEFAULT_MAX_TOKENS, GenerationError, LoadError
from fake_shimmy.rust.tracing import DEBUG, WARN
from fake_shimmy.serde.structs import RejectedError
from fake_shimmy.wire import answers
from fake_shimmy.wire.steps import Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.api.app import App
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps


def respond(app: App, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    try:
        request = requests.read_chat(body, requests.SHAPES[app.release.chat], app.release.exponent)
    except RejectedError as error:
        return app.rejected(head, error)
    messages, name = request.messages, request.model
    if not messages and app.release.has_limits:
        return openai.bad_request(app, head, "messages", "messages must not be empty")
    max_tokens = request.max_tokens
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    elif app.release.has_limits and not openai.is_acceptable(max_tokens):
        return openai.bad_max_tokens(app, head)
    spec = app.registry.lookup(name)
    if spec is None:
        app.event(WARN, openai.TARGET, f"Model '{name}' not found in registry")
        available = rust.debug_list(app.names)
        text = f"Model '{name}' not found. Available models: {available}"
        return openai.no_model(app, head, text)
    is_verbose = app.tracer.wants(DEBUG, openai.TARGET)
    if is_verbose:
        app.event(DEBUG, openai.TARGET, f"Found model spec for '{name}': {spec.debug()}")
    prompt = templates.render_chat(templates.family_for(spec.template, name), messages)
    user_text = next((text for role, text in reversed(messages) if role == "user"), "")
    ident, created = f"chatcmpl-{app.identifier()}", app.seconds()
    try:
        model = app.engine.load(spec)
        if request.stream is False:
            text = model.generate(prompt, max_tokens, user_text)
            if is_verbose:
                size = len(text.encode())
                message = f"Generated response for model '{name}': {size} chars"
                app.event(DEBUG, openai.TARGET, message)
            return (app.json(head, payloads.chat_completion(ident, created, name, text)),)
    except LoadError as error:
        return openai.load_failed(app, head, name, error, "chat_completions")
    except GenerationError as error:
        message = f"Failed to generate response for model '{name}': {error.debug()}"
        return app.failed(head, b"502 Bad Gateway", openai.TARGET, message)
    chunks = payloads.ChatChunks(ident, created, name, not head.is_1_0)
    return _stream(app, head, chunks, lambda: model.stream(prompt, max_tokens, user_text))


def _stream(
    app: App,
    head: Head,
    chunks: payloads.ChatChunks,
    generate: Callable[[], Iterator[str | Step]],
) -> Iterator[Step]:
    yield answers.stream_head(head, app.date()) + chunks.role
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
