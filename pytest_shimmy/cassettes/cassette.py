"""A cassette: the exchanges of one test, as a file that a person reads in a review."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fake_shimmy.script.shapes import ScriptError
from fake_shimmy.script.timed_answer import (
    RAW,
    Chunk,
    Recording,
    TimedAnswer,
    frame_size,
    read_recording,
)

from .rules import invalid

FORMAT = 1


class Origin(NamedTuple):
    """Where and when a cassette was recorded."""

    at: str
    """The day, as ``2026-11-20``."""
    server: str
    """In words: ``shimmy 2.6.5``, ``api.example.com``."""
    build: str = ""
    """What the executable was built with, as far as it says."""
    backend: str = ""
    """The backend that the server showed to be in use."""
    model: str = ""


class Cassette(NamedTuple):
    """What one test asked, and what was answered."""

    origin: Origin
    exchanges: list[Recording]

    def document(self) -> dict[str, Any]:
        """The cassette as plain values."""
        origin = {name: value for name, value in self.origin._asdict().items() if value}
        exchanges = [each.document() for each in self.exchanges]
        return {"format": FORMAT, "recorded": origin, "exchanges": exchanges}


def read_cassette(path: Path) -> Cassette | None:
    """The cassette in a file; None where there is no file.

    Raises `ShimmyError` (``CASSETTE_INVALID``).
    """
    document = read_document(path)
    if document is None:
        return None
    place: tuple[str | int, ...] = ("exchanges",)
    try:
        exchanges = []
        for number, each in enumerate(document.get("exchanges", ())):
            place = ("exchanges", number)
            exchanges.append(read_recording(each))
            _check_whole(exchanges[-1].answer)
        return Cassette(Origin(**document["recorded"]), exchanges)
    except ScriptError as error:
        where = (*place, *error.path)
        raise invalid(path, str(ScriptError(where, error.reason)), _line_of(path, where)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise invalid(path, f"it is not a cassette ({error!r})") from None


def _check_whole(answer: TimedAnswer) -> None:
    """A client would wait for what a person has taken out of an answer, and take for another one
    what was put in. Raises `ScriptError`."""
    for number, chunk in enumerate(answer.chunks):
        stated = _stated_size(answer, chunk)
        if stated is not None and stated != len(chunk.data):
            raise ScriptError(
                ("answer", "chunks", number),
                f"{chunk.marker!r} says that it has {stated} bytes, and it has {len(chunk.data)}; "
                "correct that, or take it out, and the usual stands there",
            )
    if answer.end != "complete":
        return
    size = len(answer.body)
    length = answer.header("content-length")
    if answer.framing == "length" and length is not None and int(length) != size:
        raise ScriptError(
            ("answer",),
            f"its content-length is {length}, and its chunks have {size} bytes; "
            f"write content-length: {size}, or record it again",
        )
    if answer.framing != "chunked":
        return
    last = len(answer.chunks) - 1
    empty = [at for at, chunk in enumerate(answer.chunks) if not chunk.data and not chunk.marker]
    if empty and empty[0] != last:
        raise ScriptError(
            ("answer", "chunks", empty[0]),
            "an empty chunk is the last of an answer, and more come after it; take it out",
        )
    if last < 0 or answer.chunks[last].data:
        moment = answer.chunks[last].moment if answer.chunks else answer.at
        raise ScriptError(
            ("answer", "chunks", max(last, 0)),
            f'its last chunk is missing, which is empty: add [{moment:g}, ""] after the others, or '
            'write "end": "closed" for an answer that breaks off there',
        )


def _stated_size(answer: TimedAnswer, chunk: Chunk) -> int | None:
    """How many bytes a chunk's marker says that it has; None where it says nothing."""
    if not chunk.marker or chunk.marker == RAW:
        return None
    try:
        if answer.framing == "chunked":
            return int(chunk.marker.partition(";")[0], 16)
        if answer.framing == "frames":
            return frame_size(bytes.fromhex(chunk.marker))
    except ValueError:
        raise ScriptError((), f"{chunk.marker!r} is not a marker of a chunk") from None
    return None


def _line_of(path: Path, where: tuple[str | int, ...]) -> int | None:
    """The line of a value in a file; None where that cannot be found."""
    from fake_shimmy.script import lines

    try:
        return lines.line_of(where, lines.of_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def read_document(path: Path) -> dict[str, Any] | None:
    """A file of ours as plain values; None where there is none. Raises `ShimmyError`."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise invalid(path, f"it cannot be read: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise invalid(
            path, f"its format is {found!r}, and this release reads {FORMAT}: record it again"
        )
    return document


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write plain values, at once or not at all. Raises `ShimmyError` (``CASSETTE_INVALID``)."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(text_of(document).encode())
            os.replace(draft, path)  # noqa: PTH105
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise invalid(path, f"it cannot be written: {error.strerror}") from None


def text_of(value: Any) -> str:
    """Plain values as JSON: a line for each chunk, and members on lines of their own."""
    return _text(value, "\n") + "\n"


def _text(value: Any, line: str) -> str:
    inner = f"{line}  "
    if isinstance(value, dict) and value:
        members = (f"{_scalar(name)}: {_text(each, inner)}" for name, each in value.items())
        return f"{{{inner}{f',{inner}'.join(members)}{line}}}"
    if isinstance(value, list) and value and not _is_number(value[0]):
        items = (_text(each, inner) for each in value)
        return f"[{inner}{f',{inner}'.join(items)}{line}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    # A line of its own to some readers, and to some diffs.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
