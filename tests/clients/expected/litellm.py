"""What LiteLLM sees."""

from __future__ import annotations

from typing import Any

from tests.clients.expectations import (
    ECHO,
    MISSING_MODEL,
    TEXT,
    TOKENS,
    WHOLE,
    Row,
    choices,
    chunks,
    raises,
)

_EXTRA = '`extra_body={"stream": False}`'


def _litellm(kind: str, said: str = "", **more: Any) -> dict[str, Any]:
    return raises(f"litellm.{kind}", said, **more)


LITELLM = [
    Row(
        "chat chat_stream_false",
        '`completion(model="openai/…")`, also with `stream=False`',
        "`InternalServerError`: LiteLLM leaves a false `stream` out, so a stream comes back",
        _litellm("InternalServerError"),
    ),
    Row(
        "chat_stream_false_in_extra_body chat_hosted_vllm",
        f"… and {_EXTRA}, also with `hosted_vllm/…`",
        "works; `usage` is always 0",
        {"choices": choices(TEXT), "usage": {"total_tokens": 0}},
    ),
    Row("chat_stream", "`completion(…, stream=True)`", "works", {"items": chunks(TOKENS)}),
    Row(
        "chat_stream_usage",
        "… and `stream_options`",
        "a last chunk with a `usage` that LiteLLM has counted itself",
        {"items": [*chunks(TOKENS), {"usage": {"prompt_tokens": 8, "completion_tokens": 9}}]},
    ),
    Row(
        "chat_max_completion_tokens",
        f"`max_completion_tokens`, with {_EXTRA}",
        "ignored",
        {"choices": choices(WHOLE)},
        silent=True,
    ),
    Row(
        "chat_tools chat_response_format chat_structured_output chat_two_choices",
        f"`tools`, `response_format`, `n`, with {_EXTRA}",
        "ignored: one choice of plain text",
        {"choices": choices(TEXT)},
        silent=True,
    ),
    Row(
        "chat_unknown_model chat_unknown_model_stream",
        "unknown model",
        "`NotFoundError`, the message lists the models",
        _litellm("NotFoundError", MISSING_MODEL, status_code=404),
    ),
    Row(
        "chat_load_failure chat_load_failure_stream",
        "a model that does not load",
        "`BadGatewayError` 502",
        _litellm("BadGatewayError", status_code=502),
    ),
    Row(
        "chat_no_messages",
        "no messages",
        "`BadRequestError`",
        _litellm("BadRequestError", "messages must not be empty"),
    ),
    Row(
        "chat_max_tokens_0 chat_max_tokens_huge",
        "`max_tokens` 0 or above 131072",
        "`BadRequestError`",
        _litellm("BadRequestError", "max_tokens must be between 1 and 131072"),
    ),
    Row(
        "chat_max_tokens_negative",
        "`max_tokens` below 0",
        "`BadRequestError` with `status_code` 422",
        _litellm("BadRequestError", status_code=422),
    ),
    Row(
        "chat_anthropic",
        '`completion(model="anthropic/…")`',
        "works, on `/v1/messages`",
        {"choices": choices(TEXT), "usage": {"prompt_tokens": 6, "completion_tokens": 8}},
    ),
    Row(
        "chat_anthropic_stream",
        "… with `stream=True`",
        "one last chunk, and no text",
        {"items": [{"choices": [{"finish_reason": "stop", "delta": {"content": None}}]}]},
        silent=True,
    ),
    Row(
        "chat_ollama",
        '`completion(model="ollama/…")`',
        "`BadRequestError`: shimmy's `/api/generate` is not Ollama's, and refuses the request",
        _litellm(
            "BadRequestError",
            "Expected request with `Content-Type: application/json`",
            status_code=415,
        ),
    ),
    Row(
        "text_completion text_completion_of_the_completions_route",
        '`text_completion(model="openai/…")`, `text-completion-openai/…`',
        "works, on `/v1/completions`",
        {"choices": [{"text": TEXT, "finish_reason": "stop"}], "usage": {"total_tokens": 5}},
    ),
    Row(
        "text_completion_of_the_completions_route_stream",
        "… with `stream=True`",
        "one last chunk, and no text",
        {"items": [{"choices": [{"finish_reason": "stop", "text": None}]}]},
        silent=True,
    ),
    Row(
        "embedding image",
        "`embedding`, `image_generation`",
        "not there: `NotFoundError`",
        _litellm("NotFoundError"),
    ),
    Row(
        "responses",
        "`responses`",
        "not there: `NotFoundError`",
        _litellm("NotFoundError"),
    ),
    Row(
        "twenty_streams_at_once",
        "20 streams at once",
        "each gets its own",
        {"value": [f"{ECHO}Input prompt: '<|im_start|>user <{n}><|im_end|> …" for n in range(20)]},
    ),
]
