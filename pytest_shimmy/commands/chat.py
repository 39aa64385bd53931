"""One chat, streamed: the pieces of an answer as they come, or the `ShimmyError` that ends them.

The OpenAI library takes over a second to load, which a command that answers one question would pay
each time. What shimmy's streams are like was seen on 2.5.0.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.dialect import API_KEY
from ..network.http import MAX_HEAD, Connection, NotHttpError, Patience
from ..network.route import route_to

END = "[DONE]"
MAX_SHOWN = 300
"""Characters of a broken answer that an error message shows."""


def answer(
    base_url: str, body: dict[str, Any], timeout: float, api_key: str = API_KEY
) -> Iterator[str]:
    """The text in each chunk of the answer, ``""`` where there is none, up to its end mark.

    `timeout` is in seconds, and for the connection alone to be silent. Raises `ShimmyError`
    (``ANSWER_FAILED``), also when the stream ends without its mark.
    """
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {api_key}",
        "connection": "close",
    }
    question = json.dumps({**body, "stream": True}).encode()
    try:
        with Connection(route_to(base_url), timeout) as connection:
            head, pieces = connection.open(
                "POST", "/chat/completions", headers, question, Patience(timeout, each=True)
            )
            if head.status != 200:
                raise _failed(
                    f"the server refused the request: {head.status_line.partition(' ')[2]}, "
                    f"{_beginning(pieces)}",
                    {"status": head.status},
                )
            kind = head.headers.get("content-type", "text/plain").partition(";")[0].strip()
            if kind != "text/event-stream":
                raise _failed(f"the answer is no event stream but {kind}, {_beginning(pieces)}")
            for data in _events(_lines(pieces)):
                if data == END:
                    return
                yield _text(data)
    except OSError as error:
        raise _failed(f"the connection broke before the answer's end: {error}") from None
    raise _failed(f"the answer ended without its end mark, {END}: it is not complete")


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    begin = b""
    for piece in pieces:
        *whole, begin = (begin + piece).split(b"\n")
        if len(begin) > MAX_HEAD:
            raise NotHttpError("the answer has a line that does not end")
        yield from whole
    if begin:
        yield begin


def _events(lines: Iterable[bytes]) -> Iterator[str]:
    """The data of each server-sent event."""
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _text(data: str) -> str:
    try:
        chunk = json.loads(data)
        if isinstance(error := chunk.get("error"), dict):  # seen on 2.6.5
            raise _failed(f"the server failed while it answered: {error.get('message')}")
        choices = chunk["choices"]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _failed(
            f"the answer has a chunk that cannot be understood: {data[:MAX_SHOWN]!r}"
        ) from error


def _beginning(pieces: Iterable[bytes]) -> str:
    said = b""
    with contextlib.suppress(OSError):
        for piece in pieces:
            said += piece
            if len(said) >= MAX_SHOWN:
                break
    text = said[:MAX_SHOWN].decode("utf-8", "replace")
    return f"saying {text!r}" if text else "without a word"


def _failed(what: str, details: dict[str, Any] | None = None) -> ShimmyError:
    return ShimmyError(ShimmyErrorCode.ANSWER_FAILED, f"{what}.", details)
