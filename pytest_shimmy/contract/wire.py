"""A client's end of a connection that does exactly what it is told, however rude.

Strategy: a plain socket and a buffer; it cuts answers by their framing, and complains about
nothing. What the peer does not send in time is written down as such.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_WITHOUT_BODY = (b" 100 ", b" 101 ", b" 204 ", b" 304 ")


class Wire:
    """One connection to `address`; `timeout` in seconds for each thing that must come."""

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        self._sock = socket.create_connection(address, timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._timeout = timeout
        self._end = ""
        self._asked_for_head = False

    def send(self, data: bytes) -> None:
        """Send all of it, or as much as the peer takes before it hangs up."""
        self._asked_for_head = data.startswith(b"HEAD ")
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._sock.sendall(data)

    def answer(self) -> bytes:
        """One HTTP answer: its head, and its body by length or by chunks."""
        head = self.until(b"\r\n\r\n")
        if self._asked_for_head or any(code in head[:13] for code in _WITHOUT_BODY):
            return head
        length = _LENGTH.search(head)
        if length is not None:
            return head + self._take(int(length[1]))
        if b"\r\ntransfer-encoding: chunked\r\n" in head:
            return head + self.until(b"\r\n0\r\n\r\n")
        return head

    def until(self, mark: bytes) -> bytes:
        """Everything up to `mark`, which is part of it; less where the connection ends first."""
        while mark not in self._buffer and self._receive():
            pass
        at = self._buffer.find(mark)
        return self._cut(len(self._buffer) if at < 0 else at + len(mark))

    def rest(self, silence: float | None = None) -> tuple[bytes, str]:
        """Everything up to the end, and how that came: ``closed``, ``reset`` or ``open``.

        With `silence`, a peer that says nothing for so many seconds is told that no more will
        come, and the end is called ``waited, then …``.
        """
        waited = ""
        if silence is not None:
            self._sock.settimeout(silence)
            while self._receive():
                pass
            if self._end == "open":
                self.finish()
                self._end, waited = "", "waited, then "
            self._sock.settimeout(self._timeout)
        while self._receive():
            pass
        return self._cut(len(self._buffer)), waited + self._end

    def finish(self) -> None:
        """Send no more."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def reset(self) -> None:
        """Hang up rudely (RST)."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count and self._receive():
            pass
        return self._cut(count)

    def _cut(self, at: int) -> bytes:
        taken, self._buffer = self._buffer[:at], self._buffer[at:]
        return taken

    def _receive(self) -> bool:
        if self._end:
            return False
        try:
            data = self._sock.recv(65536)
        except TimeoutError:
            self._end = "open"
        except ConnectionError:
            self._end = "reset"
        else:
            self._end = "" if data else "closed"
            self._buffer += data
        return not self._end
