"""What the websockets package sees of /ws/generate."""

from __future__ import annotations

from typing import Any

from tests.clients.expectations import ECHO, TOKENS, Row, raises

_UNCLOSED = raises(
    "websockets.ConnectionClosedError",
    "no close frame received or sent",
    cause="EOFError",
    close_frames=[None, None],
)
_ANSWER = _UNCLOSED | {"frames": [*TOKENS, '{"done":true}'], "close_code": 1006}


_PROMPT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
_PROMPTED = (
    f"{ECHO}Input prompt: '{_PROMPT}' (length: 69). This demonstrates native SafeTensors support "
    "in Rust with optimized memory handling. Full transformer inference coming soon!"
)


def _refusal(message: str) -> dict[str, Any]:
    return _UNCLOSED | {"frames": [f'{{"error":"{message}"}}'], "close_code": 1006}


WEBSOCKETS = [
    Row(
        "generate generate_from_bytes stream_false",
        'one request, then `recv` until the end, or `"stream": false`',
        'a frame for each token, then `{"done":true}`, then `ConnectionClosedError`: the server '
        "sends no close frame (code 1006)",
        _ANSWER,
    ),
    Row(
        "reading_with_a_for_loop",
        "`async for`",
        "the same: the loop ends with `ConnectionClosedError` after every good answer",
        {key: value for key, value in _ANSWER.items() if key != "close_code"},
    ),
    Row(
        "stopping_at_done",
        'leaving the loop at `{"done":true}`',
        "works",
        {"frames": TOKENS, "close_code": 1006},
    ),
    Row(
        "generate_from_messages",
        "`messages` and `system` instead of `prompt`",
        "works; the prompt does not end with the assistant's header",
        _UNCLOSED | {"frames": [*(word + " " for word in _PROMPTED.split()), '{"done":true}']},
    ),
    Row(
        "max_tokens_0",
        '`"max_tokens": 0`',
        'only `{"done":true}`',
        _UNCLOSED | {"frames": ['{"done":true}']},
        silent=True,
    ),
    Row(
        "unknown_model",
        "unknown model",
        'a frame `{"error":"model not found"}`, no `done`',
        _refusal("model not found"),
    ),
    Row(
        "load_failure",
        "a model that does not load",
        'a frame `{"error":"load failed"}`, no `done`',
        _refusal("load failed"),
    ),
    Row(
        "not_json",
        "not JSON",
        'a frame `{"error":"bad request: …"}`, no `done`',
        _refusal("bad request: expected value at line 1 column 1"),
    ),
    Row(
        "no_model",
        "no `model`",
        "the same",
        _refusal("bad request: missing field `model` at line 1 column 16"),
    ),
    Row(
        "wrong_type",
        "a field of the wrong type",
        "the same",
        _refusal("bad request: invalid value: integer `-1`, expected usize at line 1 column 50"),
    ),
    Row(
        "empty_text",
        "an empty frame",
        "the same",
        _refusal("bad request: EOF while parsing a value at line 1 column 0"),
    ),
    Row(
        "ping_first",
        "a ping before the request",
        "no pong: the connection ends",
        _UNCLOSED | {"frames": [], "pong": "ConnectionClosedError"},
    ),
    Row(
        "close_first",
        "closing at once",
        "the close frame is not answered (code 1006)",
        {"close_code": 1006, "close_reason": ""},
    ),
    Row(
        "leaving_in_the_middle",
        "closing in the middle of a long answer",
        "`close` waits for its `close_timeout`, 10 s unless told; the next connection works",
        {"first": TOKENS[0], "waits_for_the_close_timeout": True, "after": _ANSWER["frames"]},
    ),
    Row("handshake", "the handshake", "works", {"status": 101, "agreed": None}),
    Row(
        "subprotocol_and_compression",
        "asking for a subprotocol, or compression",
        "neither is agreed on",
        {"agreed": None, "extensions": 0},
    ),
    Row(
        "no_such_path",
        "another path",
        "`InvalidStatus`, HTTP 404",
        raises("websockets.InvalidStatus", "server rejected WebSocket connection: HTTP 404"),
    ),
    Row(
        "not_a_websocket_path",
        "`/health`",
        "`InvalidStatus`, HTTP 200",
        raises("websockets.InvalidStatus", "server rejected WebSocket connection: HTTP 200"),
    ),
]
