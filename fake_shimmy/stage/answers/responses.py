"""Responses as OpenAI's newer API has them: messages, function calls, reasoning."""

from __future__ import annotations

from fake_shimmy.stage.answers.messages import MORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fake_shimmy.stage.answers.said import Call, Said


class Response:
    """A response that says ``said``; each event has a ``type``, which is its kind too."""

    def __init__(self, said: Said, ident: str, created: int) -> None:
        self._said = said
        self._ident = ident
        self._created = created
        self._number = 0

    def body(self) -> dict[str, Any]:
        """The answer in one piece."""
        return self._response("completed", [item for item, _ in self._items()])

    def opening(self) -> list[dict[str, Any]]:
        """The events before the first token."""
        begun = self._response("in_progress", [])
        return [
            self._event("response.created", response=begun),
            self._event("response.in_progress", response=begun),
        ]

    def tokens(self) -> Iterator[dict[str, Any]]:
        """One event for each token; what begins or ends an item is between two of them."""
        for index, (item, pieces) in enumerate(self._items()):
            yield from self._item(index, item, pieces)

    def closing(self, wants_usage: bool) -> list[dict[str, Any]]:  # noqa: ARG002
        """The events after the last token."""
        return [self._event("response.completed", response=self.body())]

    def _item(
        self, index: int, item: dict[str, Any], pieces: list[str]
    ) -> Iterator[dict[str, Any]]:
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress"}
        kind = item["type"]
        if kind == "function_call":
            begun["arguments"] = ""
        else:
            begun["summary" if kind == "reasoning" else "content"] = []
        yield self._between("response.output_item.added", output_index=index, item=begun)
        text = "".join(pieces)
        if kind == "function_call":
            what = "response.function_call_arguments"
            for piece in pieces:
                yield self._event(f"{what}.delta", **place, delta=piece)
            yield self._between(f"{what}.done", **place, arguments=text)
        elif kind == "reasoning":
            for piece in pieces:
                yield self._event(
                    "response.reasoning_summary_text.delta", **place, summary_index=0, delta=piece
                )
        else:
            part = item["content"][0]
            name = "refusal" if part["type"] == "refusal" else "text"
            what = "response.refusal" if name == "refusal" else "response.output_text"
            place["content_index"] = 0
            empty = {**part, name: ""}
            yield self._between("response.content_part.added", **place, part=empty)
            more: dict[str, Any] = {} if name == "refusal" else {"logprobs": []}
            for piece in pieces:
                yield self._event(f"{what}.delta", **place, delta=piece, **more)
            yield self._between(f"{what}.done", **place, **{name: text}, **more)
            yield self._between("response.content_part.done", **place, part=part)
        yield self._between("response.output_item.done", output_index=index, item=item)

    def _items(self) -> list[tuple[dict[str, Any], list[str]]]:
        said = self._said
        items: list[tuple[dict[str, Any], list[str]]] = []
        if said.reasoning:
            summary = [{"type": "summary_text", "text": "".join(said.reasoning)}]
            reasoning = {"id": f"rs_{self._ident}", "type": "reasoning", "summary": summary}
            items.append((reasoning, said.reasoning))
        if said.refusal:
            refused = {"type": "refusal", "refusal": "".join(said.refusal)}
            items.append((self._message(refused), said.refusal))
        elif said.text or not said.calls:
            part: dict[str, Any] = {
                "type": "output_text",
                "text": "".join(said.text),
                "annotations": [],
                "logprobs": [],
            }
            items.append((self._message(part), said.text))
        items += [(_call(call), call.pieces) for call in said.calls]
        return items

    def _message(self, part: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self._ident}",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._said.total,
            "output_tokens_details": {"reasoning_tokens": len(self._said.reasoning)},
            "total_tokens": self._said.total,
            **(self._said.usage or {}),
        }
        return {
            "id": f"resp_{self._ident}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self._said.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": usage if status == "completed" else None,
        }

    def _event(self, kind: str, **members: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **members}

    def _between(self, kind: str, **members: Any) -> dict[str, Any]:
        return {**self._event(kind, **members), MORE: True}


def _call(call: Call) -> dict[str, Any]:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": call.id,
        "name": call.name,
    }
