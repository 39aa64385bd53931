"""The connections of the recorder: a client's, and the one to the server that it has for it.

Strategy: one connection upstream for each of a client's. Answers are forwarded before they are
read, and requests as soon as their heads are, so that a client sees what it sees without. Only
heads of requests are changed: the key of the test process becomes that of the server, and no
compression is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections import deque
from typing import Any

from .exchanges import Exchange
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
from .recorder import Recorder

CONTROL_ROUTE = "/pytest-shimmy/recorder"
TOKEN_HEADER = "x-pytest-shimmy-recorder"
CONNECT_TIMEOUT = 30.0
"""Seconds for a connection to the server."""
LINGER = 2.0
"""Seconds for a client to end its side of a connection that the server has ended."""

_RESET = struct.pack("ii", 1, 0)


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
        self._is_control = False
        """It has asked for what is ours, and nothing of it goes to the server."""
        self._asks_to_upgrade = False
        self._held: bytearray | None = None
        """What came after a request to upgrade, until the answer says what it is."""
        self._has_ended = False
        self._is_over = False
        """The server has ended the connection in order; what the client still sends is dropped."""
        self._waiting: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        _send_at_once(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._held is not None:
            self._held += data
            return
        if not self._understands or self.is_upgraded:
            self._forward(data)
            if self.is_upgraded:
                self._listen(data)
            return
        try:
            for part in self._requests.feed(data):
                self._on_part(part)
                if self._held is not None:
                    self._held += self._requests.rest()
                    break
        except NotUnderstoodError:
            self._understands = False
            self._forward(self._requests.rest())

    @property
    def is_upgraded(self) -> bool:
        """Whether it speaks WebSocket."""
        return bool(self.expected) and self.expected[0][0].is_upgraded

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._is_over:
            return False
        if self._held is None and not self._is_control:
            self._finish()
        return not self._is_control

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
            data = reader.feed(data, 0.0) if exchange is None else exchange.feed(data)
            if reader.is_complete:
                self.expected.popleft()
            if self._held is not None and (self.is_upgraded or not self.expected):
                self._release(self._held)

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
        elif not self._is_over:
            self._is_over = True
            # To close while the client is sending would tear the connection down, and its answer
            # with it.
            with contextlib.suppress(OSError):
                self.transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER, self.transport.close)

    def connected(self, upstream: UpstreamSide) -> None:
        """The server has taken the connection."""
        assert upstream.transport is not None
        upstream.transport.writelines(self._waiting)
        self._waiting.clear()
        if self._has_ended and self._held is None:
            upstream.finish()

    def _release(self, held: bytearray) -> None:
        """The answer to a request to upgrade has begun: read on."""
        self._held = None
        if held:
            self.data_received(bytes(held))
        if self._has_ended and self._held is None:
            self._finish()

    def _finish(self) -> None:
        """The client sends no more, also of a head that it has begun."""
        self._forward(self._requests.rest())
        self._connected_upstream().finish()

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
        else:
            if self._exchange is not None:
                self._exchange.asked()
                self._exchange = None
            if self._asks_to_upgrade:
                self._held = bytearray()

    def _on_head(self, head: RequestHead) -> None:
        recorder = self._recorder
        if head.target == CONTROL_ROUTE and first(head.headers, TOKEN_HEADER) == recorder.token:
            self._control, self._is_control = bytearray(), True
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
        self._asks_to_upgrade = first(head.headers, "upgrade") is not None
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
        upstream = self._connected_upstream()
        if upstream.transport is not None:
            upstream.transport.write(data)
        else:
            self._waiting.append(data)

    def _connected_upstream(self) -> UpstreamSide:
        """The connection to the server; its transport comes later."""
        if self.upstream is None:
            self.upstream = UpstreamSide(self)
            self._connecting = asyncio.get_running_loop().create_task(self._connect(self.upstream))
        return self.upstream

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
        if error is not None:
            self._read_rest()
        # A system says EPIPE of a connection that the server had ended before it tore it down.
        has_closed = error is None or isinstance(error, BrokenPipeError)
        self._client.on_upstream_end("closed" if has_closed else "reset")

    def _read_rest(self) -> None:
        """Take what has come: where a write fails, a transport gives up and does not look."""
        assert self.transport is not None
        if self.transport.get_extra_info("ssl_object") is not None:
            return
        with contextlib.suppress(OSError), self.transport.get_extra_info("socket").dup() as sock:
            while data := sock.recv(65536):
                self.data_received(data)

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
