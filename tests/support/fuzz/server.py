"""A serving process under attack: clients that behave badly, and a look at how it feels.

Strategy: a :class:`Watched` server knows what it had when it was well (memory, descriptors) and
says after each batch whether it still is. Clients follow a plan that a seed makes, so a batch can
be repeated; only the order in which the system serves them differs.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.support.fuzz import inputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.fake_process import Running

MIB = 1 << 20

GROWTH = 64 * MIB
"""How much larger a server may be than before. A body of 2 MiB, the longest that is read, takes up
to thirty times its size as Python objects while it is looked at, and freed memory is not always
given back. Read-ahead, 256 KiB for each connection, vanishes in that."""

HEALTH = b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"
HEALTH_WITHIN = 2.0
"""Seconds. It takes 1 ms on an idle machine; what stands still does so for ever."""

ASIDE = 2
"""Descriptors for work that is done aside, from the first such work on."""

SETTLED_WITHIN = 10.0
PATIENCE = 0.5
"""Seconds that a client listens."""

_RESET = b"\1\0\0\0\0\0\0\0"


class Watched:
    """A server whose state of health is known."""

    def __init__(self, running: Running) -> None:
        self.port = running.port
        self.process = running.process
        stderr = self.process.stderr
        assert stderr is not None
        os.set_blocking(stderr.fileno(), False)
        self._stderr = stderr
        # What the first requests load is no growth.
        for request in inputs.REQUESTS:
            Client(request, 0, 0).talk(self.port)
        self._memory = self.memory()
        self._descriptors = self.descriptors()

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - only their number

    def growth(self) -> int:
        """Bytes more than at the start."""
        return self.memory() - self._memory

    def connect(self) -> socket.socket:
        """A new connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SETTLED_WITHIN)

    def check_answers(self) -> None:
        """Fail unless the server answers soon."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}"
        with self.connect() as sock:
            sock.settimeout(HEALTH_WITHIN)
            sock.sendall(HEALTH)
            answer = _read(sock, HEALTH_WITHIN)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer or "no answer"

    def check(self, growth: int = GROWTH) -> None:
        """Fail unless the server is well: it answers, has closed what was left, has not grown by
        more than ``growth`` and has nothing to complain of."""
        self.check_answers()
        allowed = self._descriptors + ASIDE
        end = time.monotonic() + SETTLED_WITHIN
        while self.descriptors() > allowed and time.monotonic() < end:
            time.sleep(0.01)
        assert self.descriptors() <= allowed
        assert self.growth() <= growth
        told = self._stderr.read() or b""
        assert not _without_panics(told), told.decode()


class Client(NamedTuple):
    """One conversation: what is sent, and how the client behaves."""

    data: bytes
    manner: int
    seed: int

    def talk(self, port: int) -> None:
        """Hold the conversation; the server may end it whenever it likes."""
        address = ("127.0.0.1", port)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, timeout=SETTLED_WITHIN) as sock,
        ):
            sock.settimeout(PATIENCE)
            MANNERS[self.manner](sock, self)


def _in_one_piece(sock: socket.socket, client: Client) -> None:
    sock.sendall(client.data)
    sock.shutdown(socket.SHUT_WR)
    _read(sock)


def _in_pieces(sock: socket.socket, client: Client) -> None:
    for piece in inputs.pieces(Random(client.seed), client.data)[:300]:
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)
    _read(sock)


def _and_reset(sock: socket.socket, client: Client) -> None:
    sock.sendall(client.data)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _and_leave(sock: socket.socket, client: Client) -> None:
    sock.sendall(client.data)


def _slowly(sock: socket.socket, client: Client) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sock.sendall(client.data * 5)
    for _ in range(20):
        sock.recv(1)


MANNERS = (_in_one_piece, _in_pieces, _and_reset, _and_leave, _slowly)
"""How a client may behave."""


def plan(seed: str, count: int) -> list[Client]:
    """The clients of a batch."""
    choice = Random(seed)
    return [
        Client(
            inputs.spoiled(choice, inputs.REQUESTS),
            choice.randrange(len(MANNERS)),
            choice.randrange(1 << 30),
        )
        for _ in range(count)
    ]


def storm(port: int, clients: Iterable[Client], at_once: int = 4) -> None:
    """Let ``clients`` come, a few at once."""
    waiting = iter(list(clients))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                client = next(waiting, None)
            if client is None:
                return
            client.talk(port)

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def flood(sock: socket.socket, beginning: bytes, piece: bytes, size: int) -> bool:
    """Send ``piece`` again and again, up to ``size`` bytes; whether the server put an end to it.
    It may also stop reading, which is no end."""
    block = piece * max(1, 65536 // len(piece))
    sent = 0
    sock.settimeout(1.0)
    try:
        sock.sendall(beginning)
        while sent < size:
            sent += sock.send(block[sent % len(piece) :])
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def answers(servers: Iterable[Running], data: bytes, quiet: float) -> list[bytes]:
    """What each of ``servers`` says to ``data`` until all have closed or been ``quiet`` so long;
    a mark at the end tells who has closed."""
    received: dict[socket.socket, bytearray] = {}
    for server in servers:
        received[sock := server.connect()] = bytearray()
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
    open_ = list(received)
    while ready := select.select(open_, [], [], quiet)[0] if open_ else []:
        for sock in ready:
            try:
                piece = sock.recv(65536)
            except ConnectionError:
                piece = b""
            received[sock] += piece or b"<closed>"
            if not piece:
                open_.remove(sock)
    for sock in received:
        sock.close()
    return [bytes(data) for data in received.values()]


def _without_panics(told: bytes) -> bytes:
    """What is no panic of a worker thread; the real one tells those, too."""
    return re.sub(rb"\nthread '[^\n]*panicked at [^\n]*:\n[^\n]*\n(note: [^\n]*\n)?", b"", told)


def _read(sock: socket.socket, seconds: float = PATIENCE) -> bytes:
    """What comes until the server closes or the time is over."""
    received = bytearray()
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while time.monotonic() < end and (data := sock.recv(65536)):
            received += data
    return bytes(received)
