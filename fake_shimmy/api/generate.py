"""``POST /api/generate`` and ``GET /ws/generate``: one request, told over two wires.

Strategy: what a request means is decided once; the HTTP side frames the answer as one JSON body
or as an event stream of bare tokens (the default), the WebSocket side as one text frame per
token. Seen on 2.5.0 CPU-only and 1.8.1; tokens with line ends on 1.8.1 only, and a failing
generation on 2.5.0 only in a build with a stand-in for its engine.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.models import reply, templates
from fake_shimmy.models.engine import DEFAULT_MAX_TOKENS, GenerationError, LoadError
from fake_shimmy.rust.tracing import DEBUG, ERROR
from fake_shimmy.serde import structs
from fake_shimmy.serde.jsonlexer import JsonError
from fake_shimmy.serde.structs import Struct, boolean, f32, i32, optional, string, usize
from fake_shimmy.wire import sse
from fake_shimmy.wire.steps import Cut, Upgrade

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fake_shimmy.api.context import Context
    from fake_shimmy.models.engine import LoadedModel
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.releases import Release
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

_TARGET = "shimmy::api"
_REMARK = "(Issue #106 Windows debugging)"
_DONE = "[DONE]"
"""What ends a stream, and what a token must not be."""

_REQUEST = Struct(
    "GenerateRequest",
    {
        "model": string,
        "prompt": optional(string),
        "messages": optional(structs.messages("ChatMessage", string)),
        "system": optional(string),
        "temperature": optional(f32),
        "top_p": optional(f32),
        "top_k": optional(i32),
        "max_tokens": optional(usize),
        "stream": optional(boolean),
    },
    required=("model",),
    positional=("prompt", "messages", "system"),
)


_WITH_RAW = Struct(
    "GenerateRequest",
    {**_REQUEST.fields, "raw_prompt": optional(boolean)},
    _REQUEST.required,
    _REQUEST.positional,
)


def _shape(release: Release) -> Struct:
    return _REQUEST if release.prompts == "by route" else _WITH_RAW


class _Ask:
    """What a request asks of its model. ``wraps`` a prompt that is no conversation."""

    __slots__ = ("max_tokens", "prompt", "user_text")

    def __init__(
        self, request: dict[str, Any], spec: ModelSpec, release: Release, wraps: bool
    ) -> None:
        messages = request.get("messages")
        max_tokens = request.get("max_tokens")
        self.max_tokens: int = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
        if messages is None:
            self.prompt: str = request.get("prompt") or ""
            self.user_text = self.prompt
            if wraps and not request.get("raw_prompt"):
                families = release.families
                self.prompt = templates.render_bare(spec, spec.name, families, self.prompt)
        else:
            # Of old, the requested name had no say here.
            rules = () if release.prompts == "by route" else release.families
            system = request.get("system")
            self.prompt = templates.render_for(spec, spec.name, rules, system, messages)
            self.user_text = reply.user_text(messages) or ""


def respond(context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer the HTTP request with ``body``."""
    release = context.server.release
    try:
        request = structs.read_body(body, _shape(release).read, release.exponent)
    except structs.RejectedError as error:
        return context.rejected(head, error)
    name = request["model"]
    spec = context.registry.lookup(name)
    if spec is None:
        message = f"Model '{name}' not found in registry"
        return context.failed(head, b"404 Not Found", _TARGET, message)
    try:
        model = context.engine.load(spec)
        ask = _Ask(request, spec, release, release.prompts == "one way")
        if request.get("stream") is not False:
            return _events(context, head, name, model, ask)
        text = model.generate(ask.prompt, ask.max_tokens, ask.user_text)
    except LoadError as error:
        message = f"Failed to load model '{name}': {error} {_REMARK}"
        return context.failed(head, b"502 Bad Gateway", _TARGET, message)
    except GenerationError as error:
        message = f"Generation failed for model '{name}': {error} {_REMARK}"
        return context.failed(head, b"502 Bad Gateway", _TARGET, message)
    context.server.event(DEBUG, _TARGET, f"Generation completed successfully for model '{name}'")
    if not release.tells_outcomes:
        return (context.json(head, payloads.generated(text)),)
    outcome = model.outcome(ask.prompt, model.count(text), ask.max_tokens)
    return (context.json(head, payloads.generated_with(text, outcome)),)


def _events(
    context: Context, head: Head, name: str, model: LoadedModel, ask: _Ask
) -> Iterator[Step]:
    yield context.stream_head(head)
    chunked = not head.is_1_0
    for piece in _pieces(context, "Streaming", name, model, ask, "[ERROR] {}"):
        if not isinstance(piece, str):
            yield piece
        elif "\r" in piece:
            # The real one panics over a carriage return, and the connection with it.
            yield Cut()
        else:
            yield sse.frame(sse.event(piece), chunked)
    yield sse.end(chunked)
    if head.is_1_0:
        yield Cut()


def upgrade(context: Context, head: Head) -> Steps:
    """The answer to a request that wants to become a WebSocket."""
    from fake_shimmy.wire import websocket

    refusal = websocket.refusal(head)
    if refusal is not None:
        status, text = refusal
        return (context.text(head, status, text),)
    acceptance = websocket.acceptance(head, context.server.date(), context.cors)
    read = websocket.MessageReader().read
    return (acceptance, Upgrade(read, lambda message: _converse(context, message)))


def _converse(context: Context, message: bytes) -> Steps:
    """The frames that answer ``message``."""
    from fake_shimmy.wire.websocket import text_frame

    release = context.server.release
    try:
        request = structs.read_document(message, _shape(release).read, release.exponent)
    except JsonError as error:
        # Not escaped, so it may be no JSON.
        return (text_frame(f'{{"error":"bad request: {error.without_path()}"}}'),)
    name = request["model"]
    spec = context.registry.lookup(name)
    if spec is None:
        return (text_frame('{"error":"model not found"}'),)
    try:
        model = context.engine.load(spec)
    except LoadError:
        return (text_frame('{"error":"load failed"}'),)
    ask = _Ask(request, spec, release, wraps=False)
    return _frames(_pieces(context, "WebSocket", name, model, ask, '{{"error":"{}"}}'))


def _frames(pieces: Iterator[str | Step]) -> Iterator[Step]:
    from fake_shimmy.wire.websocket import text_frame

    for piece in pieces:
        if not isinstance(piece, str):
            yield piece
        elif piece == _DONE:
            break
        else:
            yield text_frame(piece)
    yield text_frame('{"done":true}')


def _pieces(
    context: Context, how: str, name: str, model: LoadedModel, ask: _Ask, on_error: str
) -> Iterator[str | Step]:
    """The tokens and steps of an answer; a failure is logged and told in place of a token, or
    ends the answer without a word."""
    try:
        yield from model.stream(ask.prompt, ask.max_tokens, ask.user_text)
    except GenerationError as error:
        if context.server.release.tells_stream_errors:
            context.server.event(
                ERROR, _TARGET, f"{how} generation failed for model '{name}': {error}"
            )
            yield on_error.format(error)
