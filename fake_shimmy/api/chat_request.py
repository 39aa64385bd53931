"""The request body of chat completions: from bytes to a checked request.

Strategy: a short way for the body that everybody sends (C parser, a few type checks) and an exact
way for everything else, a table for :mod:`fake_shimmy.serde.structs`, which reads field by field in
serde's order. The short way never accepts what the exact one would refuse; where it is not sure it
steps aside. What a body may hold differs between releases, so there is more than one shape of it.
Seen on 2.5.0 CPU-only and 1.8.1.
"""

from __future__ import annotations

import json

from fake_shimmy.serde import structs
from fake_shimmy.serde.structs import Struct, boolean, f32, optional, string, usize
from fake_shimmy.wire.steps import SMALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fake_shimmy.serde.jsonbody import Json, Reader
    from fake_shimmy.serde.structs import Field

LARGEST = 2**64 - 1

_DEEP = 100
"""Values within values that are few to both parsers."""


class ChatRequest:
    """What of a chat completion request has an effect; ``messages`` are (role, text) pairs, and
    ``has_media`` is whether any of them is a :class:`Media`."""

    __slots__ = ("has_media", "include_usage", "max_tokens", "messages", "model", "stream")

    def __init__(
        self,
        model: str,
        messages: list[tuple[str, str]],
        max_tokens: int | None,
        stream: bool | None,
        has_media: bool,
        include_usage: bool = False,
    ) -> None:
        self.model = model
        self.messages = messages
        self.max_tokens = max_tokens
        self.stream = stream
        self.has_media = has_media
        self.include_usage = include_usage


class Media(str):
    """The text of a message that holds something else as well."""

    __slots__ = ()


class Shape:
    """What a body may hold. ``text_of`` makes a text of a message's content that is none, or
    None where it cannot; ``numbers`` are the fields that are floats."""

    __slots__ = ("has_stream_options", "numbers", "struct", "text_of")

    def __init__(
        self, struct: Struct, numbers: Iterable[str], text_of: Callable[[Json], str | None]
    ) -> None:
        self.has_stream_options = "stream_options" in struct.fields
        self.struct = struct
        self.numbers = frozenset(numbers)
        self.text_of = text_of


def read_chat(body: bytes, shape: Shape, exponent_mark: str) -> ChatRequest:
    """The request in ``body``; raises :class:`structs.RejectedError`."""
    request = _read_chat_quickly(body, shape)
    if request is not None:
        return request
    fields = structs.read_body(body, shape.struct.read, exponent_mark)
    get = fields.get
    messages = fields["messages"]
    has_media = any(isinstance(text, Media) for _, text in messages)
    include_usage = bool((get("stream_options") or {}).get("include_usage"))
    return ChatRequest(
        fields["model"], messages, get("max_tokens"), get("stream"), has_media, include_usage
    )


class _UnusualError(Exception):
    pass


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _UnusualError
    return members


def _unusual(_: str) -> Json:
    raise _UnusualError


def _integer(digits: str) -> int:
    if digits == "-0":
        # A float to serde.
        raise _UnusualError
    return int(digits)


_scan = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_unusual, parse_int=_integer
).raw_decode


_newest: tuple[bytes, object] = b"", ...
"""The newest small body, and what is in it: rules look into it after the handler."""


def document_in(body: bytes) -> object:
    """What is in ``body``, where that very one was just read to its end; else ``...``."""
    newest, document = _newest
    return document if newest is body else ...


def _read_chat_quickly(body: bytes, shape: Shape) -> ChatRequest | None:
    global _newest
    try:
        decoded = body.decode().strip(" \n\t\r")
        if _is_read_differently(decoded):
            return None
        document, end = _scan(decoded)
    except (ValueError, RecursionError, _UnusualError):
        return None
    if type(document) is not dict:
        return None
    if end == len(decoded) and len(body) <= SMALL:
        _newest = body, document
    get = document.get
    model, messages, max_tokens, stream = (
        get("model"),
        get("messages"),
        get("max_tokens"),
        get("stream"),
    )
    if (
        type(model) is not str
        or type(messages) is not list
        or not (max_tokens is None or (type(max_tokens) is int and 0 <= max_tokens <= LARGEST))
        or not (stream is None or type(stream) is bool)
    ):
        return None
    if not shape.numbers.isdisjoint(document):
        for name in shape.numbers:
            if name in document and not _fits_f32(document[name]):
                return None
    if document.get("stream_options") is not None and shape.has_stream_options:
        return None
    if "stop" in document and not _fits_stop(document["stop"]):
        return None
    pairs = []
    has_media = False
    for message in messages:
        if type(message) is not dict:
            return None
        role, content = message.get("role"), message.get("content")
        if type(role) is not str:
            return None
        if type(content) is not str:
            content = shape.text_of(content)
            if content is None:
                return None
            has_media = has_media or isinstance(content, Media)
        pairs.append((role, content))
    return ChatRequest(model, pairs, max_tokens, stream, has_media)


def _is_read_differently(text: str) -> bool:
    """Whether there are escaped surrogates in it, or values too deep within others, of which the
    two parsers think differently."""
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        return True
    if len(text) <= 2 * _DEEP:
        return False  # each value that others are in has two ends
    return text.count("{") + text.count("[") > _DEEP and _is_deep(text)


def _is_deep(text: str) -> bool:
    depth = 0
    for character in text:
        if character in "{[":
            depth += 1
            if depth > _DEEP:
                return True
        elif character in "}]":
            depth -= 1
    return False


def _fits_f32(number: object) -> bool:
    if type(number) is float:
        # What overflows is out of range to serde and infinity to the short way.
        return abs(number) < 1e300
    return number is None or (type(number) is int and abs(number) <= LARGEST)


def _fits_stop(stop: object) -> bool:
    if stop is None or isinstance(stop, str):
        return True
    return isinstance(stop, list) and all(isinstance(item, str) for item in stop)


def _text_of_parts(content: Json) -> str | None:
    """The joined texts of content parts; None where they are not of that shape."""
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        fields = structs.buffered(part, ("type", "text"))
        if fields is None or not isinstance(fields.get("type"), str):
            return None
        text = fields.get("text")
        if isinstance(text, str):
            texts.append(text)
        elif text is not None:
            return None
    return "\n".join(texts)


def _text_or_media(content: Json) -> str | None:
    """The same; what is not all text is marked."""
    text = _text_of_parts(content)
    if text is None or not isinstance(content, list):
        return text
    parts = (structs.buffered(part, ("type", "text")) or {} for part in content)
    return text if all(part.get("type") == "text" for part in parts) else Media(text)


def _stop(reader: Reader) -> None:
    if not _fits_stop(value := reader.any()) or value is None:
        raise reader.misfit("data did not match any variant of untagged enum StopTokens")


def _no_text(_: Json) -> None:
    return None


_FIELDS = {
    "stream": optional(boolean),
    "temperature": optional(f32),
    "max_tokens": optional(usize),
    "top_p": optional(f32),
    "stop": optional(_stop),
}
_STREAM_OPTIONS = Struct("StreamOptions", {"include_usage": boolean}, required=())
_WITH_OPTIONS = {
    "stream": optional(boolean),
    "stream_options": optional(_STREAM_OPTIONS.read),
    **_FIELDS,
}
_PENALTIES = {"frequency_penalty": optional(f32), "presence_penalty": optional(f32)}
_TEXTS = structs.messages("ChatMessage", string)
_MEDIA = structs.messages("OAIMessage", structs.text_or("MessageContent", _text_or_media))
_PARTS = structs.messages("OAIMessage", structs.text_or("MessageContent", _text_of_parts))


def _struct(messages: Field, fields: dict[str, Field]) -> Struct:
    known = {"model": string, "messages": messages, **fields}
    return Struct("ChatCompletionRequest", known, required=("model", "messages"))


SHAPES = {
    "text": Shape(_struct(_TEXTS, _FIELDS), ("temperature", "top_p"), _no_text),
    "parts": Shape(
        _struct(_PARTS, _FIELDS | _PENALTIES),
        ("temperature", "top_p", "frequency_penalty", "presence_penalty"),
        _text_of_parts,
    ),
    "options": Shape(
        _struct(_MEDIA, _WITH_OPTIONS | _PENALTIES),
        ("temperature", "top_p", "frequency_penalty", "presence_penalty"),
        _text_or_media,
    ),
}
"""The shapes by what a message may hold."""
