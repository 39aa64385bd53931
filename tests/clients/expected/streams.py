"""What clients make of streams, where it is not right; see `tests.clients.streams`. Seen with
openai 3.57, anthropic 2.14, langchain-openai 1.7.4, LiteLLM 1.110 and npm's openai 6.49."""

from __future__ import annotations

_UNMARKED = "no error, shows `Once é!`"
_IN_TEXT = "no error, shows `Once é`"
_EMPTY = "no error, shows nothing"

STREAMS = {
    "comments between events with `id` and `retry`": {
        "openai": "raises `JSONDecodeError`",
        "langchain": "raises `JSONDecodeError`",
        "litellm": "raises `MidStreamFallbackError`",
    },
    "a byte order mark": {"anthropic": "raises `AssertionError`"},
    "the end marker is missing": {
        "openai": _UNMARKED,
        "anthropic": _UNMARKED,
        "langchain": _UNMARKED,
        "litellm": _UNMARKED,
        "npm": _UNMARKED,
    },
    "the stream ends in the text": {
        "openai": _IN_TEXT,
        "anthropic": _IN_TEXT,
        "langchain": _IN_TEXT,
        "npm": _IN_TEXT,
    },
    "a page of HTML with status 200": {"openai": _EMPTY, "litellm": _EMPTY, "npm": _EMPTY},
}
