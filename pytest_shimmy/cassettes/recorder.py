"""The recorder: a proxy in front of one server, which keeps what clients received.

Strategy: one connection upstream for each of a client's, and bytes are forwarded before they are
read, so that a client sees what it sees without. Only the heads of requests are changed: the key of
the test process becomes that of the server, and no compression is asked for. It is a program of the
keeper's, which tells it on standard input where the server is, and ends it by closing that.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import ssl
import struct
import sys
import threading
from collections import deque
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .exchanges import KEY_HEADERS, Exchange, Session, Sessions
from .readers import (
    AnswerReader,
    Body,
    End,
    MessageReader,
    NotUnderstoodError,
    RequestHead,
    RequestReader,
    first,
)

CONTROL_ROUTE = "/pytest-shimmy/recorder"
TOKEN_HEADER = "x-pytest-shimmy-recorder"
CONNECT_TIMEOUT = 30.0
"""Seconds for a connection to the server."""

_RESET = struct.pack("ii", 1, 0)


class Recorder:
    """The state of the program."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.sessions = Sessions()
        self.token: str = spec["token"]
        self.own_keys: frozenset[str] = frozenset(spec["own_keys"])
        """Keys that mean nothing to the server; with `harness_key` nothing is recorded."""
        self.harness_key: str = spec["harness_key"]
        self.server_key: str | None = spec["server_key"]
        self.knows_keys: bool = spec["knows_keys"]
        """The server knows the keys of test processes itself."""
        self.upstream: SplitResult | None = None
        self.ssl: ssl.SSLContext | None = None

    def use(self, upstream: str) -> None:
        """The server is at this address from now on; says so when it is done."""
        self.upstream = urlsplit(upstream)
        if self.upstream.scheme == "https" and self.ssl is None:
            self.ssl = ssl.create_default_context()
            self.ssl.set_alpn_protocols(["http/1.1"])
        _say({"upstream": upstream})

    def rewritten(self, head: RequestHead, key: str) -> bytes:
        """The head as the server gets it."""
        assert self.upstream is not None
        lines = []
        if self.upstream.path:
            method, target, version = head.lines[0].split(" ")
            lines.append(f"{method} {self.upstream.path.rstrip('/')}{target} {version}")
        else:
            lines.append(head.lines[0])
        is_ours = key in self.sessions.by_key or key in self.own_keys
        if self.knows_keys and is_ours:
            is_ours = False
            has_key = any(name in KEY_HEADERS for name, _ in head.headers)
            lines += [] if has_key else [f"Authorization: Bearer {key}"]
        has_key = False
        for line in head.lines[1:]:
            name, value = line.partition(":")[0].strip().lower(), line.partition(":")[2]
            if name in KEY_HEADERS and (is_ours or not value.strip()):
                if self.server_key is None:
                    continue
                has_key = True
                scheme = "Bearer " if name == "authorization" else ""
                line = f"{line.partition(':')[0]}: {scheme}{self.server_key}"
            elif name == "accept-encoding":
                line = f"{line.partition(':')[0]}: identity"
            elif name == "sec-websocket-extensions":
                continue
            elif name == "host" and self.ssl is not None:
                line = f"{line.partition(':')[0]}: {self.upstream.netloc.rpartition('@')[2]}"
            has_key = has_key or name in KEY_HEADERS
            lines.append(line)
        if not has_key and self.server_key is not None:
            lines.append(f"Authorization: Bearer {self.server_key}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def control(self, body: bytes) -> dict[str, Any]:
        """What a test process asks for."""
        message = json.loads(body)
        op, key = message["op"], message["session"]
        if op == "open":
            self.sessions.by_key[key] = session = Session()
            session.server = message.get("server", 0)
            return {"ok": True}
        if op == "close":
            self.sessions.by_key.pop(key, None)
            return {"ok": True}
        session = self.sessions.by_key[key]
        if op == "cassette":
            session.cassette = message["name"]
            return {"ok": True}
        if op != "take":
            raise ValueError(f"there is no operation {op!r}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(message.get("seconds", 0)):
                while session.in_flight:
                    ended = asyncio.Event()
                    session.on_end(ended.set)
                    await ended.wait()
        return {"exchanges": session.take()}


class ClientSide(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, recorder: Recorder) -> None:
        self.transport: asyncio.Transport
        self.upstream: UpstreamSide | None = None
        self.is_gone = False
        self.expected: deque[tuple[AnswerReader, Exchange | None]] = deque()
        """The answers that are to come, in order."""
        self._recorder = recorder
        self._requests = RequestReader()
        self._messages: MessageReader | None = None
        self._understands = True
        self._exchange: Exchange | None = None
        """Whose request is being read."""
        self._control: bytearray | None = None
        self._has_ended = False
        self._waiting: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        _send_at_once(transport)

    def data_received(self, data: bytes) -> None:
        if not self._understands or self.is_upgraded:
            self._forward(data)
            if self.is_upgraded:
                self._listen(data)
            return
        try:
            for part in self._requests.feed(data):
                self._on_part(part)
        except NotUnderstoodError:
            self._understands = False
            self._forward(self._requests.rest())

    @property
    def is_upgraded(self) -> bool:
        """Whether it speaks WebSocket."""
        return bool(self.expected) and self.expected[0][0].is_upgraded

    def eof_received(self) -> bool:
        self._has_ended = True
        if self.upstream is not None:
            self.upstream.finish()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        self.is_gone = True
        self._abandon("left")
        if self._connecting is not None:
            self._connecting.cancel()
        if self.upstream is not None and self.upstream.transport is not None:
            # As the client did it: what it has not read tears the connection down.
            self.upstream.transport.abort()

    def pause_writing(self) -> None:
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None and self.upstream.transport is not None:
            self.upstream.transport.resume_reading()

    def on_answer(self, data: bytes) -> None:
        """Bytes from the server, which the client has been sent already."""
        while data and self.expected:
            reader, exchange = self.expected[0]
            feed = reader.feed if exchange is None else None
            rest = feed(data, 0.0) if feed else exchange.feed(data) if exchange else b""
            if not reader.is_complete:
                return
            self.expected.popleft()
            data = rest

    def on_upstream_end(self, how: str) -> None:
        """The server ended the connection."""
        self._abandon(how)
        if self.is_gone:
            return
        if how == "reset":
            sock = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()

    def connected(self, upstream: UpstreamSide) -> None:
        """The server has taken the connection."""
        assert upstream.transport is not None
        upstream.transport.writelines(self._waiting)
        self._waiting.clear()
        if self._has_ended:
            upstream.finish()

    def _abandon(self, how: str) -> None:
        exchanges = [exchange for _, exchange in self.expected]
        self.expected.clear()
        for exchange in (*exchanges, self._exchange):
            if exchange is not None:
                # Servers give up what a client no longer waits for; its leaving came first.
                has_left = self._has_ended and exchange.reader.answer.framing != "close"
                exchange.end("left" if has_left else how)

    def _on_part(self, part: RequestHead | Body | End) -> None:
        if self._control is not None:
            self._on_control(part)
        elif isinstance(part, RequestHead):
            self._on_head(part)
        elif isinstance(part, Body):
            self._forward(part.raw)
            if self._exchange is not None:
                self._exchange.heard(part.content)
        elif self._exchange is not None:
            self._exchange.asked()
            self._exchange = None

    def _on_head(self, head: RequestHead) -> None:
        recorder = self._recorder
        if head.target == CONTROL_ROUTE and first(head.headers, TOKEN_HEADER) == recorder.token:
            self._control = bytearray()
            return
        if recorder.upstream is None:
            self.on_upstream_end("reset")
            return
        key, session, head = recorder.sessions.owner(head)
        exchange = None
        if key != recorder.harness_key:
            if session is None and recorder.sessions.by_key:
                self._refuse()
                return
            if session is not None:
                exchange = Exchange(session, session.cassette, session.server, head)
        reader = AnswerReader(head.method) if exchange is None else exchange.reader
        self.expected.append((reader, exchange))
        self._exchange = exchange
        self._forward(recorder.rewritten(head, key))

    def _refuse(self) -> None:
        """A request that nobody is known to have sent, while several test processes run."""
        text = (
            "pytest-shimmy records for several test processes, and cannot tell whose request this "
            "is: send it with the API key of the fixtures (shimmy_server.api_key; the plugin's "
            "clients and shimmy_env do), or to shimmy_server.url + '/~' + that key."
        )
        body = json.dumps({"error": {"code": "whose_request", "message": text}}).encode()
        self._answer(b"400 Bad Request", body)
        self.transport.close()
        self._understands = False

    def _on_control(self, part: RequestHead | Body | End) -> None:
        if isinstance(part, Body):
            assert self._control is not None
            self._control += part.content
        elif isinstance(part, End):
            body, self._control = bytes(self._control or b""), None
            task = asyncio.get_running_loop().create_task(self._answer_control(body))
            task.add_done_callback(_keep(task))

    async def _answer_control(self, body: bytes) -> None:
        try:
            answer, status = await self._recorder.control(body), b"200 OK"
        except (ValueError, KeyError, TypeError) as error:
            answer, status = {"error": repr(error), "code": "refused"}, b"400 Bad Request"
        if not self.is_gone:
            self._answer(status, json.dumps(answer).encode())

    def _answer(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)

    def _listen(self, data: bytes) -> None:
        """What the client says over a WebSocket."""
        if self._messages is None:
            self._messages = MessageReader()
        exchange = self.expected[0][1]
        for message in self._messages.feed(data):
            if exchange is not None:
                exchange.message(message)

    def _forward(self, data: bytes) -> None:
        if not data:
            return
        upstream = self.upstream
        if upstream is not None and upstream.transport is not None:
            upstream.transport.write(data)
            return
        self._waiting.append(data)
        if upstream is None:
            self.upstream = UpstreamSide(self)
            self._connecting = asyncio.get_running_loop().create_task(self._connect(self.upstream))

    async def _connect(self, upstream: UpstreamSide) -> None:
        recorder = self._recorder
        address = recorder.upstream
        try:
            if address is None or address.hostname is None:
                raise ConnectionRefusedError
            port = address.port or (443 if address.scheme == "https" else 80)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.get_running_loop().create_connection(
                    lambda: upstream, address.hostname, port, ssl=recorder.ssl
                )
        except (OSError, TimeoutError, ssl.SSLError):
            # As near to a refused connection as one can get that was taken.
            self.on_upstream_end("reset")


class UpstreamSide(asyncio.Protocol):
    """The connection to the server for one of a client."""

    def __init__(self, client: ClientSide) -> None:
        self.transport: asyncio.Transport | None = None
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        _send_at_once(transport)
        if self._client.is_gone:
            transport.abort()
        else:
            self._client.connected(self)

    def data_received(self, data: bytes) -> None:
        client = self._client
        if not client.is_gone:
            client.transport.write(data)
            client.on_answer(data)

    def eof_received(self) -> None:
        self._client.on_upstream_end("closed")

    def connection_lost(self, error: Exception | None) -> None:
        self._client.on_upstream_end("closed" if error is None else "reset")

    def finish(self) -> None:
        """The client sends no more."""
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):
                self.transport.write_eof()


_tasks: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> Any:
    """Hold a task until it is done; the loop itself does not."""
    _tasks.add(task)
    return _tasks.discard


def _send_at_once(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _follow(loop: asyncio.AbstractEventLoop, recorder: Recorder) -> None:
    """Read what the keeper says; its end is ours, whatever we are doing."""
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(recorder.use, json.loads(line)["upstream"])
    os._exit(0)


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")
    sys.stdout.flush()


async def _serve(recorder: Recorder, host: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ClientSide(recorder), host, 0, backlog=512)
    port = server.sockets[0].getsockname()[1]
    _say({"port": port})
    threading.Thread(target=_follow, args=(loop, recorder), daemon=True).start()
    await server.serve_forever()


def main() -> None:
    """Run as a program: the spec is the first line on standard input; see `Recorder`."""
    spec = json.loads(sys.stdin.buffer.readline())
    # What is recorded stays; looking through it again and again would hold up streams.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    asyncio.run(_serve(Recorder(spec), spec["host"]))
