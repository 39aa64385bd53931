"""``POST /v1/chat/completions``.

Strategy: the checks in shimmy's order (body, messages, media, max_tokens, model, load), then either
one JSON body or an event stream. Which of the two is the default is the release's affair. Seen on
2.6.5, 2.5.0 CPU-only and 1.8.1, which has no limits for messages and max_tokens.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.api import chat_request, openai_errors, payloads
from fake_shimmy.models import reply, templates
from fake_shimmy.models.engine import DEFAULT_MAX_TOKENS, GenerationError, LoadError
from fake_shimmy.rust.tracing import DEBUG, ERROR, WARN
from fake_shimmy.serde.structs import RejectedError
from fake_shimmy.wire.steps import Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_shimmy.api.context import Context
    from fake_shimmy.models.engine import LoadedModel, Outcome
    from fake_shimmy.models.registry import ModelSpec
    from fake_shimmy.releases import Release
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps


def respond(context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    server, release = context.server, context.server.release
    shape = chat_request.SHAPES[release.chat]
    try:
        request = chat_request.read_chat(body, shape, release.exponent)
    except RejectedError as error:
        return context.rejected(head, error)
    messages, name = request.messages, request.model
    if not messages and release.has_limits:
        return openai_errors.bad_request(context, head, "messages", "messages must not be empty")
    if request.has_media:
        return openai_errors.unsupported_media(context, head)
    max_tokens = request.max_tokens
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    elif release.has_limits and not openai_errors.is_acceptable(max_tokens):
        return openai_errors.bad_max_tokens(context, head)
    spec = context.registry.lookup(name)
    if spec is None:
        server.event(WARN, openai_errors.TARGET, f"Model '{name}' not found in registry")
        available = rust.debug_list(server.names)
        text = f"Model '{name}' not found. Available models: {available}"
        return openai_errors.no_model(context, head, text)
    is_verbose = server.tracer.wants(DEBUG, openai_errors.TARGET)
    if is_verbose:
        with_template = release.prompts == "one way"
        found = f"Found model spec for '{name}': {spec.debug(with_template)}"
        server.event(DEBUG, openai_errors.TARGET, found)
    prompt = _prompt(release, spec, name, messages)
    user_text = reply.user_text(messages) or ""
    ident, created = f"chatcmpl-{server.identifier()}", server.seconds()
    try:
        model = context.engine.load(spec)
        streams = release.chat_streams if request.stream is None else request.stream
        if not streams:
            text = model.generate(prompt, max_tokens, user_text)
            if is_verbose:
                size = len(text.encode())
                message = f"Generated response for model '{name}': {size} chars"
                server.event(DEBUG, openai_errors.TARGET, message)
            said = model.count(text) if release.tells_outcomes else 0
            outcome = _outcome(release, model, prompt, said, max_tokens)
            whole = payloads.chat_completion(ident, created, name, text, outcome)
            return (context.json(head, whole),)
    except LoadError as error:
        return openai_errors.load_failed(context, head, name, error, "chat_completions")
    except GenerationError as error:
        message = f"Failed to generate response for model '{name}': {error.debug()}"
        return context.failed(head, b"502 Bad Gateway", openai_errors.TARGET, message)
    chunks = payloads.ChatChunks(ident, created, name, not head.is_1_0)
    ask = _Ask(model, prompt, max_tokens, user_text)
    return _stream(context, head, chunks, ask, request.include_usage)


class _Ask:
    """What a streamed completion asks of its model."""

    __slots__ = ("max_tokens", "model", "prompt", "user_text")

    def __init__(self, model: LoadedModel, prompt: str, max_tokens: int, user_text: str) -> None:
        self.model = model
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.user_text = user_text


def _prompt(release: Release, spec: ModelSpec, name: str, messages: list[tuple[str, str]]) -> str:
    if release.prompts == "by route":
        family = templates.family_for(spec.template, name, release.families)
        return templates.render_chat(family, messages)
    return templates.render_for(spec, name, release.families, None, messages)


def _outcome(
    release: Release, model: LoadedModel, prompt: str, said: int, max_tokens: int
) -> Outcome | None:
    """How an answer of ``said`` tokens ended, as the release tells it."""
    if not release.tells_outcomes:
        return payloads.ALWAYS
    return model.outcome(prompt, said, max_tokens)


def _stream(
    context: Context, head: Head, chunks: payloads.ChatChunks, ask: _Ask, with_usage: bool
) -> Iterator[Step]:
    yield context.stream_head(head) + chunks.role
    token = chunks.token
    release = context.server.release
    said = 0
    try:
        for piece in ask.model.stream(ask.prompt, ask.max_tokens, ask.user_text):
            if isinstance(piece, str):
                said += 1
                yield token(piece)
            else:
                yield piece
    except GenerationError as error:
        if release.tells_outcomes:
            message = f"Streaming generation failed: {error}"
            context.server.event(ERROR, openai_errors.TARGET, message)
            yield chunks.failure()
            if head.is_1_0:
                yield Cut()
            return
        # Older releases do not tell: the stream ends as if all had been said.
    outcome = _outcome(release, ask.model, ask.prompt, said, ask.max_tokens)
    yield chunks.final(outcome, with_usage)
    if head.is_1_0:
        yield Cut()
