"""Recordings as the tests of cassettes make them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fake_shimmy.script.same_request import read_body
from fake_shimmy.script.timed_answer import AskedRequest, Chunk, Recording, TimedAnswer

PATH = "/v1/chat/completions"


def asked(body: Any = None, *, method: str = "POST", path: str = PATH) -> AskedRequest:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return AskedRequest(method=method, path=path, **read_body(raw))


def answered(*chunks: bytes, head: Sequence[str] = (), **members: Any) -> TimedAnswer:
    """An answer in chunks, a millisecond apart, whole unless told otherwise."""
    values: dict[str, Any] = {
        "head": ["HTTP/1.1 200 OK", *(head or ["transfer-encoding: chunked"])],
        "framing": "chunked",
        "chunks": [Chunk(float(at), chunk) for at, chunk in enumerate([*chunks, b""])],
        **members,
    }
    return TimedAnswer(**values)


def event(text: str, **members: Any) -> bytes:
    """A server-sent event that tells a piece of text."""
    document = {"choices": [{"delta": {"content": text}}], **members}
    return f"data: {json.dumps(document)}\n\n".encode()


def recording(body: Any = None, *chunks: bytes, **members: Any) -> Recording:
    return Recording(request=asked(body), answer=answered(*chunks, **members))
