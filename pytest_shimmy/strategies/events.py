"""What a server says, as the events of a stream or as one body; for each endpoint and release.

Strategy: an event has the text that it adds for the client, so that whoever cuts the bytes knows
what has been said. Shapes as seen on 2.6.5 and 2.5.0; a test compares them with the fake's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fake_shimmy.releases import RELEASES

MODEL = "tiny"
"""The model that answers name."""
CREATED = 1_767_225_600
"""The moment that answers name: 2026-01-01, in Unix seconds."""
PROMPT_TOKENS = 7
DONE = "[DONE]"

STREAMED = ("chat", "generate", "messages")
"""Endpoints that stream. No shimmy streams ``messages``; the fake does, as Anthropic has it."""
WHOLE = ("chat", "completions", "generate", "messages")
"""Endpoints that answer with one body."""


class Said(NamedTuple):
    """What a server means to say."""

    tokens: Sequence[str]
    is_cut_short: bool = False
    """It ended at the limit of tokens."""
    with_usage: bool = False
    fails: bool = False
    """The generation fails after these tokens, and the stream says so."""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.tokens)


class Event(NamedTuple):
    """An event of a stream."""

    data: str
    text: str = ""
    """What it adds to the text that a client shows."""
    name: str | None = None
    """Its kind, where events have one."""


class Facts(NamedTuple):
    """What an answer tells beside its text."""

    finish_reason: str | None = None
    usage: dict[str, int] | None = None


def tells_failures(endpoint: str, release: str) -> bool:
    """Whether a stream says, in a form that can be told from text, that its generation failed."""
    if endpoint == "chat":
        return RELEASES[release].tells_outcomes
    return endpoint == "messages"


def tells_reasons(endpoint: str, release: str) -> bool:
    """Whether an answer says that it ended at the limit of tokens."""
    if endpoint in ("chat", "completions"):
        return RELEASES[release].tells_outcomes
    return endpoint == "messages"


def tells_usage(endpoint: str, release: str) -> bool:
    """Whether a stream can tell how many tokens there were."""
    return endpoint == "chat" and RELEASES[release].tells_outcomes


def stream(endpoint: str, release: str, said: Said) -> tuple[list[Event], Facts]:
    """The events that say it."""
    return _STREAMS[endpoint](said, release)


def body(endpoint: str, release: str, said: Said) -> tuple[str, Facts]:
    """One JSON body that says it."""
    return _BODIES[endpoint](said, release)


_dumps: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _usage(said: Said) -> dict[str, int]:
    count = len(said.tokens)
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": count,
        "total_tokens": PROMPT_TOKENS + count,
    }


def _chat_events(said: Said, _: str) -> tuple[list[Event], Facts]:
    head = {
        "id": "chatcmpl-0",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
    }

    def chunk(content: str | None, role: str | None = None, reason: str | None = None) -> str:
        choice = {
            "index": 0,
            "delta": {"content": content, "role": role},
            "finish_reason": reason,
        }
        return _dumps({**head, "choices": [choice]})

    found = [Event(chunk(None, "assistant"))]
    found += [Event(chunk(token), token) for token in said.tokens]
    if said.fails:
        error = {
            "code": "generation_failed",
            "message": "Generation failed",
            "type": "server_error",
        }
        return [*found, Event(_dumps({"error": error})), Event(DONE)], Facts()
    facts = Facts(_reason(said), _usage(said) if said.with_usage else None)
    found.append(Event(chunk(None, reason=facts.finish_reason)))
    if said.with_usage:
        usage = dict(sorted(_usage(said).items()))
        told = {"choices": [], **dict(sorted(head.items())), "usage": usage}
        found.append(Event(_dumps(told)))
    return [*found, Event(DONE)], facts


def _reason(said: Said) -> str:
    return "length" if said.is_cut_short else "stop"


def _generate_events(said: Said, _: str) -> tuple[list[Event], Facts]:
    return [*(Event(token, token) for token in said.tokens), Event(DONE)], Facts()


def _message_events(said: Said, _: str) -> tuple[list[Event], Facts]:
    def event(kind: str, text: str = "", **members: Any) -> Event:
        return Event(_dumps({"type": kind, **members}), text, kind)

    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": 0}
    found = [event("message_start", message=_message([], None, usage))]
    block = {"type": "text", "text": ""}
    found.append(event("content_block_start", index=0, content_block=block))
    for token in said.tokens:
        delta = {"type": "text_delta", "text": token}
        found.append(event("content_block_delta", token, index=0, delta=delta))
    if said.fails:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return [*found, event("error", error=error)], Facts()
    reason = "max_tokens" if said.is_cut_short else "end_turn"
    told = {"output_tokens": len(said.tokens)}
    ending = {"stop_reason": reason, "stop_sequence": None}
    found.append(event("content_block_stop", index=0))
    found.append(event("message_delta", delta=ending, usage=told))
    return [*found, event("message_stop")], Facts(reason, told)


def _message(content: list[Any], reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": "msg_0",
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": MODEL,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _chat_body(said: Said, release: str) -> tuple[str, Facts]:
    facts = _completed(said, has_counts=RELEASES[release].tells_outcomes)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": said.text},
        "finish_reason": facts.finish_reason,
    }
    document = {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [choice],
        "usage": facts.usage,
    }
    return _dumps(document), facts


def _completion_body(said: Said, _: str) -> tuple[str, Facts]:
    facts = _completed(said, has_counts=True)
    reason = facts.finish_reason
    document = {
        "choices": [{"finish_reason": reason, "index": 0, "logprobs": None, "text": said.text}],
        "created": CREATED,
        "id": "cmpl-0",
        "model": MODEL,
        "object": "text_completion",
        "usage": dict(sorted((facts.usage or {}).items())),
    }
    return _dumps(document), facts


def _completed(said: Said, *, has_counts: bool) -> Facts:
    return Facts(_reason(said), _usage(said) if has_counts else dict.fromkeys(_usage(said), 0))


def _generate_body(said: Said, release: str) -> tuple[str, Facts]:
    document: dict[str, Any] = {"response": said.text}
    if not RELEASES[release].tells_outcomes:
        return _dumps(document), Facts()
    facts = Facts(_reason(said), _usage(said))
    told = {"usage": facts.usage, "finish_reason": facts.finish_reason}
    return _dumps({**document, **told}), facts


def _message_body(said: Said, _: str) -> tuple[str, Facts]:
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": len(said.tokens)}
    reason = "max_tokens" if said.is_cut_short else "end_turn"
    content = [{"type": "text", "text": said.text}]
    return _dumps(_message(content, reason, usage)), Facts(reason, usage)


_Streamed = Callable[[Said, str], tuple[list[Event], Facts]]
_STREAMS: dict[str, _Streamed] = {
    "chat": _chat_events,
    "generate": _generate_events,
    "messages": _message_events,
}
_Whole = Callable[[Said, str], tuple[str, Facts]]
_BODIES: dict[str, _Whole] = {
    "chat": _chat_body,
    "completions": _completion_body,
    "generate": _generate_body,
    "messages": _message_body,
}
