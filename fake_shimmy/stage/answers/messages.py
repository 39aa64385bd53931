"""Messages as Anthropic has them: text, thinking, tool_use, streamed or not."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fake_shimmy.stage.answers.said import Said


class Message:
    """A message that says ``said``; each event has a ``type``, which is its kind too."""

    def __init__(self, said: Said, ident: str, created: int) -> None:  # noqa: ARG002
        self._said = said
        self._ident = f"msg_{ident}"

    def body(self) -> dict[str, Any]:
        """The answer in one piece."""
        said = self._said
        content: list[dict[str, Any]] = []
        if said.reasoning:
            content.append(_thinking("".join(said.reasoning)))
        if said.text or said.refusal or not said.calls:
            content.append({"type": "text", "text": "".join(said.text or said.refusal)})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.document()}
            for call in said.calls
        ]
        return self._message(content, self._reason())

    def opening(self) -> list[dict[str, Any]]:
        """The events before the first token."""
        return [{"type": "message_start", "message": self._message([], None)}]

    def tokens(self) -> Iterator[dict[str, Any]]:
        """One event for each token; what begins or ends a block is between two of them."""
        said = self._said
        index = 0
        blocks: list[tuple[dict[str, Any], str, str, list[str]]] = []
        if said.reasoning:
            blocks.append((_thinking(""), "thinking_delta", "thinking", said.reasoning))
        if text := said.text or said.refusal:
            blocks.append(({"type": "text", "text": ""}, "text_delta", "text", text))
        for call in said.calls:
            begun = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            blocks.append((begun, "input_json_delta", "partial_json", call.pieces))
        for index, (begun, kind, member, pieces) in enumerate(blocks):
            yield {
                "type": "content_block_start",
                "index": index,
                "content_block": begun,
                MORE: True,
            }
            for piece in pieces:
                delta = {"type": kind, member: piece}
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index, MORE: True}

    def closing(self, wants_usage: bool) -> list[dict[str, Any]]:  # noqa: ARG002
        """The events after the last token."""
        delta = {"stop_reason": self._reason(), "stop_sequence": None}
        usage = {"output_tokens": self._usage()["output_tokens"]}
        return [
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop"},
        ]

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        return {
            "id": self._ident,
            "type": "message",
            "role": "assistant",
            "model": self._said.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": self._usage(),
        }

    def _reason(self) -> str:
        said = self._said
        usual = "tool_use" if said.calls else "refusal" if said.refusal else "end_turn"
        return said.finish_reason or usual

    def _usage(self) -> dict[str, Any]:
        usage = {"input_tokens": 0, "output_tokens": self._said.total}
        return {**usage, **(self._said.usage or {})}


MORE = "\0more"
"""Marks an event that is no token's own."""


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": ""}
