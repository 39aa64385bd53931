"""``POST /v1/completions``.

Strategy: the checks in shimmy's order (body, prompt, max_tokens, model, load), then always one
JSON body: ``stream`` is read and ignored. Seen on 2.5.0 CPU-only; a generation that fails was
seen on a build with a stand-in for its engine.
"""

from __future__ import annotations

from fake_shimmy.api import openai_errors, payloads
from fake_shimmy.models import templates
from fake_shimmy.models.engine import DEFAULT_MAX_TOKENS, GenerationError, LoadError, Outcome
from fake_shimmy.rust.tracing import ERROR
from fake_shimmy.rust.whitespace import words
from fake_shimmy.serde import structs
from fake_shimmy.serde.structs import Struct, boolean, f32, optional, string, usize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

_REQUEST = Struct(
    "CompletionRequest",
    {
        "model": string,
        "prompt": string,
        "temperature": optional(f32),
        "max_tokens": optional(usize),
        "top_p": optional(f32),
        "stream": optional(boolean),
    },
    required=("model", "prompt"),
)


def respond(context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer ``body``."""
    try:
        request = structs.read_body(body, _REQUEST.read, context.server.release.exponent)
    except structs.RejectedError as error:
        return context.rejected(head, error)
    release = context.server.release
    name, prompt, max_tokens = request["model"], request["prompt"], request.get("max_tokens")
    prompt_words = words(prompt)
    if not prompt_words:
        return openai_errors.bad_request(context, head, "prompt", "prompt must not be empty")
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    elif not openai_errors.is_acceptable(max_tokens):
        return openai_errors.bad_max_tokens(context, head)
    spec = context.registry.lookup(name)
    if spec is None:
        return openai_errors.no_model(context, head, f"Model '{name}' not found")
    try:
        model = context.engine.load(spec)
        rendered = prompt
        if release.prompts == "one way":
            rendered = templates.render_bare(spec, name, release.families, prompt)
        text = model.generate(rendered, max_tokens, prompt)
    except LoadError as error:
        return openai_errors.load_failed(context, head, name, error, "completions")
    except GenerationError as error:
        context.server.event(ERROR, openai_errors.TARGET, f"Generation error: {error}")
        status = b"500 Internal Server Error"
        return (context.json(head, payloads.GENERATION_FAILED, status),)
    ident = f"cmpl-{context.server.identifier()}"
    if release.tells_outcomes:
        outcome = model.outcome(rendered, model.count(text), max_tokens)
    else:
        outcome = Outcome("stop", len(prompt_words), len(words(text)))
    whole = payloads.completion(ident, context.server.seconds(), name, text, outcome)
    return (context.json(head, whole),)
