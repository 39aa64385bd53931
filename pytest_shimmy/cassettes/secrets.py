"""Secrets stay out of cassettes.

Strategy: what is known to be secret (keys of the settings and the environment, what clients sent
as credentials, what the user's patterns match) is replaced wherever a text is written. In answers
the replacement is as long as what it replaces, because framing counts bytes, and it is looked for
in the joined body, because a chunk may end inside a secret. A model tells a secret in pieces, an
event for each: so the texts of a stream's events are joined as well. Last, what is about to be
written is searched again, and a secret that is still there is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from fake_shimmy.script.same_request import Sameness, read_json
from fake_shimmy.script.timed_answer import AskedRequest, Chunk, Recording, TimedAnswer

from ..errors import ShimmyError, ShimmyErrorCode
from ..masking import SECRET_HEADERS, SHORTEST
from .rules import Rules

MASK = "*"


class _Span(NamedTuple):
    begin: int
    end: int


class Secrets:
    """What is secret in one run: texts, and the patterns of the rules."""

    def __init__(self, rules: Rules, values: Iterable[str]) -> None:
        forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
        self.texts = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        """The texts as they may be written, the longest first."""
        self.sameness: Sameness = rules.sameness(self.texts)
        """Which requests are the same, whatever secrets are in them."""
        patterns = [f"(?:{pattern})" for pattern in rules.secret]
        self._known = re.compile("|".join([*map(re.escape, self.texts), *patterns]) or r"(?!)")

    def request(self, request: AskedRequest) -> AskedRequest:
        """The request without secrets."""
        masked = self.sameness.masked
        text = self.sameness.without_secrets
        values: dict[str, Any] = {"method": request.method, "path": text(request.path)}
        if request.json is not ...:
            values["json"] = masked(request.json)
        if request.text is not None:
            values["text"] = text(request.text)
        if request.base64 is not None:
            values["base64"] = self._base64(request.base64)
        if request.messages is not None:
            values["messages"] = masked(request.messages)
            values |= {
                "before": request.before,
                "after": request.after,
                "moments": request.moments,
            }
        return AskedRequest(**values)

    def answer(self, answer: TimedAnswer) -> TimedAnswer:
        """The answer without secrets, as long as it was, in as many chunks."""
        body = self._long(answer.body.decode("utf-8", "surrogateescape"))
        pieces = _split(body.encode("utf-8", "surrogateescape"), answer.chunks)
        if answer.framing in ("chunked", "close", "frames", "length"):
            pieces = self._told_in_pieces(pieces, answer.framing)
        return TimedAnswer(
            head=[self._header(line) for line in answer.head],
            at=answer.at,
            framing=answer.framing,
            lower_hex=answer.lower_hex,
            chunks=[
                Chunk(chunk.moment, piece, chunk.marker)
                for chunk, piece in zip(answer.chunks, pieces, strict=True)
            ],
            trailers=[self._header(line) for line in answer.trailers],
            end=answer.end,
        )

    def recording(self, recording: Recording) -> Recording:
        """The exchange without secrets."""
        return Recording(
            server=recording.server,
            request=self.request(recording.request),
            answer=self.answer(recording.answer),
        )

    def check(self, document: Any, where: str) -> None:
        """Raise `ShimmyError` (``CASSETTE_SECRET``) for a secret in what is about to be written."""
        for path, text in _leaves(document):
            if self._known.search(text):
                raise _leak(where, _shown(path))
        for number, recording in enumerate(document.get("exchanges", ())):
            answer = recording["answer"]
            chunks = [chunk[1] for chunk in answer.get("chunks", ())]
            texts = [each if isinstance(each, str) else "" for each in chunks]
            if self._known.search("".join(texts)):
                raise _leak(where, f"exchanges[{number}].answer")

    def _header(self, line: str) -> str:
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() in SECRET_HEADERS:
            return f"{name}: {MASK * (len(value) - 1)}"
        return self._long(line)

    def _base64(self, text: str) -> str:
        import base64

        raw = base64.b64decode(text).decode("utf-8", "surrogateescape")
        masked = self._long(raw)
        if masked == raw:
            return text
        return base64.b64encode(masked.encode("utf-8", "surrogateescape")).decode()

    def _long(self, text: str) -> str:
        """A text that has to keep its length in bytes."""
        return self._known.sub(
            lambda found: MASK * len(found[0].encode("utf-8", "surrogateescape")), text
        )

    # Told in pieces

    def _told_in_pieces(self, pieces: list[bytes], framing: str) -> list[bytes]:
        """The same for what a stream's events say one after another."""
        if framing == "frames":
            lines = [[piece.decode("utf-8", "surrogateescape")] for piece in pieces]
            changed = self._mask_events([line for each in lines for line in each])
            return [line.encode("utf-8", "surrogateescape") for line in changed]
        body = b"".join(pieces).decode("utf-8", "surrogateescape")
        if body.count("\n") < 2:
            return pieces
        changed_body = "\n".join(self._mask_events(body.split("\n")))
        chunks = [Chunk(0, piece) for piece in pieces]
        return _split(changed_body.encode("utf-8", "surrogateescape"), chunks)

    def _mask_events(self, lines: list[str]) -> list[str]:
        told: dict[str, list[tuple[int, str]]] = {}
        documents: dict[int, Any] = {}
        for number, line in enumerate(lines):
            content = line.removeprefix("data:").strip()
            value = read_json(content) if content[:1] in ("{", "[", '"') else ...
            if value is ...:
                if line.startswith("data: "):
                    told.setdefault("", []).append((number, line[6:]))
                continue
            documents[number] = value
            for path, text in _leaves(value):
                told.setdefault(repr(path), []).append((number, text))
        changed = list(lines)
        for member, leaves in told.items():
            # A member that is the same in all events is no text that is told in pieces.
            if len({text for _, text in leaves}) > 1:
                for number, text, spans in self._straddling(leaves):
                    changed[number] = _replaced(changed[number], text, spans, is_json=bool(member))
        return changed

    def _straddling(self, leaves: list[tuple[int, str]]) -> Iterator[tuple[int, str, list[_Span]]]:
        """The texts that hold a part of a secret, and where in them it is."""
        whole = "".join(text for _, text in leaves)
        found = [_Span(*match.span()) for match in self._known.finditer(whole)]
        at = 0
        for number, text in leaves:
            spans = [
                _Span(max(span.begin - at, 0), min(span.end - at, len(text)))
                for span in found
                if span.begin < at + len(text) and span.end > at
            ]
            if spans:
                yield number, text, spans
            at += len(text)


def _replaced(line: str, text: str, spans: list[_Span], *, is_json: bool) -> str:
    """The line with those parts of a text in it masked, as long as it was."""
    hidden = {at for span in spans for at in range(*span)}
    encoders: list[Callable[[str], str]] = [lambda character: character]
    if is_json:
        encoders = [
            lambda character: json.dumps(character, ensure_ascii=False)[1:-1],
            lambda character: json.dumps(character)[1:-1],
        ]
    for encode in encoders:
        each = [encode(character) for character in text]
        masked = [
            MASK * len(character.encode("utf-8", "surrogateescape")) if at in hidden else character
            for at, character in enumerate(each)
        ]
        quoted = '"' if is_json else ""
        literal = f"{quoted}{''.join(each)}{quoted}"
        if literal in line:
            return line.replace(literal, f"{quoted}{''.join(masked)}{quoted}")
    # Written in a way that we do not know: better a broken event than a secret.
    return re.sub(r"[^\s{}:,\"]", MASK, line) if line.isascii() else MASK * len(line.encode())


def _split(body: bytes, like: list[Chunk]) -> list[bytes]:
    """The body in chunks of the same sizes."""
    pieces, at = [], 0
    for chunk in like:
        pieces.append(body[at : at + len(chunk.data)])
        at += len(chunk.data)
    return pieces


def _forms(value: str) -> set[str]:
    """How a text may be written: as it is, in JSON, in an address."""
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe=""),
        quote_plus(value),
    }


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The texts in a JSON value, names of members included, with their paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield (*path, name, "(name)"), name
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))


def _shown(path: tuple[Any, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _leak(where: str, place: str) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.CASSETTE_SECRET,
        f"{where} was not written: a secret is still in it, at {place}.\n"
        "Looked for: keys of the settings and the environment, credentials of requests, and the "
        "patterns of cassettes.toml. A pattern that also matches the replacement (***) does this.",
        {"cassette": where, "place": place},
    )
