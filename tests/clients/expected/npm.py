"""What the openai package of npm sees."""

from __future__ import annotations

from tests.clients.expectations import ECHO, TEXT, TOKENS, Row, choices, raises
from tests.clients.expected.openai_shared import shared

NPM = [
    *shared(npm=True),
    Row(
        "models",
        "`models.list`",
        "works; sorted, `created` is now",
        {"items": [{"id": "base-7b"}, {"id": "tiny"}]},
    ),
    Row(
        "transcription",
        "`audio.transcriptions.create`",
        "not there, and the server hangs up before the upload ends: `APIConnectionError` "
        "(`EPIPE`) or `NotFoundError`",
        {"expected": True},
    ),
    Row(
        "with_response",
        "`.withResponse()`, `stream: false`",
        "works; `request_id` is `null`",
        {
            "data": {"choices": choices(TEXT)},
            "headers": {"content-type": "application/json"},
            "request_id": None,
        },
    ),
    Row(
        "with_response_without_stream",
        "… without `stream`",
        "`data` is a `string`; `content-type` is `text/event-stream`",
        {"type": "string", "headers": {"content-type": "text/event-stream"}},
        silent=True,
    ),
    Row(
        "as_response",
        "`.asResponse()`, `stream: true`",
        "works",
        {"status": 200, "text": "data: {…"},
    ),
    Row(
        "stream_helper",
        "`chat.completions.stream`",
        "works; the final completion has no `usage`",
        {
            "final": {"choices": choices("".join(TOKENS[:3]))},
            "events": [*TOKENS[:3], "(end)"],
        },
    ),
    Row(
        "stream_helper_unknown_model",
        "… with an unknown model",
        "`NotFoundError`",
        raises("NotFoundError", "Model 'nope' not found. Available models: "),
    ),
    Row(
        "chat_parse",
        "`chat.completions.parse` without `stream`",
        "`TypeError`: it meets a `string`, as `create` does. Pass `stream: false`",
        raises("TypeError", "Cannot read properties of undefined (reading 'map')"),
    ),
    Row(
        "parse_structured_output",
        "`chat.completions.parse` with a format and `stream: false`",
        "`SyntaxError`, unless the model happens to answer with that JSON",
        {"raises": "SyntaxError"},
    ),
    Row(
        "run_tools",
        "`chat.completions.runTools`, `stream: false`",
        "text; no tool is ever called",
        {"content": TEXT, "called": []},
        silent=True,
    ),
    Row(
        "runs_out_of_retries",
        "`maxRetries: 1`, a model that does not load",
        "two requests, then `InternalServerError`; the default is 2 retries",
        {"raises": "InternalServerError", "retry_counts": ["0", "1"]},
    ),
    Row(
        "leaving_a_stream",
        "`break` out of a stream",
        "works; the connection is aborted, the server goes on with the next request",
        {"aborted": True, "after": ["base-7b", "tiny"]},
    ),
    Row(
        "aborting_a_stream",
        "aborting it with an `AbortSignal`",
        "the loop ends as if the stream had",
        {"deltas": [{"role": "assistant"}, {"content": TOKENS[0]}, {"content": TOKENS[1]}]},
        silent=True,
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
]
