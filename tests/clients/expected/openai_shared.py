"""What the calls in openai_calls.json lead to, in both packages of OpenAI."""

from __future__ import annotations

from typing import Any

from tests.clients.expectations import (
    ECHO,
    MISSING_MODEL,
    NO_USAGE,
    TEXT,
    TOKENS,
    UNREADABLE,
    WHOLE,
    Row,
    choices,
    chunks,
    raises,
)


def shared(npm: bool) -> list[Row]:
    """The calls that the two packages of OpenAI are both asked to make."""
    kind = (lambda name: name) if npm else (lambda name: f"openai.{name}")
    status = "status" if npm else "status_code"
    string = "string" if npm else "str"
    create = "`chat.completions.create`"

    def failing(name: str, answer: int, message: str, **more: Any) -> dict[str, Any]:
        return raises(kind(name), message, **{status: answer}, **more)

    def empty(name: str, code: int) -> dict[str, Any]:
        return raises(kind(name), **{status: code})

    def unreadable(message: str) -> dict[str, Any]:
        text = f"{UNREADABLE}{message}"
        if npm:
            return raises("UnprocessableEntityError", text, status=422)
        # That the reason is not in the message is the trap.
        return raises(
            kind("UnprocessableEntityError"), "Error code: 422", status_code=422, body=text
        )

    not_said = " (the message is only `Error code: 422`; shimmy's own is in `.body`)"
    return [
        Row(
            "chat",
            f"{create}, `stream` false",
            "works; `usage` is always 0, and `finish_reason` is `stop` also where `max_tokens` cut",
            {"choices": choices(TEXT), "usage": NO_USAGE},
        ),
        Row(
            "chat_without_stream",
            f"{create} without `stream`",
            f"a `{string}`: the raw event stream",
            {"type": string, "value": 'data: {"id":"chatcmpl-ID","object":"chat.completion.chu…'},
            silent=True,
        ),
        Row(
            "chat_stream",
            f"{create}, `stream` true",
            "works: a chunk with the role, one for each token, one with `finish_reason`",
            {"type": "Stream", "items": chunks(TOKENS)},
        ),
        Row(
            "chat_stream_usage",
            "… and `stream_options={include_usage: true}`",
            "the same chunks, none with `usage`",
            {"type": "Stream", "items": chunks(TOKENS[:2])},
            silent=True,
        ),
        Row(
            "chat_max_completion_tokens",
            "`max_completion_tokens`",
            "ignored: the answer is as long as without",
            {"choices": choices(WHOLE)},
            silent=True,
        ),
        Row(
            "chat_tools",
            "`tools`, also with `tool_choice` required",
            "ignored: text, and no tool call",
            {"choices": choices(TEXT)},
            silent=True,
        ),
        Row(
            "chat_response_format chat_two_choices chat_logprobs",
            "`response_format`, `n`, `logprobs`",
            "ignored: one choice of plain text",
            {"choices": choices(TEXT)},
            silent=True,
        ),
        Row(
            "chat_content_parts",
            "content in parts, one of them an image",
            "texts are joined by line ends, everything else is dropped",
            {"choices": choices(f"{ECHO}Input prompt: '<|im_start|>user\none\ntwo<|im_end|>\n…")},
            silent=True,
        ),
        Row(
            "chat_tool_result",
            "a conversation with a tool call in it (`content` null)",
            "`UnprocessableEntityError`" + ("" if npm else not_said),
            unreadable("messages[1].content: data did not match any variant of untagged enum …"),
        ),
        Row(
            "chat_unknown_model chat_unknown_model_stream",
            "unknown model",
            "`NotFoundError`, `code` is `model_not_found`, the message lists the models",
            failing(
                "NotFoundError",
                404,
                MISSING_MODEL,
                code="model_not_found",
                param="model",
            ),
        ),
        Row(
            "chat_no_messages",
            "no messages",
            "`BadRequestError`, `code` is `invalid_messages`",
            failing("BadRequestError", 400, "messages must not be empty", code="invalid_messages"),
        ),
        Row(
            "chat_max_tokens_0 chat_max_tokens_huge",
            "`max_tokens` 0 or above 131072",
            "`BadRequestError`, `code` is `invalid_max_tokens`",
            failing(
                "BadRequestError",
                400,
                "max_tokens must be between 1 and 131072",
                code="invalid_max_tokens",
            ),
        ),
        Row(
            "chat_max_tokens_negative",
            "`max_tokens` below 0",
            "`UnprocessableEntityError`" + ("" if npm else not_said),
            unreadable("max_tokens: invalid value: integer `-1`, expected usize at line 1 …"),
        ),
        Row(
            "chat_load_failure chat_load_failure_stream completion_load_failure",
            "a model that does not load",
            "`InternalServerError` 502, which says nothing more; the reason is in the server's log",
            empty("InternalServerError", 502),
        ),
        Row(
            "completion",
            "`completions.create`",
            "works; `usage` counts words",
            {
                "choices": [{"text": TEXT, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
            },
        ),
        Row(
            "completion_stream",
            "`completions.create`, `stream` true",
            "an empty stream: the server answers with one JSON body",
            {"type": "Stream", "items": []},
            silent=True,
        ),
        Row(
            "completion_prompt_list",
            "… with a list of prompts",
            "`UnprocessableEntityError`",
            unreadable("prompt: invalid type: sequence, expected a string at line 1 …"),
        ),
        Row(
            "completion_no_prompt",
            "… with an empty prompt",
            "`BadRequestError`, `code` is `invalid_prompt`",
            failing("BadRequestError", 400, "prompt must not be empty", code="invalid_prompt"),
        ),
        Row(
            "completion_unknown_model",
            "… with an unknown model",
            "`NotFoundError`, `code` is `model_not_found`",
            failing("NotFoundError", 404, "Model 'nope' not found", code="model_not_found"),
        ),
        Row(
            "model_retrieve responses responses_stream embeddings moderations image speech files"
            + (" transcription stream_helper_responses" if not npm else ""),
            "`models.retrieve`, `responses`, `embeddings`, `moderations`, `images`, `files`, "
            + ("`audio.speech`" if npm else "`audio`"),
            "not there: `NotFoundError` without a body",
            empty("NotFoundError", 404),
        ),
        Row(
            "chat_stored",
            "`chat.completions.list`",
            f"not there: `{'APIError' if npm else 'APIStatusError'}` 405",
            empty("APIError" if npm else "APIStatusError", 405),
        ),
    ]
