"""Request bodies: from bytes to a checked request, or to the rejection that axum words.

Strategy: a short way for the body that everybody sends (C parser, a few type checks) and an exact
way for everything else, which reads field by field in serde's order with
:class:`fake_shimmy.jsonbody.Reader`. The short way never accepts what the exact one would refuse;
where it is not sure it steps aside. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

import json

from fake_shimmy.jsonbody import ObjectPairs, Reader
from fake_shimmy.jsonlexer import JsonError, describe_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from fake_shimmy.jsonbody import Json

    Field: TypeAlias = Callable[[Reader], Any]

LARGEST = 2**64 - 1


class RejectedError(Exception):
    """A body that is refused before the application sees it."""

    def __init__(self, status: bytes, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ChatRequest:
    """What of a chat completion request has an effect; ``messages`` are (role, text) pairs."""

    __slots__ = ("max_tokens", "messages", "model", "stream")

    def __init__(
        self,
        model: str,
        messages: list[tuple[str, str]],
        max_tokens: int | None,
        stream: bool | None,
    ) -> None:
        self.model = model
        self.messages = messages
        self.max_tokens = max_tokens
        self.stream = stream


def read_chat(body: bytes) -> ChatRequest:
    """The request in ``body``; raises :class:`RejectedError`."""
    request = _read_chat_quickly(body)
    if request is not None:
        return request
    reader = Reader(body)
    try:
        fields = _structure(reader, "ChatCompletionRequest", _CHAT_FIELDS, _CHAT_REQUIRED)
    except JsonError as error:
        if error.is_data:
            text = f"Failed to deserialize the JSON body into the target type: {error}"
            raise RejectedError(b"422 Unprocessable Entity", text) from None
        text = f"Failed to parse the request body as JSON: {error}"
        raise RejectedError(b"400 Bad Request", text) from None
    return ChatRequest(
        fields["model"], fields["messages"], fields.get("max_tokens"), fields.get("stream")
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
_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def _read_chat_quickly(body: bytes) -> ChatRequest | None:
    # Escaped surrogates and deep nesting are read differently by the two parsers.
    if b"\\ud" in body or b"\\uD" in body:
        return None
    if body.count(b"{") + body.count(b"[") > 100 and _is_deep(body):
        return None
    try:
        document = _scan(body.decode().lstrip(" \n\t\r"))[0]
    except (ValueError, RecursionError, _UnusualError):
        return None
    if type(document) is not dict:
        return None
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
    for name in _NUMBERS:
        if name in document and not _fits_f32(document[name]):
            return None
    if "stop" in document and not _fits_stop(document["stop"]):
        return None
    pairs = []
    for message in messages:
        if type(message) is not dict:
            return None
        role, content = message.get("role"), message.get("content")
        if type(role) is not str:
            return None
        text = content if type(content) is str else _text_of_parts(content)
        if text is None:
            return None
        pairs.append((role, text))
    return ChatRequest(model, pairs, max_tokens, stream)


def _is_deep(body: bytes) -> bool:
    depth = 0
    for byte in body:
        if byte in b"{[":
            depth += 1
            if depth > 100:
                return True
        elif byte in b"}]":
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


def _text_of_parts(content: object) -> str | None:
    """The joined texts of content parts; nothing where they are not of that shape."""
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if isinstance(part, ObjectPairs):
            names = [name for name, _ in part.pairs if name in ("type", "text")]
            if len(set(names)) != len(names):
                return None
            part = dict(part.pairs)
        elif isinstance(part, list):
            # A Rust struct is also read from a sequence of exactly its fields.
            if len(part) != 2:
                return None
            part = {"type": part[0], "text": part[1]}
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            return None
        text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
        elif text is not None:
            return None
    return "\n".join(texts)


def _structure(
    reader: Reader, name: str, fields: dict[str, Field], required: tuple[str, ...]
) -> dict[str, Any]:
    """A Rust struct: an object of its fields, or a sequence of them in order."""
    byte = reader.expect_value()
    if byte not in b"[{":
        raise reader.wrong_type(f"struct {name}")
    is_object = byte == 0x7B
    end = reader.end_object if is_object else reader.end_list
    reader.enter()
    try:
        if is_object:
            values = _members(reader, fields, required)
        else:
            values = _elements(reader, name, fields, required)
    except JsonError as error:
        # Serde looks for the end even then, and takes its place from there.
        depth = len(reader.path)
        try:
            end()
        except JsonError:
            del reader.path[depth:]
        raise reader.fix(error) from None
    reader.leave()
    end()
    return values


def _members(reader: Reader, fields: dict[str, Field], required: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    first = True
    while (key := reader.next_key(first)) is not None:
        first = False
        field = fields.get(key)
        if field is not None and key in values:
            raise reader.misfit(f"duplicate field `{key}`")
        reader.colon()
        reader.path.append(key)
        if field is None:
            reader.skip()
        else:
            values[key] = field(reader)
        reader.path.pop()
    for name in required:
        if name not in values:
            raise reader.misfit(f"missing field `{name}`")
    return values


def _elements(
    reader: Reader, name: str, fields: dict[str, Field], required: tuple[str, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for position, (key, field) in enumerate(fields.items()):
        if not reader.next_element(position == 0):
            if key not in required:
                break
            count = f"{len(fields)} element{'s' if len(fields) > 1 else ''}"
            text = f"invalid length {position}, expected struct {name} with {count}"
            raise reader.misfit(text)
        reader.path.append(position)
        values[key] = field(reader)
        reader.path.pop()
    return values


def _string(reader: Reader) -> str:
    if reader.expect_value() != 0x22:
        raise reader.wrong_type("a string")
    return reader.string()


def _boolean(reader: Reader) -> bool:
    byte = reader.expect_value()
    if byte not in b"tf":
        raise reader.wrong_type("a boolean")
    reader.word(b"true" if byte == 0x74 else b"false")
    return byte == 0x74


def _usize(reader: Reader) -> int:
    if reader.expect_value() not in b"-0123456789":
        raise reader.wrong_type("usize")
    number = reader.number()
    if isinstance(number, float):
        error = reader.misfit(f"invalid type: {describe_number(number)}, expected usize")
        raise reader.fix(error)
    if number < 0:
        error = reader.misfit(f"invalid value: {describe_number(number)}, expected usize")
        raise reader.fix(error)
    return number


def _f32(reader: Reader) -> float:
    if reader.expect_value() not in b"-0123456789":
        raise reader.wrong_type("f32")
    return float(reader.number())


def _optional(field: Field) -> Field:
    def read(reader: Reader) -> Any:
        if reader.peek() == 0x6E:
            reader.word(b"null")
            return None
        return field(reader)

    return read


def _content(reader: Reader) -> str:
    value = reader.any()
    text = value if isinstance(value, str) else _text_of_parts(value)
    if text is None:
        name = "MessageContent"
        raise reader.misfit(f"data did not match any variant of untagged enum {name}")
    return text


def _stop(reader: Reader) -> None:
    if not _fits_stop(value := reader.any()) or value is None:
        raise reader.misfit("data did not match any variant of untagged enum StopTokens")


def _message(reader: Reader) -> tuple[str, str]:
    fields = _structure(reader, "OAIMessage", _MESSAGE_FIELDS, ("role", "content"))
    return fields["role"], fields["content"]


def _messages(reader: Reader) -> list[tuple[str, str]]:
    if reader.expect_value() != 0x5B:
        raise reader.wrong_type("a sequence")
    reader.enter()
    messages: list[tuple[str, str]] = []
    while reader.next_element(not messages):
        reader.path.append(len(messages))
        messages.append(_message(reader))
        reader.path.pop()
    reader.leave()
    reader.end_list()
    return messages


_MESSAGE_FIELDS: dict[str, Field] = {"role": _string, "content": _content}
_CHAT_REQUIRED = ("model", "messages")
# In the order of declaration, which a body that is a sequence follows.
_CHAT_FIELDS: dict[str, Field] = {
    "model": _string,
    "messages": _messages,
    "stream": _optional(_boolean),
    "temperature": _optional(_f32),
    "max_tokens": _optional(_usize),
    "top_p": _optional(_f32),
    "stop": _optional(_stop),
    "frequency_penalty": _optional(_f32),
    "presence_penalty": _optional(_f32),
}
