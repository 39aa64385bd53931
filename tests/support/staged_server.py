"""A fake with a control route, and clients that take answers byte for byte."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
from typing import TYPE_CHECKING, Any

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import DEADLINE, Running, Shimmy, dechunk
from tests.support.websocket_client import HEADERS, frame, handshake, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "sesame"
FIN, RESET = "FIN", "RST"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "generate": "/api/generate",
    "websocket": "/ws/generate",
}


class Way:
    """One way to ask for an answer: an endpoint, in one piece or not, over a version of HTTP."""

    def __init__(self, endpoint: str, stream: bool, version: str = "1.1") -> None:
        self.endpoint = endpoint
        self.stream = stream
        self.version = version

    def __str__(self) -> str:
        return f"{self.endpoint}{'' if self.stream else ' whole'} {self.version}"

    @property
    def is_whole(self) -> bool:
        """Whether the answer is one body."""
        return not self.stream and self.endpoint != "websocket"

    def body(self, text: str = "hi", **members: Any) -> bytes:
        asked: dict[str, Any] = {"model": "some", "max_tokens": 4096, "stream": self.stream}
        if self.endpoint in ("chat", "messages"):
            asked["messages"] = [{"role": "user", "content": text}]
        else:
            asked["prompt"] = text
        return json.dumps(asked | members).encode()

    def raw(
        self,
        key: str = "",
        text: str = "hi",
        *,
        prefix: str = "",
        last: bool = True,
        **members: Any,
    ) -> bytes:
        """A request; ``last`` on its connection."""
        body = self.body(text, **members)
        key_line = f"authorization: Bearer {key}".encode() if key else b"x-no-key: 1"
        if self.endpoint == "websocket":
            greeting = handshake(HEADERS, key_line)
            return greeting.replace(b"GET /", f"GET {prefix}/".encode(), 1) + frame(body)
        connection = b"connection: close" if last else b"connection: keep-alive"
        lines = [
            f"POST {prefix}{PATHS[self.endpoint]} HTTP/{self.version}".encode(),
            *(b"host: x", b"content-type: application/json", connection, key_line),
            b"content-length: %d" % len(body),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def tokens(self, raw: bytes) -> list[str]:
        """The tokens in a complete answer; a body in one piece counts as one."""
        head, _, body = raw.partition(b"\r\n\r\n")
        if self.endpoint == "websocket":
            *told, done = texts(body)
            assert done == b'{"done":true}'
            return [token.decode() for token in told]
        if self.is_whole:
            return [text_of(self.endpoint, json.loads(body))]
        if b"transfer-encoding: chunked" in head:
            body = dechunk(body)
        *events, done, rest = body.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        if self.endpoint == "generate":
            return [
                "\n".join(line.removeprefix("data: ") for line in event.split("\n"))
                for event in events
            ]
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        return [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-1]]


def text_of(endpoint: str, answer: dict[str, Any]) -> str:
    found: str
    if endpoint == "messages":
        found = answer["content"][0]["text"]
    elif endpoint == "generate":
        found = answer["response"]
    else:
        choice = answer["choices"][0]
        found = choice["text"] if endpoint == "completions" else choice["message"]["content"]
    return found


STREAMED = [
    Way("chat", True),
    Way("generate", True),
    Way("websocket", True),
    Way("chat", True, "1.0"),
    Way("generate", True, "1.0"),
]
WHOLE = [
    Way("chat", False),
    Way("completions", False),
    Way("messages", False),
    Way("generate", False),
    Way("chat", False, "1.0"),
]
WAYS = [*STREAMED, *WHOLE]
OVER_HTTP = [way for way in WAYS if way.endpoint != "websocket"]
CHAT, CHAT_WHOLE = STREAMED[0], WHOLE[0]


def take_all(sock: socket.socket) -> tuple[bytes, str]:
    """What comes until the server ends, and how it ends."""
    received = bytearray()
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        return bytes(received), RESET
    return bytes(received), FIN


def take_until(sock: socket.socket, end: bytes) -> bytes:
    """What comes up to ``end``, and what came with it."""
    received = b""
    while end not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    return received


class Session:
    """A session of a staged server."""

    def __init__(self, stage: Stage, key: str) -> None:
        self.stage = stage
        self.key = key

    def control(self, op: str, **members: Any) -> dict[str, Any]:
        return self.stage.control(op=op, session=self.key, **members)

    def open(self, **script: Any) -> None:
        self.control("open", script=script)

    def add(self, **rule: Any) -> int:
        return int(self.control("add", rule=rule)["id"])

    def ask(self, way: Way = CHAT, text: str = "hi", **more: Any) -> bytes:
        return self.take(way, text, **more)[0]

    def take(self, way: Way = CHAT, text: str = "hi", **more: Any) -> tuple[bytes, str]:
        """The answer, byte for byte, and how the connection ends."""
        with self.stage.running.connect() as sock:
            sock.sendall(way.raw(self.key, text, **more))
            return take_all(sock)

    @contextlib.contextmanager
    def begun(self, way: Way = CHAT, text: str = "hi", **more: Any) -> Iterator[socket.socket]:
        """A connection on which a request was sent."""
        with self.stage.running.connect() as sock:
            sock.sendall(way.raw(self.key, text, **more))
            yield sock

    @contextlib.contextmanager
    def reading_late(self, way: Way) -> Iterator[socket.socket]:
        """A connection on which a request was sent, and into which little fits unless read."""
        with socket.socket() as sock:
            sock.settimeout(DEADLINE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self.stage.running.port))
            sock.sendall(way.raw(self.key))
            yield sock

    def tokens(self, way: Way = CHAT, text: str = "hi", **more: Any) -> list[str]:
        return way.tokens(self.ask(way, text, **more))

    @property
    def records(self) -> list[dict[str, Any]]:
        return list(self.control("journal")["records"])

    def wait(self, **members: Any) -> list[dict[str, Any]]:
        """The records, as soon as enough of them match."""
        state = self.control("wait", **{"seconds": DEADLINE, **members})
        assert not state["timed_out"], state
        return list(state["records"])


class Stage:
    """A running fake that is told what to do."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE)
        self._keys = itertools.count()

    def send(self, body: str | bytes, token: str = TOKEN) -> tuple[int, bytes]:
        headers = {"x-fake-shimmy-control": token}
        try:
            self._connection.request("POST", "/fake-shimmy/control", body, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self._connection.close()
            raise

    def control(self, **message: Any) -> dict[str, Any]:
        status, body = self.send(json.dumps(message))
        assert status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    def session(self, **script: Any) -> Session:
        """A new session."""
        session = Session(self, f"key-{next(self._keys)}")
        session.open(**script)
        return session

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def staged_server(fake: Shimmy, **environ: str) -> Iterator[Stage]:
    """``fake`` with the model ``some`` and a control route."""
    (fake.cwd / "some.gguf").write_bytes(tiny_gguf.contents())
    environ = {"FAKE_SHIMMY_CONTROL": TOKEN, **environ}
    with fake.serve("--model-path", "some.gguf", **environ) as running:
        stage = Stage(running)
        try:
            yield stage
        finally:
            stage.close()


LARGE = "x" * 100_000
"""A token of which the systems on both sides of a connection do not hold eighty."""


@contextlib.contextmanager
def server_of_large_answers(fake: Shimmy, **rule: Any) -> Iterator[Session]:
    """``fake``, which answers with eighty tokens that are :data:`LARGE`."""
    fake.build = "default"
    script = fake.cwd / "script.json"
    script.write_text(json.dumps({"rules": [{"reply": [LARGE] * 80, **rule}]}))
    with staged_server(fake, FAKE_SHIMMY_SCRIPT=str(script)) as stage:
        yield Session(stage, "")
