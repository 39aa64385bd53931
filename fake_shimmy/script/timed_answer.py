"""A recorded exchange: what was asked, and the answer to the byte, with the moment of each part.

Strategy: nodes as for scripts, so that a file that was edited by hand is refused with the path of
what is wrong. A chunk is what was framed as one: a chunk of HTTP, a frame of a WebSocket, or one
read where there is no framing. Moments are milliseconds after the complete request.
"""

from __future__ import annotations

import json

from fake_shimmy.script.shapes import (
    Anything,
    Field,
    Flag,
    Items,
    Node,
    Number,
    OneOf,
    ScriptError,
    Shape,
    Text,
    of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, ClassVar

    from fake_shimmy.script.shapes import Path

FRAMINGS = ("none", "length", "close", "chunked", "frames")
"""How a body is framed: it has none, by its ``content-length``, by the end of the connection, in
chunks of HTTP, in frames of a WebSocket."""

ENDS = ("complete", "closed", "reset", "left")
"""How an answer ended: as its framing says; by the server's FIN or RST, which for ``close`` and
``frames`` may be all there is; or the client left and the rest is not known."""

RAW = "raw"
MOMENT = Number(0, 10**9)
_TEXT_FRAME = b"\x81"


class Chunk:
    """Bytes that came together, ``moment`` ms after the complete request.

    ``marker`` is what stood around them, where that is not the usual: the line with a chunk's
    size, a frame's head in hexadecimal digits, or :data:`RAW` where nothing did: the bytes were
    no chunk, or not yet a whole one.
    """

    __slots__ = ("data", "marker", "moment")

    def __init__(self, moment: float, data: bytes, marker: str = "") -> None:
        self.moment = moment
        self.data = data
        self.marker = marker

    def document(self) -> list[Any]:
        """The chunk as plain values."""
        content: Any
        try:
            content = self.data.decode()
        except UnicodeDecodeError:
            import base64

            content = {"base64": base64.b64encode(self.data).decode()}
        return [self.moment, content, *([self.marker] if self.marker else [])]


class _Chunks(Shape):
    name = "a chunk: [milliseconds, text], [milliseconds, {base64: …}], perhaps with its marker"

    def read(self, value: object, path: Path) -> Chunk:
        if not isinstance(value, list) or not 2 <= len(value) <= 3:
            raise self.refused(value, path)
        moment = MOMENT.read(value[0], (*path, 0))
        marker = Text().read(value[2], (*path, 2)) if len(value) > 2 else ""
        content = value[1]
        if isinstance(content, str):
            return Chunk(moment, Text().read(content, (*path, 1)).encode(), marker)
        if not isinstance(content, dict) or list(content) != ["base64"]:
            raise self.refused(value, path)
        import base64

        try:
            return Chunk(moment, base64.b64decode(content["base64"], validate=True), marker)
        except (ValueError, TypeError):
            raise ScriptError((*path, 1), "this is not base64") from None

    def schema(self) -> dict[str, Any]:
        raw = {"type": "object", "properties": {"base64": {"type": "string"}}}
        content = {"anyOf": [{"type": "string"}, {**raw, "required": ["base64"]}]}
        return {
            "type": "array",
            "prefixItems": [{"type": "number"}, content, {"type": "string"}],
            "minItems": 2,
            "maxItems": 3,
        }


class TimedAnswer(Node):
    """An answer as a client received it."""

    head: list[str]
    at: float
    framing: str
    lower_hex: bool
    chunks: list[Chunk]
    trailers: list[str]
    end: str
    FIELDS: ClassVar[dict[str, Field]] = {
        "head": Field(Items(Text()), [], "status line and headers; none: there was no answer"),
        "at": Field(MOMENT, 0.0, "when the head was complete, in ms"),
        "framing": Field(OneOf(FRAMINGS), "none", "how the body is framed"),
        "lower_hex": Field(Flag(), False, "the sizes of chunks have small letters"),
        "chunks": Field(
            Items(_Chunks()), [], "the body; an empty chunk of HTTP is the last of its answer"
        ),
        "trailers": Field(Items(Text()), [], "header lines after the last chunk"),
        "end": Field(OneOf(ENDS), "complete", "how the answer ended"),
    }

    def check(self) -> None:
        if self.framing in ("none",) and self.chunks:
            raise ValueError("there are chunks, and the framing says that there is no body")
        for line in (*self.head, *self.trailers):
            if "\r" in line or "\n" in line or not _is_latin(line):
                raise ValueError(f"{line!r} is not a line of a head")

    @property
    def status(self) -> int | None:
        """The number in the status line."""
        digits = self.head[0].split(" ")[1:2] if self.head else []
        return int(digits[0]) if digits and digits[0].isdecimal() else None

    def header(self, name: str) -> str | None:
        """The first value of a header; ``name`` is in lower case."""
        for line in self.head[1:]:
            known, _, value = line.partition(":")
            if known.strip().lower() == name:
                return value.strip()
        return None

    @property
    def body(self) -> bytes:
        """The chunks without their framing."""
        return b"".join(chunk.data for chunk in self.chunks)

    def raw_head(self) -> bytes:
        """The head's bytes."""
        return "\r\n".join([*self.head, "", ""]).encode("latin-1") if self.head else b""

    def framed(self, chunk: Chunk) -> bytes:
        """A chunk's bytes with what stands around them."""
        if chunk.marker == RAW:
            return chunk.data
        if self.framing == "chunked":
            size = f"{len(chunk.data):x}" if self.lower_hex else f"{len(chunk.data):X}"
            line = (chunk.marker or size).encode("latin-1")
            if chunk.data:
                return line + b"\r\n" + chunk.data + b"\r\n"
            trailers = "".join(f"{trailer}\r\n" for trailer in self.trailers)
            return line + b"\r\n" + trailers.encode("latin-1") + b"\r\n"
        if self.framing == "frames":
            head = bytes.fromhex(chunk.marker) if chunk.marker else frame_head(len(chunk.data))
            return head + chunk.data
        return chunk.data

    def raw(self) -> bytes:
        """The whole answer's bytes."""
        return self.raw_head() + b"".join(map(self.framed, self.chunks))

    def document(self) -> dict[str, Any]:
        """The answer as plain values; what is usual is left out."""
        document: dict[str, Any] = {}
        for name, field in self.FIELDS.items():
            value = getattr(self, name)
            if name == "chunks":
                value = [chunk.document() for chunk in value]
            if value != field.default or name in ("head", "at"):
                document[name] = value
        return document


class AskedRequest(Node):
    """A request as recordings are found by it. Its headers are not kept."""

    method: str
    path: str
    json: Any
    text: str | None
    base64: str | None
    messages: list[Any]
    before: int
    after: list[int]
    moments: list[float]
    FIELDS: ClassVar[dict[str, Field]] = {
        "method": Field(Text(), "GET", "the method"),
        "path": Field(Text(), "/", "the path, with its query"),
        "json": Field(Anything(), ..., "the body, where it is JSON"),
        "text": Field(Text(), None, "the body, where it is another text"),
        "base64": Field(Text(), None, "the body, where it is no text"),
        "messages": Field(
            Items(Anything()), None, "what the client sent over a WebSocket: texts, or JSON"
        ),
        "before": Field(
            Number(0, 10**9, is_float=False),
            0,
            "how many frames of the answer came before the first of those messages",
        ),
        "after": Field(
            Items(Number(0, 10**9, is_float=False)),
            [],
            "how many frames of the answer came before each of those messages but the first",
        ),
        "moments": Field(Items(MOMENT), [], "when those messages came, in ms after the first one"),
    }

    def check(self) -> None:
        later = len(self.messages or ()) - 1
        if len(self.after) != len(self.moments) or len(self.after) > max(later, 0):
            raise ValueError("after and moments have a number for each message but the first")
        if [self.before, *self.after] != sorted([self.before, *self.after]):
            raise ValueError("before and after do not rise")

    def document(self) -> dict[str, Any]:
        """The request as plain values."""
        values = {name: getattr(self, name) for name in self.FIELDS}
        return {
            name: value
            for name, value in values.items()
            if name in ("method", "path") or value != self.FIELDS[name].default
        }


class Recording(Node):
    """One exchange."""

    server: int
    request: AskedRequest
    answer: TimedAnswer
    SCHEMA: ClassVar[dict[str, Any]] = {"required": ["request", "answer"]}
    FIELDS: ClassVar[dict[str, Field]] = {
        "server": Field(
            Number(0, 10**6, is_float=False),
            0,
            "the number of the test's own server that was asked; 0: the shared one",
        ),
        "request": Field(of(AskedRequest), None, "what was asked"),
        "answer": Field(of(TimedAnswer), None, "what was answered"),
    }

    def check(self) -> None:
        if self.request is None or self.answer is None:
            raise ValueError("a recording has a request and an answer")

    def document(self) -> dict[str, Any]:
        """The recording as plain values."""
        server = {"server": self.server} if self.server else {}
        return {**server, "request": self.request.document(), "answer": self.answer.document()}


def read_recording(document: object) -> Recording:
    """A recording from plain values; raises :class:`ScriptError`."""
    recording: Recording = of(Recording).read(document, ())
    return recording


def frame_head(size: int) -> bytes:
    """The head of a whole text frame from a server."""
    if size < 126:
        return _TEXT_FRAME + bytes((size,))
    if size < 1 << 16:
        return _TEXT_FRAME + b"\x7e" + size.to_bytes(2)
    return _TEXT_FRAME + b"\x7f" + size.to_bytes(8)


def frame_size(head: bytes) -> int:
    """How many bytes follow the head of a frame; raises ``ValueError`` for what is no head."""
    if len(head) < 2:
        raise ValueError("no head of a frame")
    size = head[1] & 0x7F
    extra = {126: 2, 127: 8}.get(size, 0)
    if len(head) != 2 + extra + (4 if head[1] & 0x80 else 0):
        raise ValueError("no head of a frame")
    return int.from_bytes(head[2 : 2 + extra]) if extra else size


def events(chunk: bytes) -> Iterator[bytes]:
    """The data of the server-sent events in a chunk; all of it where there are none."""
    is_event = False
    for line in chunk.split(b"\n"):
        if line.startswith(b"data:"):
            is_event = True
            yield line[5:].strip()
    if not is_event and chunk.strip():
        yield chunk


def stated_tokens(body: bytes | str) -> int:
    """How many tokens an answer that came whole says it has; 0 where it does not say."""
    try:
        usage = json.loads(body)["usage"]
        count = usage.get("completion_tokens", usage.get("output_tokens", 0))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 0
    return count if type(count) is int and count >= 0 else 0


def _is_latin(line: str) -> bool:
    return all(character < "\u0100" for character in line)
