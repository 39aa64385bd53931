"""What an answer says, ready to be put into the format of a route: texts, calls, numbers.

Strategy: everything is a list of tokens, so that every format can stream it and time it.
"""

from __future__ import annotations

import json

from fake_shimmy.models import reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fake_shimmy.script.rules import Answer, ToolCall
    from fake_shimmy.stage.scripted_request import ScriptedRequest


class Call:
    """A call of a tool; ``pieces`` are its arguments as they are streamed."""

    __slots__ = ("arguments", "id", "name", "pieces")

    def __init__(self, call: ToolCall, ident: str) -> None:
        arguments = call.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        self.name = call.name
        self.id = call.id or ident
        self.arguments: str = arguments
        self.pieces = [arguments] if call.whole else reply.tokenize(arguments)

    def document(self) -> Any:
        """The arguments as a value, where they are one."""
        try:
            return json.loads(self.arguments)
        except ValueError:
            return {"arguments": self.arguments}


class Said:
    """What ``answer`` says to ``request``, whose body is ``document``."""

    def __init__(self, request: ScriptedRequest, answer: Answer, document: dict[str, Any]) -> None:
        self.model = str(document.get("model", ""))
        self.is_streamed = document.get("stream") is True
        self.reasoning = _tokens(answer.reasoning)
        self.refusal = _tokens(answer.refusal)
        said = answer.reply
        if said is None and not (answer.tool_calls or self.refusal or answer.choices):
            prompt = str(request.record.last)
            said = reply.default_reply(prompt, prompt)
        self.text = _tokens(said)
        self.choices = [_tokens(choice) for choice in answer.choices] or [self.text]
        self.calls = [
            Call(call, f"call_{request.session.next_call()}") for call in answer.tool_calls
        ]
        self.finish_reason = answer.finish_reason
        self.usage = answer.usage
        self.logprobs = answer.logprobs

    @property
    def total(self) -> int:
        """How many tokens there are."""
        texts = sum(map(len, self.choices))
        calls = sum(len(call.pieces) for call in self.calls)
        return len(self.reasoning) + len(self.refusal) + texts + calls

    def logprob(self, index: int) -> float:
        """Of the token with that index."""
        if isinstance(self.logprobs, list):
            return self.logprobs[index] if index < len(self.logprobs) else 0.0
        return -0.1


def dumps(document: Any) -> bytes:
    """JSON as these servers write it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _tokens(text: str | list[str] | None) -> list[str]:
    if text is None or text == "":
        return []
    return reply.tokenize(text) if isinstance(text, str) else text
