"""``POST /v1/chat/completions``.

Strategy: the checks in shimmy's order (body, messages, max_tokens, model, load), then either one
JSON body or an event stream. Streaming is the default: only an explicit ``"stream": false`` gets
one body (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

from fake_shimmy import http1, payloads, requests, rust, templates
from fake_shimmy.engine import LoadError
from fake_shimmy.steps import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.app import App
    from fake_shimmy.engine import LoadedModel
    from fake_shimmy.http1 import Head
    from fake_shimmy.steps import Steps

DEFAULT_MAX_TOKENS = 256
LARGEST_MAX_TOKENS = 131072


def respond(app: App, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    try:
        request = requests.read_chat(body)
    except requests.RejectedError as error:
        return (app.text(head, error.status, error.text.encode()),)
    if not request.messages:
        text = "messages must not be empty"
        return _refuse(app, head, b"400 Bad Request", "invalid_messages", text, "messages")
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    if not 1 <= max_tokens <= LARGEST_MAX_TOKENS:
        text = f"max_tokens must be between 1 and {LARGEST_MAX_TOKENS}"
        return _refuse(app, head, b"400 Bad Request", "invalid_max_tokens", text, "max_tokens")
    spec = app.registry.lookup(request.model)
    if spec is None:
        names = rust.debug_list(app.registry.names())
        text = f"Model '{request.model}' not found. Available models: {names}"
        return _refuse(app, head, b"404 Not Found", "model_not_found", text, "model")
    try:
        model = app.engine.load(spec)
    except LoadError as error:
        message = f"Failed to load model '{request.model}': {error}"
        return (
            app.log("shimmy::openai_compat", message),
            app.answer(head, b"502 Bad Gateway\r\n", b""),
        )
    prompt = templates.render_chat(
        templates.family_for(spec.template, request.model), request.messages
    )
    user_text = next((text for role, text in reversed(request.messages) if role == "user"), "")
    text = model.generate(prompt, max_tokens, user_text)
    ident, created = f"chatcmpl-{app.identifier()}", app.seconds()
    if request.stream is False:
        return (app.json(head, payloads.chat_completion(ident, created, request.model, text)),)
    chunks = payloads.ChatChunks(ident, created, request.model, not head.is_1_0)
    return _stream(http1.stream_head(head, app.date()), chunks, model, text)


def _refuse(app: App, head: Head, status: bytes, code: str, text: str, param: str) -> Steps:
    return (app.json(head, payloads.error(code, text, param), status),)


def _stream(opening: bytes, chunks: payloads.ChatChunks, model: LoadedModel, text: str) -> Steps:
    yield opening + chunks.role
    token = chunks.token
    if model.token_pause:
        pause = Pause(model.token_pause)
        for piece in model.tokens(text):
            yield token(piece)
            yield pause
    else:
        for piece in model.tokens(text):
            yield token(piece)
    yield chunks.final
