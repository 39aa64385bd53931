"""One chat, streamed: the pieces of an answer as they come, or the `ShimmyError` that ends them.

A bare HTTP client: the OpenAI library takes over a second to load, which a command that answers one
question would pay each time. What shimmy's streams are like was seen on 2.5.0.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from ..addresses import is_loopback
from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.dialect import API_KEY

END = "[DONE]"
MAX_SHOWN = 300
"""Characters of a broken answer that an error message shows."""


def answer(base_url: str, body: dict[str, Any], timeout: float) -> Iterator[str]:
    """The text in each chunk of the answer, ``""`` where there is none, up to its end mark.

    `timeout` is in seconds, and for the connection alone to be silent. Raises `ShimmyError`
    (``ANSWER_FAILED``), also when the stream ends without its mark.
    """
    request = urllib.request.Request(
        f"{base_url}/chat/completions",
        json.dumps({**body, "stream": True}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {API_KEY}"},
    )
    # No proxy that the environment names can reach a server on this machine.
    handlers = [urllib.request.ProxyHandler({})] if is_loopback(base_url) else []
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=timeout) as response:
            kind = response.headers.get_content_type()
            if kind != "text/event-stream":
                raise _failed(f"the answer is no event stream but {kind}, {_beginning(response)}")
            for data in _events(response):
                if data == END:
                    return
                yield _text(data)
    except urllib.error.HTTPError as refusal:
        with refusal:
            said = _beginning(refusal)
        raise _failed(
            f"the server refused the request: {refusal.code} {refusal.reason}, {said}",
            {"status": refusal.code},
        ) from refusal
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _failed(f"the connection broke before the answer's end: {reason!r}") from error
    raise _failed(f"the answer ended without its end mark, {END}: it is not complete")


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
        choices = chunk["choices"]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise _failed(
            f"the answer has a chunk that cannot be understood: {data[:MAX_SHOWN]!r}"
        ) from error


def _beginning(response: http.client.HTTPResponse | urllib.error.HTTPError) -> str:
    try:
        text = response.read(MAX_SHOWN).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    return f"saying {text!r}" if text else "without a word"


def _failed(what: str, details: dict[str, Any] | None = None) -> ShimmyError:
    return ShimmyError(ShimmyErrorCode.ANSWER_FAILED, f"{what}.", details)
