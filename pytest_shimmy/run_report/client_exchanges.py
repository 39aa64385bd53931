"""What the plugin's own OpenAI clients ask a server that does not tell its exchanges.

Strategy: hooks of the clients' HTTP library, called with each response. An answer that comes whole
is kept; of a stream only its beginning is seen, because reading it is the test's.
"""

from __future__ import annotations

import time
from typing import Any

from ..masking import MASKED, SECRET_HEADERS
from .exchange_part import ExchangePart
from .parts import NOT_SEEN


class ClientExchanges:
    """Writes the exchanges of the clients of this process with the server at `url`."""

    def __init__(self, directory: str, worker: str, url: str, api_key: str) -> None:
        self._part = ExchangePart(directory, "clients", worker, url, api_key)

    def hooks(self) -> dict[str, list[Any]]:
        """For a synchronous client."""
        return {"request": [self._begin], "response": [self._read]}

    def async_hooks(self) -> dict[str, list[Any]]:
        """For an asynchronous one."""

        async def begin(request: Any) -> None:
            self._begin(request)

        async def read(response: Any) -> None:
            if not _is_stream(response):
                await response.aread()
            self._write(response)

        return {"request": [begin], "response": [read]}

    def _begin(self, request: Any) -> None:
        request.extensions["shimmy_began"] = (time.time(), time.monotonic())

    def _read(self, response: Any) -> None:
        if not _is_stream(response):
            response.read()
        self._write(response)

    def _write(self, response: Any) -> None:
        request = response.request
        began, clock = request.extensions["shimmy_began"]
        duration = time.monotonic() - clock
        body, is_stream = request.content, _is_stream(response)
        lines = [f"{name}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {response.status_code}", *lines, "", ""]).encode()
        # The library has joined the chunks.
        sent = head.replace(b"transfer-encoding", b"x-transfer-encoding")
        sent += b"" if is_stream else response.content
        headers = "\n".join(
            f"{name}: {MASKED if name.lower() in SECRET_HEADERS else value}"
            for name, value in request.headers.items()
        )
        self._part.write(
            headers,
            body,
            [(duration, sent)],
            time=began,
            duration=duration,
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            ended=NOT_SEEN if is_stream else "complete",
        )


def _is_stream(response: Any) -> bool:
    return "text/event-stream" in response.headers.get("content-type", "")
