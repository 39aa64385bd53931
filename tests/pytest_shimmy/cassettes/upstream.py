"""A server that sends the bytes that it was told to send, and a client that only reads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

from pytest_shimmy.cassettes.readers import End, NotUnderstoodError, RequestReader

LONG = 20.0
LINGER_RESET = struct.pack("ii", 1, 0)

Answer = Callable[[socket.socket], None]


def sends(*pieces: bytes, reset: bool = False, close: bool = False) -> Answer:
    """Send the pieces, each when the one before was taken by the system; perhaps end then."""

    def answer(client: socket.socket) -> None:
        for piece in pieces:
            client.sendall(piece)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        if reset or close:
            client.close()

    return answer


class Upstream:
    """Answers the requests of all connections in order, with `answers`."""

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        if context is not None:
            self._listener = context.wrap_socket(self._listener, server_side=True)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        for thread in self._threads:
            thread.join(LONG)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        reader, raw = RequestReader(), b""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                raw += data
                try:
                    for part in reader.feed(data):
                        if isinstance(part, End):
                            self.requests.append(raw)
                            raw = b""
                            self.answers.pop(0)(client)
                except NotUnderstoodError:
                    client.sendall(b"What?")
                    break
            client.close()


def read_all(client: socket.socket) -> tuple[bytes, str]:
    """Everything up to the end, and how that was."""
    received = b""
    client.settimeout(LONG)
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        return received, "reset"
    return received, "closed"


def read_until(client: socket.socket, end: bytes) -> bytes:
    """Up to and with these bytes, or the end."""
    received = b""
    client.settimeout(LONG)
    while end not in received and (data := client.recv(65536)):
        received += data
    return received
