"""Which format an answer has on a route that shimmy has not, or has otherwise.

Strategy: a format gives a body, or the events before, at and after the tokens; here they are
framed and marked, so that the player can time, count and damage them like shimmy's own.
"""

from __future__ import annotations

from fake_shimmy.script.conditions import ENDPOINTS, OTHER_ENDPOINTS
from fake_shimmy.stage.answers import embeddings
from fake_shimmy.stage.answers.chat import Chat, Completion
from fake_shimmy.stage.answers.messages import MORE, Message
from fake_shimmy.stage.answers.responses import Response
from fake_shimmy.stage.answers.said import Said, dumps
from fake_shimmy.wire import sse
from fake_shimmy.wire.steps import END, TOKEN, Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.script.rules import Answer, Event
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.steps import Step, Steps

    Format: TypeAlias = Chat | Message | Response

_FORMATS: dict[str, type[Format]] = {
    ENDPOINTS["chat"]: Chat,
    ENDPOINTS["completions"]: Completion,
    ENDPOINTS["messages"]: Message,
    OTHER_ENDPOINTS["responses"]: Response,
}
_DONE = b"data: [DONE]\n\n"


def render(context: Context, request: ScriptedRequest, answer: Answer) -> Steps | None:
    """The steps that give ``answer``; None where its route has no format for what it says."""
    head = request.head
    if answer.events is not None:
        return _raw(context, request, answer.events)
    facts = request.record
    document = facts.json if isinstance(facts.json, dict) else {}
    if answer.embeddings is not None:
        body = embeddings.body(answer.embeddings, document, answer.usage)
        return (context.json(head, dumps(body)),)
    kind = _FORMATS.get(facts.path)
    if kind is None:
        return None
    said = Said(request, answer, document)
    form: Format = kind(said, context.server.identifier(), context.server.seconds())
    if said.is_streamed:
        wants_usage = _wants_usage(document)
        if answer.usage is not None and not wants_usage and isinstance(form, Chat):
            missing = 'usage: the request has no "stream_options": {"include_usage": true}'
            request.record.unfired += (missing,)
        return _stream(context, request, form, wants_usage)
    request.total = said.total
    return (context.json(head, dumps(form.body())),)


def _stream(
    context: Context, request: ScriptedRequest, form: Format, wants_usage: bool
) -> Iterator[Step]:
    head = request.head
    chunked = not head.is_1_0
    is_named = not isinstance(form, Chat)

    def event(document: dict[str, Any]) -> bytes:
        document.pop(MORE, None)
        name = f"event: {document['type']}\n".encode() if is_named else b""
        return sse.frame(b"%bdata: %b\n\n" % (name, dumps(document)), chunked)

    yield context.stream_head(head) + b"".join(map(event, form.opening()))
    waiting = b""
    for document in form.tokens():
        if MORE in document:
            waiting += event(document)
            continue
        yield TOKEN
        yield waiting + event(document)
        waiting = b""
    yield END
    closing = b"".join(map(event, form.closing(wants_usage)))
    done = b"" if is_named else sse.frame(_DONE, chunked)
    yield waiting + closing + done + (b"0\r\n\r\n" if chunked else b"")
    if head.is_1_0:
        yield Cut()


def _raw(context: Context, request: ScriptedRequest, events: list[Event]) -> Iterator[Step]:
    head = request.head
    chunked = not head.is_1_0
    yield context.stream_head(head)
    for event in events:
        # An empty chunk would be the end.
        if data := _bytes(event):
            yield TOKEN
            yield sse.frame(data, chunked)
    yield END
    if chunked:
        yield b"0\r\n\r\n"
    else:
        yield Cut()


def _bytes(event: Event) -> bytes:
    if event.base64 is not None:
        return event.base64
    if event.raw is not None:
        return event.raw.encode()
    data = event.data if isinstance(event.data, str) else dumps(event.data).decode()
    name = b"" if event.event is None else f"event: {event.event}\n".encode()
    return name + sse.event(data)


def _wants_usage(document: dict[str, Any]) -> bool:
    options = document.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
