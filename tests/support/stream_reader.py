"""A reader of streams on a bare socket, right as it stands; and bugs that can be planted in it.

Strategy: what is read goes piece by piece (a chunk of HTTP each, as libraries hand them on) through
decoding, lines, events and contents; a bug changes one of these steps.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytest_shimmy import FakeShimmy

LONG = 60.0


class Answered(NamedTuple):
    """What the reader made of an answer."""

    text: str
    error: str | None
    finish_reason: str | None = None
    usage: Any = None


class WrongError(Exception):
    """The reader's own: this is no whole answer."""


BUGS = (
    "a character is decoded by pieces",
    "bytes that are no character are dropped",
    "a piece is taken for an event",
    "an event is taken to be in one piece",
    "a missing end marker is no error",
    "a reset is the end",
    "events without choices are skipped",
    "every event has choices",
    "events end in two LF",
    "every line has a field's name",
    "data has a space",
    "contents are stripped",
    "an empty content is the end",
    "the end marker is found anywhere",
    "all line ends are line ends",
    "a mark is no byte order mark",
    "the last line of data is the data",
    "broken JSON is skipped",
    "a status is not looked at",
    "any page is an answer",
    "the finish reason is always stop",
    "a text is read to its limit",
    "it asks again after content",
    "it asks again after all errors",
)
"""What the reader then believes."""


class Reader:
    """Asks the fake that `fake` controls, over connections of its own. ``bug`` is one of `BUGS`;
    ``retries`` is how often it may ask again."""

    def __init__(self, fake: FakeShimmy, bug: str | None = None, retries: int = 0) -> None:
        assert bug is None or bug in BUGS
        self._address = urlsplit(fake.server_url)
        self._key = fake.api_key
        self._bug = bug
        self._retries = retries
        self.shown = ""

    def ask(self) -> Answered:
        """One answer, whatever it takes."""
        self.shown = ""
        left = self._retries
        while True:
            try:
                return self._once()
            except (OSError, WrongError, ValueError, LookupError) as error:
                status = getattr(error, "status", None)
                is_passing = status in (None, 429, 500, 502, 503)
                is_passing = is_passing or self._has("it asks again after all errors")
                may_retry = not self.shown or self._has("it asks again after content")
                may_retry = may_retry and is_passing
                if not left or not may_retry:
                    return Answered(self.shown, f"{type(error).__name__}: {error}")
                left -= 1

    def _has(self, bug: str) -> bool:
        return self._bug == bug

    def pieces(self, path: str, body: bytes) -> tuple[int, list[bytes]]:
        """Status and pieces of an answer, as they come."""
        with self._connected(path, body) as (status, _, pieces):
            return status, list(pieces)

    def _once(self) -> Answered:
        body = b'{"model":"tiny","stream":true,"messages":[{"role":"user","content":"x"}]}'
        with self._connected("/v1/chat/completions", body) as answer:
            return self._read(*answer)

    @contextlib.contextmanager
    def _connected(
        self, path: str, body: bytes
    ) -> Iterator[tuple[int, dict[str, str], Iterator[bytes]]]:
        """Status, headers and pieces of the answer to a request."""
        address = (self._address.hostname or "", self._address.port or 0)
        with socket.create_connection(address, LONG) as peer:
            peer.sendall(
                b"POST %b HTTP/1.1\r\nhost: x\r\n"
                b"content-type: application/json\r\nauthorization: Bearer %b\r\n"
                b"content-length: %d\r\n\r\n%b"
                % (path.encode(), self._key.encode(), len(body), body)
            )
            with peer.makefile("rb") as file:
                first = file.readline()
                if not first:
                    raise WrongError("the connection was closed before an answer")
                headers = {}
                while (line := file.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                yield int(first.split()[1]), headers, _pieces(file, headers)

    def _read(self, status: int, headers: dict[str, str], pieces: Iterator[bytes]) -> Answered:
        if status != 200 and not self._has("a status is not looked at"):
            error = WrongError(f"status {status}")
            error.status = status  # type: ignore[attr-defined]
            raise error
        kind = headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            if self._has("any page is an answer") or status != 200:
                return Answered("", None)
            raise WrongError(f"content-type {kind}")
        reason, usage = None, None
        for data in self._events(self._lines(self._texts(pieces))):
            if data.strip() == "[DONE]" or (
                self._has("the end marker is found anywhere") and "[DONE]" in data
            ):
                return Answered(self.shown, None, reason, usage)
            try:
                document = json.loads(data)
            except ValueError:
                if self._has("broken JSON is skipped"):
                    continue
                raise
            if "error" in document and not self._has("events without choices are skipped"):
                raise WrongError(str(document["error"]))
            usage = document.get("usage") or usage
            choices = document.get("choices")
            if not choices and not self._has("every event has choices"):
                continue
            choice = choices[0]
            reason = choice["finish_reason"] or reason
            if reason and self._has("the finish reason is always stop"):
                reason = "stop"
            content = choice["delta"].get("content")
            if self._has("an empty content is the end") and content == "":
                return Answered(self.shown, None, "stop", usage)
            if content and self._has("contents are stripped"):
                content = content.strip()
            if content and self._has("a text is read to its limit"):
                content = content[:4096]
            self.shown += content or ""
        if self._has("a missing end marker is no error"):
            return Answered(self.shown, None, reason, usage)
        raise WrongError("the stream ended without its end marker")

    def _texts(self, pieces: Iterator[bytes]) -> Iterator[str]:
        """What is read, decoded."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        is_first = True
        try:
            for piece in pieces:
                if self._has("a character is decoded by pieces"):
                    text = piece.decode("utf-8", "replace")
                elif self._has("bytes that are no character are dropped"):
                    text = piece.decode("utf-8", "ignore")
                else:
                    text = decoder.decode(piece)
                if is_first and text:
                    is_first = False
                    if not self._has("a mark is no byte order mark"):
                        text = text.removeprefix("\ufeff")
                yield text
        except ConnectionResetError:
            if not self._has("a reset is the end"):
                raise
            yield "data: [DONE]\n\n"

    def _lines(self, texts: Iterator[str]) -> Iterator[str]:
        """Lines without their ends; an empty one ends an event."""
        if self._has("a piece is taken for an event"):
            for text in texts:
                yield from (text.replace("\r", "").strip("\n").split("\n\n")[0].split("\n"))
                yield ""
            return
        if self._has("an event is taken to be in one piece"):
            for text in texts:
                yield from text.replace("\r", "").rpartition("\n\n")[0].split("\n")
                yield ""
            return
        waiting = ""
        for text in texts:
            waiting += text
            if self._has("events end in two LF"):
                *events, waiting = waiting.split("\n\n")
                for event in events:
                    yield from event.split("\n")
                    yield ""
                continue
            if self._has("all line ends are line ends"):
                lines = waiting.splitlines(keepends=True)
                waiting = lines.pop() if lines and not lines[-1].endswith("\n") else ""
                yield from (line.rstrip("\r\n") for line in lines)
                continue
            *lines, waiting = waiting.split("\n")
            yield from (line.rstrip("\r") for line in lines)

    def _events(self, lines: Iterator[str]) -> Iterator[str]:
        """The data of each event."""
        data: list[str] = []
        for line in lines:
            if not line:
                if data:
                    last = self._has("the last line of data is the data")
                    yield data[-1] if last else "\n".join(data)
                data = []
                continue
            name, _, value = line.partition(":")
            if self._has("every line has a field's name") and not name:
                raise WrongError(f"no field: {line!r}")
            if name != "data":
                continue
            if self._has("data has a space") and not value.startswith(" "):
                continue
            data.append(value.removeprefix(" "))


def _pieces(file: Any, headers: dict[str, str]) -> Iterator[bytes]:
    """The body, chunk by chunk; raises `WrongError` where the connection ends before the body."""
    if headers.get("transfer-encoding") != "chunked":
        yield file.read(int(headers.get("content-length", 0)))
        return
    while True:
        line = file.readline()
        if not line:
            raise WrongError("the connection was closed in the body")
        size = int(line, 16)
        data = file.read(size + 2)
        if not size:
            return
        if len(data) < size + 2:
            raise WrongError("the connection was closed in a chunk")
        yield data[:-2]
