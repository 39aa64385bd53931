"""Is it up, and is it ours: the probe believes nobody, and never raises for what a peer does."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_shimmy.network.addresses import is_loopback
from pytest_shimmy.supervisor import health, port_owner

HEALTHY = b'{"status":"ok","service":"shimmy","version":"2.5.0"}'
HOST = "127.0.0.1"

Peer = Callable[[Callable[[socket.socket], object]], int]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Makes servers: each takes one connection after the other and hands them to a function."""
    stack = contextlib.ExitStack()

    def make(behave: Callable[[socket.socket], object]) -> int:
        server = stack.enter_context(socket.create_server((HOST, 0)))
        port: int = server.getsockname()[1]

        def run() -> None:
            while True:
                connection, _ = server.accept()
                if done.is_set():
                    connection.close()
                    return
                with connection, contextlib.suppress(OSError):
                    behave(connection)

        done = threading.Event()
        thread = threading.Thread(target=run)
        thread.start()

        def end() -> None:
            done.set()
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), 10).close()
            thread.join()

        stack.callback(end)
        return port

    with stack:
        yield make


def answers(data: bytes) -> Callable[[socket.socket], object]:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(data)

    return behave


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that is bound, but that nobody listens on."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        yield holder.getsockname()[1]


def test_a_shimmy_is_healthy_and_says_its_version(peer: Peer) -> None:
    port = peer(answers(response(HEALTHY)))
    assert health.probe(HOST, port, 10) == (True, True, "healthy", "2.5.0")


@pytest.mark.parametrize(
    "answer",
    [
        response(b"34\r\n" + HEALTHY + b"\r\n0\r\n\r\n", headers="transfer-encoding: chunked\r\n"),
        b"HTTP/1.0 200 OK\r\n\r\n" + HEALTHY,
        b"HTTP/1.1 200\r\n\r\n" + HEALTHY,
        response(b"  \n" + HEALTHY + b"\n"),
        response(json.dumps({**json.loads(HEALTHY), "nested": {"}": "{"}}).encode()),
    ],
    ids=["chunked", "old", "no reason", "spaces", "nested"],
)
def test_a_shimmy_is_known_in_whatever_framing(peer: Peer, answer: bytes) -> None:
    assert health.probe(HOST, peer(answers(answer)), 10).version == "2.5.0"


def test_the_question_is_a_plain_get_that_asks_for_the_end(peer: Peer) -> None:
    heard = bytearray()

    def behave(connection: socket.socket) -> None:
        heard.extend(connection.recv(4096))
        connection.sendall(response(HEALTHY))

    port = peer(behave)
    assert health.probe(HOST, port, 10).healthy
    assert heard.startswith(b"GET /health HTTP/1.1\r\n")
    assert f"\r\nhost: {HOST}:{port}\r\n".encode() in heard
    assert b"\r\nconnection: close\r\n" in heard
    assert heard.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (response(b"", "404 Not Found"), "'HTTP/1.1 404 Not Found'"),
        (response(HEALTHY, "503 Service Unavailable"), "503"),
        (response(HEALTHY, "2000 OK"), "2000"),
        (response(b'{"service":"ollama"}'), "not as shimmy"),
        (response(b'["shimmy"]'), "not as shimmy"),
        (response(b"shimmy"), "not as shimmy"),
        (response(b'{"service":"shimmy"'), "not as shimmy"),
        (response(b'{"a":' * 10_000 + b"}"), "not as shimmy"),
        (response(b""), "not as shimmy"),
        (b"", "in HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "in HTTP"),
        (b"HTTP/1.1", "in HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "in HTTP: b'HTTP/1.1 200 OK"),
        (b"HTTP/2 200 OK\r\n\r\n" + HEALTHY, "in HTTP"),
    ],
)
def test_anybody_else_is_not_healthy_and_is_quoted(peer: Peer, answer: bytes, seen: str) -> None:
    probe = health.probe(HOST, peer(answers(answer)), 10)
    assert (probe.healthy, probe.answered, probe.version) == (False, True, None)
    assert seen in probe.seen


@given(
    st.binary(max_size=300)
    | st.builds(response, st.binary(max_size=200))
    | st.builds(response, st.binary(max_size=100).map(lambda inner: b"{" + inner + b"}"))
)
@example(response(b'{"service":"shimmy","version":"' + b"9" * 5000 + b'"}'))
@example(response(b'{"service":"shimmy","n":' + b"9" * 5000 + b"}"))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_whatever_raises(one_answer: Callable[[bytes], int], answer: bytes) -> None:
    probe = health.probe(HOST, one_answer(answer), 10)
    assert isinstance(probe.healthy, bool)
    assert probe.seen
    if probe.healthy:
        assert b"shimmy" in answer


@pytest.fixture
def one_answer(peer: Peer) -> Callable[[bytes], int]:
    """A server whose next answer is set by calling this with it; returns the port."""
    current = [b""]
    port = peer(lambda connection: answers(current[0])(connection))

    def set_answer(answer: bytes) -> int:
        current[0] = answer
        return port

    return set_answer


def test_a_connection_that_is_reset_is_not_healthy(peer: Peer) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    probe = health.probe(HOST, peer(reset), 10)
    assert (probe.healthy, probe.answered) == (False, False)
    assert "reset" in probe.seen


def test_nobody_listens(deaf_port: int) -> None:
    probe = health.probe(HOST, deaf_port, 10)
    assert (probe.healthy, probe.answered) == (False, False)
    assert probe.seen == "nothing listens there"


def test_an_address_that_does_not_exist() -> None:
    probe = health.probe("no.such.host.invalid", 80, 10)
    assert (probe.healthy, probe.answered) == (False, False)
    assert "no.such.host" not in probe.seen, "who asks says whom"
    assert probe.seen


def test_silence_is_waited_for_no_longer_than_asked(peer: Peer) -> None:
    end = threading.Event()
    port = peer(lambda _: end.wait(30))
    before = time.monotonic()
    try:
        probe = health.probe(HOST, port, 0.2)
    finally:
        end.set()
    assert time.monotonic() - before < 10
    assert (probe.healthy, probe.answered) == (False, False)
    assert "within 0.2 s" in probe.seen


def test_a_peer_that_drips_cannot_extend_the_limit(peer: Peer) -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(3000):
            connection.sendall(b"x")
            if end.wait(0.01):
                return

    end = threading.Event()
    before = time.monotonic()
    try:
        probe = health.probe(HOST, peer(drip), 0.3)
    finally:
        end.set()
    assert time.monotonic() - before < 10
    assert not probe.healthy


def test_a_peer_that_never_ends_is_heard_for_so_long_only(peer: Peer) -> None:
    def gush(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" * 4096)

    probe = health.probe(HOST, peer(gush), 30)
    assert (probe.healthy, probe.answered) == (False, True)


def test_the_version_at_an_address(peer: Peer, deaf_port: int) -> None:
    port = peer(answers(response(HEALTHY)))
    assert health.version_at(f"http://{HOST}:{port}") == "2.5.0"
    assert health.version_at(f"http://{HOST}:{deaf_port}") is None
    assert health.version_at(f"https://{HOST}:{port}") is None
    assert health.version_at(f"http://{HOST}:{port}/behind/a/path") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.9.10", True),
        ("http://localhost:1/v1", True),
        ("http://LOCALHOST", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("http://shimmy.example", False),
        ("http://[2001:db8::1]", False),
        ("nonsense", False),
    ],
)
def test_which_addresses_are_on_this_machine(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize("document", [None, [], "shimmy", 1, {}, {"service": "Shimmy"}])
def test_which_documents_are_not_a_shimmy_s(document: object) -> None:
    assert not health.is_shimmy(document)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_listener_of_our_own_port_is_us() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert port_owner.listener(port, likely=os.getpid()) == os.getpid()
        assert port_owner.listener(port, likely=1) == os.getpid()


@linux
def test_the_listener_is_found_in_another_process() -> None:
    program = (
        "import socket, sys\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    print(server.getsockname()[1], flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert port_owner.listener(port, likely=os.getpid()) == other.pid
        other.communicate()


@linux
def test_who_only_binds_or_connects_is_no_listener(deaf_port: int) -> None:
    assert port_owner.listener(deaf_port, likely=os.getpid()) == port_owner.NOBODY
    with (
        socket.create_server((HOST, 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert port_owner.listener(client.getsockname()[1], likely=os.getpid()) == port_owner.NOBODY


@linux
def test_a_process_that_is_gone_is_no_listener() -> None:
    with socket.create_server((HOST, 0)) as server:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        assert port_owner.listener(server.getsockname()[1], likely=gone.pid) == os.getpid()


@linux
@pytest.mark.usefixtures("ipv6")
def test_ipv6_listeners_are_seen_too() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert port_owner.listener(server.getsockname()[1], likely=1) == os.getpid()
