"""Chat and text completions as OpenAI has them: tool calls, reasoning, refusals, logprobs, usage.

``reasoning_content`` is not OpenAI's: it is what DeepSeek, vLLM and llama.cpp call it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fake_shimmy.stage.answers.said import Call, Said


class Chat:
    """A chat completion that says ``said``."""

    def __init__(self, said: Said, ident: str, created: int) -> None:
        self._said = said
        self._ident = f"chatcmpl-{ident}"
        self._created = created

    def body(self) -> dict[str, Any]:
        """The answer in one piece."""
        return {
            **self._common("chat.completion"),
            "choices": [self._choice(*each) for each in enumerate(self._said.choices)],
            **_usage(self._said),
        }

    def opening(self) -> list[dict[str, Any]]:
        """The events before the first token."""
        delta = {"role": "assistant", "content": None if self._said.calls else ""}
        return [self._chunk(index, delta) for index, _ in enumerate(self._said.choices)]

    def tokens(self) -> Iterator[dict[str, Any]]:
        """One event for each token."""
        said = self._said
        for token in said.reasoning:
            yield self._chunk(0, {"reasoning_content": token})
        for index, choice in enumerate(said.choices):
            for number, token in enumerate(choice):
                yield self._chunk(index, {"content": token}, self._logprobs([token], number))
        for token in said.refusal:
            yield self._chunk(0, {"refusal": token})
        for index, call in enumerate(said.calls):
            for number, piece in enumerate(call.pieces):
                yield self._chunk(0, {"tool_calls": [_delta(index, call, number, piece)]})

    def closing(self, wants_usage: bool) -> list[dict[str, Any]]:
        """The events after the last token."""
        said = self._said
        events = [
            self._chunk(index, {}, reason=self._reason()) for index, _ in enumerate(said.choices)
        ]
        if said.usage is not None and wants_usage:
            events.append({**self._chunk(0, {}), "choices": [], **_usage(said)})
        return events

    def _choice(self, index: int, tokens: list[str]) -> dict[str, Any]:
        said = self._said
        message: dict[str, Any] = {"role": "assistant", "content": "".join(tokens) or None}
        if not (said.calls or said.refusal):
            message["content"] = "".join(tokens)
        message["refusal"] = "".join(said.refusal) or None
        if said.reasoning:
            message["reasoning_content"] = "".join(said.reasoning)
        if said.calls:
            message["tool_calls"] = [_call(call) for call in said.calls]
        choice = {"index": index, "message": message, "finish_reason": self._reason()}
        return {**choice, **self._logprobs(tokens, 0)}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": reason, **(logprobs or {})}
        return {**self._common("chat.completion.chunk"), "choices": [choice]}

    def _common(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._ident,
            "object": kind,
            "created": self._created,
            "model": self._said.model,
        }

    def _reason(self) -> str:
        said = self._said
        return said.finish_reason or ("tool_calls" if said.calls else "stop")

    def _logprobs(self, tokens: list[str], first: int) -> dict[str, Any]:
        if self._said.logprobs in (None, False):
            return {}
        content = [
            {
                "token": token,
                "logprob": self._said.logprob(first + index),
                "bytes": list(token.encode()),
                "top_logprobs": [],
            }
            for index, token in enumerate(tokens)
        ]
        return {"logprobs": {"content": content, "refusal": None}}


class Completion(Chat):
    """A text completion."""

    def __init__(self, said: Said, ident: str, created: int) -> None:
        super().__init__(said, ident, created)
        self._ident = f"cmpl-{ident}"

    def opening(self) -> list[dict[str, Any]]:
        return []

    def tokens(self) -> Iterator[dict[str, Any]]:
        for index, choice in enumerate(self._said.choices):
            for token in choice:
                yield self._text(index, token)

    def body(self) -> dict[str, Any]:
        said = self._said
        choices = [
            {"index": index, "text": "".join(tokens), "logprobs": None, "finish_reason": "stop"}
            for index, tokens in enumerate(said.choices)
        ]
        for choice in choices:
            choice["finish_reason"] = self._reason()
        return {**self._common("text_completion"), "choices": choices, **_usage(said)}

    def closing(self, wants_usage: bool) -> list[dict[str, Any]]:
        said = self._said
        events = [self._text(index, "", self._reason()) for index, _ in enumerate(said.choices)]
        if said.usage is not None and wants_usage:
            events.append({**self._common("text_completion"), "choices": [], **_usage(said)})
        return events

    def _text(self, index: int, text: str, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        return {**self._common("text_completion"), "choices": [choice]}


def _call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _delta(index: int, call: Call, number: int, piece: str) -> dict[str, Any]:
    function = {"arguments": piece}
    if number:
        return {"index": index, "function": function}
    named = {"name": call.name, **function}
    return {"index": index, "id": call.id, "type": "function", "function": named}


def _usage(said: Said) -> dict[str, Any]:
    usage = said.usage
    if usage is None:
        return {}
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    total = prompt + completion if isinstance(prompt + completion, int) else 0
    return {
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
            **usage,
        }
    }
