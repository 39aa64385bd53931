"""Whatever one client does, the server stays small and the others are served."""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path

import pytest

from tests.support.fake_process import DEADLINE, read_all
from tests.support.websocket_client import PING, frame, texts, upgraded

pytestmark = pytest.mark.slow

ASK = b'{"model":"tiny","prompt":"Hi"}'


def alive(server) -> bool:
    return server.request("GET", "/health").status == 200


def send_up_to(sock: socket.socket, data: bytes, limit: int) -> None:
    while limit > 0:
        limit -= sock.send(data)


def open_files(server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def peak_memory(server) -> int:
    """The most bytes that the process ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_slow_reader_of_a_websocket_holds_up_nobody(served):
    word = "x" * 9_000_000
    with upgraded(served) as sock:
        sock.sendall(frame(json.dumps({"model": "tiny", "prompt": word}).encode()))
        # More than the buffers of a socket take: the answer now waits for its reader.
        assert select.select([sock], [], [], DEADLINE)[0]
        assert alive(served)
        tokens = texts(read_all(sock))
    assert f"'{word}' ".encode() in tokens
    assert tokens[-1] == b'{"done":true}'


def test_frames_without_end_do_not_make_the_server_grow(served):
    with upgraded(served) as sock:
        sock.sendall(frame(b"", final=False))
        before = peak_memory(served)
        for _ in range(200):
            sock.sendall(frame(b"", 0, final=False) * 1000)
        assert alive(served)
        sock.sendall(frame(b"{", 0))
        assert b"EOF while parsing" in read_all(sock)
    assert peak_memory(served) < before + 16 * 2**20


def test_a_flood_behind_the_message_is_not_read(served):
    with upgraded(served) as sock:
        sock.sendall(frame(json.dumps({"model": "tiny", "prompt": "x " * 200}).encode()))
        assert sock.recv(1) == b"\x81"
        sock.setblocking(False)
        flood = frame(b"x" * 60, PING) * 1000
        with pytest.raises((BlockingIOError, ConnectionError)):
            send_up_to(sock, flood, 64 * 2**20)
        assert alive(served)


def test_clients_that_leave_are_forgotten(served):
    assert alive(served)  # by now it has opened what it keeps open
    before = open_files(served)
    for _ in range(20):
        with upgraded(served) as sock:
            sock.sendall(frame(ASK))
            sock.recv(1)
        with upgraded(served):
            pass
        with upgraded(served) as sock:
            sock.sendall(frame(ASK)[:-1])
    end = time.monotonic() + DEADLINE
    while open_files(served) > before:
        assert time.monotonic() < end
        assert alive(served)


def test_a_body_that_takes_long_to_read_holds_up_nobody(served):
    body = b"[" + b"1," * 400_000 + b"x]"
    with served.connect() as sock:
        sock.settimeout(6 * DEADLINE)  # it is measured, on a loaded machine
        sock.sendall(
            b"POST /api/workflows/execute HTTP/1.1\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert alive(served)
        assert not select.select([sock], [], [], 0)[0]
        assert b"[400000]: expected value at line 1 column 800002" in read_all(sock)


@pytest.mark.parametrize("number", [b"1e" + b"0" * 1_900_000 + b"1", b"1" * 1_900_000])
def test_a_number_may_be_as_long_as_the_body(served, number):
    answer = served.request(
        "POST", "/api/workflows/execute", number, content_type="application/json"
    )
    assert answer.status in (200, 400)


def test_a_client_that_leaves_while_its_body_is_read_harms_nobody(served):
    body = b"[" + b"1," * 100_000 + b"x]"
    sock = served.connect()
    sock.sendall(
        b"POST /api/workflows/execute HTTP/1.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    answer = served.request("POST", "/api/workflows/execute", body, content_type="application/json")
    assert answer.status == 400
