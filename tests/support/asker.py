"""What the tests of `FakeShimmy` share: asking the fake as an application would."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

from pytest_shimmy import FakeShimmy

LONG = 60.0


class Asker:
    """An application that asks one fake, without any library that could do more than is seen."""

    def __init__(self, url: str, key: str, model: str) -> None:
        self.url = url
        self.key = key
        self.model = model

    def chat(self, text: str, **members: Any) -> dict[str, Any]:
        """A chat completion that must succeed."""
        status, body = self.post(text, **members)
        assert status == 200, body
        document: dict[str, Any] = json.loads(body)
        return document

    def say(self, text: str, **members: Any) -> str:
        """The text of a chat completion."""
        content: str = self.chat(text, **members)["choices"][0]["message"]["content"]
        return content

    def stream(self, text: str, **members: Any) -> list[str]:
        """The tokens of a streamed chat completion, byte for byte."""
        _, body = self.post(text, stream=True, **members)
        events = [line[6:] for line in body.split("\n\n") if line.startswith("data: {")]
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
        return [delta["content"] for delta in deltas if delta.get("content") is not None]

    def post(
        self,
        text: str,
        path: str = "/v1/chat/completions",
        *,
        system: str | None = None,
        **members: Any,
    ) -> tuple[int, str]:
        """Status and body of one question."""
        messages = [{"role": "user", "content": text}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        body = {"model": self.model, "messages": messages, "stream": False, **members}
        return self.send("POST", path, json.dumps(body).encode())

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Status and body of one request."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LONG)
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, parts.path + path, body, headers)
            with connection.getresponse() as answer:
                return answer.status, answer.read().decode()
        finally:
            connection.close()

    def opened(self, text: str) -> socket.socket:
        """A connection on which a streamed answer was asked for; the caller closes it."""
        parts = urlsplit(self.url)
        body = json.dumps(
            {
                "model": self.model,
                "stream": True,
                "messages": [{"role": "user", "content": text}],
            }
        ).encode()
        peer = socket.create_connection((parts.hostname or "", parts.port or 0), LONG)
        peer.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
            % (self.key.encode(), len(body), body)
        )
        return peer


def asker(fake: FakeShimmy, model: str = "tiny") -> Asker:
    """An application with the API key of `fake`."""
    return Asker(fake.server_url, fake.api_key, model)
