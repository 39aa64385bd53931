"""Does a server still answer in the shapes that were recorded?

Strategy: the recorded requests are sent through a recorder, so that answers are read as they were
then, and their shapes are compared: status, framing, and for each member of a JSON value the types
that it has. Words, numbers and the length of lists do not count.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fake_shimmy.script.timed_answer import AskedRequest, Recording, TimedAnswer, events

from ..network.sockets import connect
from .folder import Folder
from .recorder_control import RecorderControl
from .recorder_process import RecorderAddress

KEY = "shimmy-drift"
TIMEOUT = 600.0
"""Seconds for an answer: a model may have to be loaded."""

Shape = dict[str, set[str]]


class Change(NamedTuple):
    """Something in which an answer differs from the recorded one."""

    request: str
    """Method and path."""
    what: str
    is_failure: bool
    """A client may break on it; else it is news."""


class Tally:
    """How many answers were compared, and how many were not."""

    def __init__(self) -> None:
        self.compared = self.left_out = 0


def check(folder: Folder, recorder: RecorderAddress, tally: Tally) -> Iterator[tuple[str, Change]]:
    """What has changed, and in which cassette; counts in `tally`. Raises `ShimmyError`."""
    control = RecorderControl(recorder.url, recorder.token)
    control.open(KEY)
    for name in folder.names():
        cassette = folder.read(name)
        for recording in [] if cassette is None else cassette.exchanges:
            # A WebSocket, or an answer that did not end, has no shape that must be the same.
            if recording.request.messages or recording.answer.end not in ("complete", "closed"):
                tally.left_out += 1
                continue
            tally.compared += 1
            _send(recorder.url, recording.request)
            for now in control.take(KEY, 5.0):
                for change in compare(recording, now.recording.answer):
                    yield name, change
    control.end(KEY)
    control.close()


def compare(recorded: Recording, now: TimedAnswer) -> Iterator[Change]:
    """What has changed in one answer."""
    then, request = recorded.answer, recorded.request
    asked = f"{request.method} {request.path}"
    for what, was, is_now in (
        ("status", then.status, now.status),
        ("framing", then.framing, now.framing),
        ("content-type", then.header("content-type"), now.header("content-type")),
    ):
        if was != is_now:
            yield Change(asked, f"{what} was {was}, and is {is_now}", is_failure=True)
    if then.status != now.status:
        return
    old, new = shape_of(then), shape_of(now)
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, set()), new.get(path, set())
        if not after:
            yield Change(asked, f"{path} is gone", is_failure=True)
        elif not before:
            yield Change(asked, f"{path} is new ({_or(after)})", is_failure=False)
        elif not (after - {"null"} <= before) and before != {"null"}:
            what = f"{path} was {_or(before)}, and is {_or(after)}"
            yield Change(asked, what, is_failure=True)


def shape_of(answer: TimedAnswer) -> Shape:
    """The types of all members of the JSON in an answer, by path."""
    shape: Shape = {}
    is_stream = (answer.header("content-type") or "").startswith("text/event-stream")
    for content in events(answer.body) if is_stream else [answer.body]:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            kind = content.decode("utf-8", "replace") if content == b"[DONE]" else "text"
            shape.setdefault("$", set()).add(kind if content else "empty")
            continue
        _add(shape, "$", value)
    return shape


def _add(shape: Shape, path: str, value: Any) -> None:
    shape.setdefault(path, set()).add(_type(value))
    if isinstance(value, dict):
        for name, each in value.items():
            _add(shape, f"{path}.{name}", each)
    elif isinstance(value, list):
        for each in value:
            _add(shape, f"{path}[*]", each)


def _type(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _or(types: set[str]) -> str:
    return " or ".join(sorted(types))


def _send(url: str, request: AskedRequest) -> None:
    """Send a recorded request, and read the answer to its end."""
    if request.json is not ...:
        body = json.dumps(request.json, ensure_ascii=False).encode()
    else:
        body = base64.b64decode(request.base64 or "") or (request.text or "").encode()
    kind = "" if request.json is ... else "content-type: application/json\r\n"
    head = (
        f"{request.method} {request.path} HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\n{kind}"
        f"authorization: Bearer {KEY}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    parts = urlsplit(url)
    with connect(parts.hostname or "", parts.port or 80, TIMEOUT) as peer:
        peer.sendall(head.encode("latin-1") + body)
        while peer.recv(65536):
            pass
