"""What the openai SDK sees."""

from __future__ import annotations

from tests.clients.expectations import ECHO, TEXT, TOKENS, Row, choices, chunks, raises
from tests.clients.expected.openai_shared import shared

OPENAI = [
    *shared(npm=False),
    Row(
        "models",
        "`models.list`",
        "works; sorted, `created` is now",
        {
            "value": [
                {"id": "base-7b", "owned_by": "shimmy"},
                {"id": "tiny", "owned_by": "shimmy"},
            ]
        },
    ),
    Row(
        "raw_response",
        "`with_raw_response.create`, `stream=False`",
        "works; `request_id` is `None`",
        {
            "status": 200,
            "headers": {"content-type": "application/json"},
            "request_id": None,
            "parsed": {"type": "ChatCompletion", "value": {"choices": choices(TEXT)}},
        },
    ),
    Row(
        "raw_response_without_stream",
        "… without `stream`",
        "`parse()` gives a `str`; `content-type` is `text/event-stream`",
        {"headers": {"content-type": "text/event-stream"}, "parsed": {"type": "str"}},
        silent=True,
    ),
    Row(
        "raw_response_unknown_model",
        "… with an unknown model",
        "`NotFoundError`, its `response` has the headers and the text",
        {"headers": {"content-type": "application/json"}, "text": '{"error":{"code":"model_n…'},
    ),
    Row(
        "streaming_response",
        "`with_streaming_response.create`, `stream=True`",
        "works, line by line, up to `data: [DONE]`",
        {"lines": [*["data: {…", ""] * 5, "data: [DONE]", ""]},
    ),
    Row(
        "stream_helper",
        "`chat.completions.stream`",
        "works; the final completion has `usage` `None`",
        {
            "events": ["chunk", *["chunk", "content.delta"] * 3, "chunk", "content.done"],
            "final": {"choices": choices("".join(TOKENS[:3])), "usage": None},
        },
    ),
    Row(
        "chat_parse",
        "`chat.completions.parse` without a format",
        "works (it sends `stream: false` itself)",
        {"choices": [{"message": {"content": TEXT, "parsed": None}}]},
    ),
    Row(
        "parse_structured_output",
        "`chat.completions.parse`, `response_format=` a model",
        "`pydantic.ValidationError`, unless the model happens to answer with that JSON",
        raises("pydantic_core.ValidationError", "1 validation error for City"),
    ),
    Row(
        "stream_helper_structured_output",
        "`chat.completions.stream`, `response_format=` a model",
        "`ValueError` while the text is not the beginning of JSON",
        raises("builtins.ValueError", "expected value at line 1 column 1"),
    ),
    Row(
        "runs_out_of_retries",
        "`max_retries=1`, a model that does not load",
        "two requests, then `InternalServerError`; the default is 2 retries",
        {"raises": "InternalServerError", "retry_counts": ["0", "1"]},
    ),
    Row(
        "no_retry_of_a_missing_model",
        "`max_retries=1`, unknown model",
        "one request",
        {"raises": "NotFoundError", "retry_counts": ["0"]},
    ),
    Row(
        "timeout_between_tokens",
        "a `timeout` shorter than the pause between two tokens",
        "`APITimeoutError` in mid-stream",
        raises("openai.APITimeoutError", "Request timed out.", cause="ReadTimeout"),
    ),
    Row(
        "deadline_for_a_whole_stream",
        "a `timeout` shorter than the whole stream",
        "nothing: it is for each read",
        {"longer_than_the_timeout": True},
    ),
    Row(
        "leaving_a_stream",
        "leaving a stream early",
        "works; the server goes on with the next request",
        {
            "first": chunks(TOKENS)[:3],
            "closed": True,
            "after": {"choices": choices("SafeTensors model")},
        },
    ),
    Row(
        "cancelling_a_stream",
        "cancelling the task that reads",
        "`CancelledError`; the client can be used on",
        {"ended": "CancelledError", "after": ["base-7b", "tiny"]},
    ),
    Row(
        "twenty_streams_at_once",
        "20 streams at once",
        "each gets its own",
        {
            "value": [
                f"{ECHO}Input prompt: '<|im_start|>user <{number}><|im_end|> …"
                for number in range(20)
            ]
        },
    ),
    Row(
        "nobody_listens",
        "no server",
        "`APIConnectionError`",
        raises("openai.APIConnectionError", "Connection error.", cause="ConnectError"),
    ),
]
