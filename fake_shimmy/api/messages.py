"""``POST /v1/messages``, the Anthropic route.

Strategy: the conversation becomes a prompt of its own kind, or from 2.6.1 on that of the model's
template; the answer is always one JSON body: ``stream`` is read and ignored. Seen on 2.5.0 CPU-only
and 2.6.5.
"""

from __future__ import annotations

from fake_shimmy.api import payloads
from fake_shimmy.api.chat_request import Media
from fake_shimmy.models import reply, templates
from fake_shimmy.models.engine import GenerationError, LoadError
from fake_shimmy.serde import structs
from fake_shimmy.serde.structs import Struct, boolean, f32, i32, optional, string, usize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.serde.jsonbody import Json
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

_TARGET = "shimmy::anthropic_compat"
_SOURCE = ("type", "media_type", "data")


def respond(context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    try:
        request = structs.read_body(body, _REQUEST.read, context.server.release.exponent)
    except structs.RejectedError as error:
        return context.rejected(head, error)
    name, messages = request["model"], request["messages"]
    if context.server.release.refuses_media and any(isinstance(t, Media) for _, t in messages):
        body = payloads.refusal(payloads.NO_MEDIA, "invalid_request_error")
        return (context.json(head, body, b"400 Bad Request"),)
    spec = context.registry.lookup(name)
    if spec is None:
        message = f"Model '{name}' not found in registry"
        return context.failed(head, b"404 Not Found", _TARGET, message)
    release = context.server.release
    if release.prompts == "by route":
        prompt = _prompt(request.get("system"), messages)
    else:
        talk = _conversation(request.get("system"), messages)
        prompt = templates.render_for(spec, name, release.families, None, talk)
    user_text = reply.user_text(messages) or ""
    try:
        text = context.engine.load(spec).generate(prompt, request["max_tokens"], user_text)
    except LoadError:
        message = f"Failed to load model '{name}'"
        return context.failed(head, b"500 Internal Server Error", _TARGET, message)
    except GenerationError as error:
        message = f"Generation failed: {error}"
        return context.failed(head, b"500 Internal Server Error", _TARGET, message)
    digits = context.server.identifier()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    ident = f"msg_{'-'.join(parts)}"
    return (
        context.json(head, payloads.message(ident, name, text, _tokens(prompt), _tokens(text))),
    )


def _tokens(text: str) -> int:
    """A token is four bytes here."""
    return (len(text.encode()) + 3) // 4


def _prompt(system: str | None, messages: list[tuple[str, str]]) -> str:
    if messages and messages[0][0] == "system":
        system = messages[0][1]
    parts = [] if system is None else [f"System: {system}\n\n"]
    for index, (role, text) in enumerate(messages):
        if role != "user":
            # Only the answer right after a user's message is told.
            continue
        parts.append(f"Human: {text}\n")
        following = messages[index + 1] if index + 1 < len(messages) else ("", "")
        is_answered = following[0] == "assistant"
        parts.append(f"Assistant: {following[1]}\n" if is_answered else "Assistant: ")
    return "".join(parts)


def _conversation(system: str | None, messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The messages that the model's template gets: the system's, then users' with what answers
    them directly."""
    if messages and messages[0][0] == "system":
        system = messages[0][1]
    talk = [] if system is None else [("system", system)]
    previous = ""
    for role, text in messages:
        if role == "user" or (role == "assistant" and previous == "user"):
            talk.append((role, text))
        previous = role
    return talk


def _text_of_blocks(content: Json) -> str | None:
    """The joined texts of content blocks, with a word for each that is no text; None where
    they are not of that shape."""
    if not isinstance(content, list):
        return None
    texts = []
    has_media = False
    for block in content:
        fields = structs.buffered(block, ("type", "text", "source"))
        if fields is None or not _fits_source(fields.get("source")):
            return None
        kind, text = fields.get("type"), fields.get("text")
        if not isinstance(kind, str) or not isinstance(text, str | None):
            return None
        if kind != "text":
            has_media = True
            texts.append(f"[{kind} content]")
        elif text is not None:
            texts.append(text)
    joined = "\n".join(texts)
    return Media(joined) if has_media else joined


def _fits_source(source: Json) -> bool:
    if source is None:
        return True
    fields = structs.buffered(source, _SOURCE)
    return fields is not None and all(isinstance(fields.get(name), str) for name in _SOURCE)


_REQUEST = Struct(
    "AnthropicMessageRequest",
    {
        "model": string,
        "max_tokens": usize,
        "messages": structs.messages(
            "AnthropicMessage", structs.text_or("AnthropicContent", _text_of_blocks)
        ),
        "system": optional(string),
        "temperature": optional(f32),
        "top_p": optional(f32),
        "top_k": optional(i32),
        "stream": optional(boolean),
    },
    required=("model", "max_tokens", "messages"),
)
