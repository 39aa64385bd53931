"""What the anthropic SDK sees."""

from __future__ import annotations

from typing import Any

from tests.clients.expectations import ECHO, TEXT, UNREADABLE, Row, raises


def _message(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}


def _prompt(prompt: str) -> dict[str, Any]:
    return _message(f"{ECHO}Input prompt: '{prompt}' (length: …")


ANTHROPIC = [
    Row(
        "message beta.messages.create",
        "`messages.create`",
        "works; `stop_reason` is `end_turn` also where `max_tokens` cut, `usage` is a guess from "
        "the length of the texts",
        _message(TEXT) | {"usage": {"input_tokens": 6, "output_tokens": 8}},
    ),
    Row(
        "message_stream",
        "`messages.create(stream=True)`",
        "an empty stream: the server answers with one JSON body",
        {"type": "Stream", "items": []},
        silent=True,
    ),
    Row(
        "stream_helper_text",
        "`messages.stream`, then `text_stream`",
        "no text at all",
        {"value": []},
        silent=True,
    ),
    Row(
        "stream_helper_final_text stream_helper_final_message",
        "`messages.stream`, then `get_final_text` or `get_final_message`",
        "`AssertionError` without a message",
        raises("builtins.AssertionError", ""),
    ),
    Row(
        "message_system",
        "`system` as a string",
        "works",
        _prompt("System: Be brief.\n\nHuman: Hi\nAssistant: "),
    ),
    Row(
        "message_system_blocks",
        "`system` as a list of blocks",
        "`UnprocessableEntityError`",
        raises(
            "anthropic.UnprocessableEntityError",
            f"{UNREADABLE}system: invalid type: sequence, expected a string at line 1",
            status_code=422,
        ),
    ),
    Row(
        "message_conversation",
        "a conversation",
        "works; the model sees `Human: …` and `Assistant: …`, whatever its own template is",
        _prompt("Human: one\nAssistant: two\nHuman: three\nAssistant: "),
    ),
    Row(
        "message_content_blocks",
        "content in blocks, one of them an image",
        "the model sees `[image content]`",
        _prompt("Human: one\n[image content]\nAssistant: "),
        silent=True,
    ),
    Row(
        "message_tools",
        "`tools`, also with `tool_choice`",
        "ignored: text, and no `tool_use`",
        _message(TEXT),
        silent=True,
    ),
    Row(
        "message_tool_result",
        "a conversation with a tool call in it",
        "the model sees `[tool_use content]` and `[tool_result content]`",
        _prompt(
            "Human: Hi\nAssistant: [tool_use content]\nHuman: [tool_result content]\nAssistant: "
        ),
        silent=True,
    ),
    Row(
        "message_thinking message_stop_sequences",
        "`thinking`, `stop_sequences`",
        "ignored",
        _message(TEXT),
        silent=True,
    ),
    Row(
        "message_no_messages",
        "no messages",
        "an answer to an empty prompt",
        _message(TEXT) | {"usage": {"input_tokens": 0}},
        silent=True,
    ),
    Row(
        "message_max_tokens_0",
        "`max_tokens=0`",
        "an empty text",
        _message(""),
        silent=True,
    ),
    Row(
        "message_max_tokens_negative",
        "`max_tokens` below 0",
        "`UnprocessableEntityError`",
        raises(
            "anthropic.UnprocessableEntityError",
            f"{UNREADABLE}max_tokens: invalid value: integer `-1`, expected usize at line 1",
        ),
    ),
    Row(
        "message_unknown_model stream_helper_unknown_model",
        "unknown model",
        "`NotFoundError` without a body: the same as for a route that is not there",
        raises("anthropic.NotFoundError", status_code=404, body=""),
    ),
    Row(
        "message_load_failure",
        "a model that does not load",
        "`InternalServerError` 500",
        raises("anthropic.InternalServerError", status_code=500, body=""),
    ),
    Row(
        "models",
        "`models.list`",
        "works, but it is OpenAI's list: no `display_name`, no `created_at`",
        {"value": [{"id": "base-7b", "object": "model"}, {"id": "tiny", "object": "model"}]},
    ),
    Row(
        "messages.count_tokens messages.batches.create model_retrieve",
        "`messages.count_tokens`, `messages.batches`, `models.retrieve`",
        "not there: `NotFoundError`",
        raises("anthropic.NotFoundError", status_code=404, body=""),
    ),
    Row(
        "raw_response",
        "`with_raw_response.create`",
        "works; `request_id` is `None`",
        {"status": 200, "request_id": None, "parsed": _message(TEXT)},
    ),
    Row(
        "runs_out_of_retries",
        "`max_retries=1`, a model that does not load",
        "two requests, then `InternalServerError`",
        {"raises": "InternalServerError", "retry_counts": ["0", "1"]},
    ),
    Row(
        "twenty_messages_at_once",
        "20 messages at once",
        "each gets its own",
        {"value": [f"{ECHO}Input prompt: 'Human: <{n}>\nAssistant: ' …" for n in range(20)]},
    ),
]
