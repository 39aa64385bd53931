"""What the recorder in front of a server has seen, for a report of the run."""

from __future__ import annotations

import json

from fake_shimmy.script.timed_answer import AskedRequest, Recording

from .exchange_part import ExchangePart

_ENDS = {"complete": "complete", "left": "client_left"}


class RecordedExchanges:
    """Writes the exchanges of this process with the server whose recorder is at `url`."""

    def __init__(self, directory: str, worker: str, url: str, api_key: str) -> None:
        self._part = ExchangePart(directory, "recorder", worker, url, api_key)

    def write(self, asked_at: float, recording: Recording) -> None:
        """Write an exchange that began at that time; secrets are replaced in it already."""
        request, answer = recording.request, recording.answer
        body = _body_of(request).encode("utf-8", "replace")
        # Of a WebSocket, the fake tells its frames alone, too.
        head = b"" if answer.framing == "frames" else answer.raw_head()
        sent = [(answer.at / 1000, head)]
        sent += [(each.moment / 1000, answer.framed(each)) for each in answer.chunks]
        is_whole = answer.end == "closed" and answer.framing in ("close", "frames")
        self._part.write(
            "",
            body,
            sent,
            time=asked_at,
            duration=sent[-1][0],
            method=request.method,
            path=request.path,
            status=answer.status,
            ended="complete" if is_whole else _ENDS.get(answer.end, "cut"),
        )


def _body_of(request: AskedRequest) -> str:
    if request.messages is not None:
        return "\n".join(map(_text, request.messages))
    if request.json is not ...:
        return _text(request.json)
    return request.text or request.base64 or ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
