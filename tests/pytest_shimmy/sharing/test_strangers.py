"""Whoever connects to a socket of ours and is none of us is not heard, and is in nobody's way."""

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
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_shimmy.sharing import connections, sockets
from pytest_shimmy.sharing.connections import Connections
from pytest_shimmy.sharing.protocol import Channel, ServerSummary, Snapshot, hello, is_hello
from pytest_shimmy.sharing.run import Anchor, Run

SOON = 10.0

SUMMARY = ServerSummary(None, "2.5.0", 22435, 0, 1.0, None, None)


@pytest.fixture(params=[True, False], ids=["Unix socket", "TCP"])
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of sockets, where the system has them."""
    if request.param and sys.platform != "linux":
        pytest.skip("abstract Unix sockets exist on Linux only")
    monkeypatch.setattr(sockets, "ABSTRACT", request.param)


@pytest.fixture
def anchor(family: None) -> Iterator[Anchor]:
    anchor = Anchor()
    yield anchor
    for channel in anchor.let_go():
        channel.close()


Call = Callable[..., socket.socket]


@pytest.fixture
def call() -> Iterator[Call]:
    """Connects, says something, and stays until the test is over."""
    with contextlib.ExitStack() as open_:

        def call(address: sockets.Address, said: bytes = b"") -> socket.socket:
            caller = open_.enter_context(sockets.connect(address, SOON))
            caller.settimeout(0.1)
            with contextlib.suppress(OSError):  # it is not heard
                caller.sendall(said)
            return caller

        yield call


def line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(SOON)
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


FAREWELLS = [
    line({"farewell": {"x": 1}}),
    line({"server_summary": {"x": 1}}),
    line({"server_summary": SUMMARY._replace(version="\x1b[2Jall is well")._asdict()}),
    line(hello("guess")) + line({"server_summary": SUMMARY._asdict()}),
    line({"token": None}),
    line({"token": 1}),
    b"",
    b"\xff\xfe\n",
    b"[" * 100_000,
]


@pytest.mark.parametrize("said", FAREWELLS)
def test_a_stranger_at_the_anchor_is_not_believed(anchor: Anchor, call: Call, said: bytes) -> None:
    assert anchor.address is not None
    stranger = call(anchor.address.address, said)
    assert anchor.let_go() == []
    assert is_closed(stranger)


def test_a_keeper_at_the_anchor_is_heard_among_strangers(anchor: Anchor, call: Call) -> None:
    run = Run.invited(json.loads(json.dumps(anchor.invitation())))
    assert run.anchor is not None
    strangers = [call(run.anchor.address, b"hello\n") for _ in range(20)]
    keeper = call(run.anchor.address, line(hello(run.anchor.token)))
    keeper.sendall(line({"server_summary": SUMMARY._asdict()}))
    (channel,) = anchor.let_go()
    message = channel.receive()
    assert message is not None
    assert ServerSummary.from_json(message["server_summary"]) == SUMMARY
    assert all(is_closed(stranger) for stranger in strangers)
    channel.close()


def test_a_run_is_over_when_its_anchor_is(family: None) -> None:
    anchor = Anchor()
    run = Run.invited(anchor.invitation())
    assert not run.is_over()
    assert anchor.let_go() == []
    assert run.is_over()


class Server:
    """`Connections` on a thread of their own: answers each question with its own text."""

    def __init__(self) -> None:
        self.connections = Connections("token", lambda channel, message: channel.send(message))
        self.wake, self._waker = socket.socketpair()
        self.rounds = 0
        self._over = False
        self.connections.watch(self.wake, lambda: None)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            self.connections.wait()
            self.rounds += 1

    def close(self) -> None:
        self._over = True
        self._waker.send(b"x")
        self._thread.join()
        self.wake.close()
        self._waker.close()
        self.connections.close()

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        channel = Channel(sockets.connect(self.connections.address, SOON))
        with contextlib.closing(channel):
            channel.send(hello("token"))
            channel.send(question)
            return channel.receive()


@pytest.fixture
def server(family: None) -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_who_proves_to_be_ours_is_answered(server: Server) -> None:
    assert server.ask({"a": 1}) == {"a": 1}


def test_strangers_learn_nothing_and_hold_nothing(server: Server) -> None:
    @settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary() | st.sampled_from(FAREWELLS))
    def knock(said: bytes) -> None:
        with sockets.connect(server.connections.address, SOON) as stranger:
            with contextlib.suppress(OSError):
                stranger.sendall(said + b"\n")
                stranger.shutdown(socket.SHUT_WR)
            assert is_closed(stranger)

    knock()
    assert server.ask({"a": 1}) == {"a": 1}
    deadline = time.monotonic() + SOON
    while server.connections.holders:  # of the one that has asked, and is just leaving
        assert time.monotonic() < deadline


def test_who_says_nothing_is_shown_out(
    server: Server, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HELLO_TIMEOUT", 0.05)
    assert is_closed(call(server.connections.address))


def test_who_says_much_before_the_token_is_shown_out(server: Server, call: Call) -> None:
    assert is_closed(call(server.connections.address, b"x" * 10_000))


def test_a_crowd_of_strangers_makes_room(
    server: Server, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HELLO_TIMEOUT", 10 * SOON)
    crowd = [call(server.connections.address) for _ in range(connections.MAX_STRANGERS + 5)]
    assert all(is_closed(stranger) for stranger in crowd[:5])
    assert server.ask({"a": 1}) == {"a": 1}


CROWDED = """
import resource, sys, threading
from pytest_shimmy.sharing import sockets
from pytest_shimmy.sharing.connections import Connections
connections = Connections("token", lambda channel, message: channel.send(message))
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
print(connections.address, flush=True)
rounds = 0
def end():
    sys.stdin.read()
    print(rounds, flush=True)
    import os; os._exit(0)
threading.Thread(target=end).start()
while True:
    connections.wait()
    rounds += 1
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux does")
@pytest.mark.parametrize("free", [0, 1, 4])
def test_with_no_descriptor_left_nothing_spins_and_strangers_make_room(
    call: Call, free: int
) -> None:
    used = 5  # the standard streams, epoll, the listener
    with subprocess.Popen(
        [sys.executable, "-c", CROWDED, str(used + free)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        for _ in range(30):
            call(address)
        begun = time.monotonic()
        if free > 1:
            channel = Channel(call(address, line(hello("token")) + line({"a": 1})))
            channel.socket.settimeout(SOON)
            assert channel.receive() == {"a": 1}
        else:
            time.sleep(0.5)  # in which it would spin
        lasted = time.monotonic() - begun
        rounds, _ = process.communicate()
        assert int(rounds) < 150 + 40 * lasted


AS_ANOTHER_USER = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="becomes another user: needs root on Linux"
)


@AS_ANOTHER_USER
def test_another_user_is_not_heard_whatever_he_knows(server: Server) -> None:
    if not isinstance(server.connections.address, str):
        pytest.skip("of a TCP connection, the system does not tell whose it is")
    program = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(54321);"
        "s.connect('\\0' + sys.argv[1]);\n"
        'try: s.sendall(b\'{"token": "token"}\\n{"a": 1}\\n\'); print(s.recv(100))\n'
        "except ConnectionError: print(b'')"
    )
    command = [sys.executable, "-c", program, server.connections.address]
    assert subprocess.check_output(command, text=True).strip() == "b''"
    assert server.ask({"a": 1}) == {"a": 1}


@AS_ANOTHER_USER
def test_another_user_at_the_anchor_is_no_keeper_whatever_he_knows(anchor: Anchor) -> None:
    assert anchor.address is not None
    if not isinstance(anchor.address.address, str):
        pytest.skip("of a TCP connection, the system does not tell whose it is")
    program = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(54321);"
        "s.connect('\\0' + sys.argv[1]); s.sendall(sys.argv[2].encode());"
        "print('called', flush=True); sys.stdin.read()"
    )
    said = line(hello(anchor.address.token)).decode()
    with subprocess.Popen(
        [sys.executable, "-c", program, anchor.address.address, said],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "called\n"
        assert anchor.let_go() == []
        caller.communicate()


@AS_ANOTHER_USER
def test_nothing_is_told_to_another_users_listener() -> None:
    program = (
        "import os, socket; os.setuid(54321); s = socket.socket(socket.AF_UNIX);"
        "s.bind('\\0shimmy-test-%d' % os.getpid()); s.listen(); print(os.getpid(), flush=True);"
        "c, _ = s.accept(); print(c.recv(100))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        with pytest.raises(PermissionError, match="another user"):
            sockets.connect(f"shimmy-test-{int(other.stdout.readline())}", SOON)
        assert other.stdout.read() == "b''\n"


def test_a_full_queue_is_waited_for_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("abstract Unix sockets exist on Linux only")
    monkeypatch.setattr(sockets, "QUEUE", 0)
    with sockets.listen() as listener:
        address = sockets.address_of(listener)
        first = sockets.connect(address, SOON)
        with pytest.raises(TimeoutError, match="no room"):
            sockets.connect(address, 0.05)
        listener.accept()[0].close()
        sockets.connect(address, SOON).close()
        first.close()


@given(st.text(), st.text() | st.none() | st.integers())
def test_only_the_token_is_the_token(token: str, said: object) -> None:
    assert is_hello(hello(token), token)
    assert is_hello({"token": said}, token) == (said == token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)
FIELDS: list[tuple[Callable[[Any], Any], dict[str, Any]]] = [
    (ServerSummary.from_json, SUMMARY._asdict()),
    (
        Snapshot.from_json,
        Snapshot("ready", "127.0.0.1", 1, 2, "2.5.0", 0, (), "/log", 3, "x").to_json()
        | {"deaths": [{"pid": 1, "exit": "exit code 1", "log_offset": 2}]},
    ),
]


@pytest.mark.parametrize(("read", "good"), FIELDS, ids=["summary", "snapshot"])
@given(data=st.data())
def test_whatever_arrives_is_what_was_expected_or_a_value_error(
    read: Callable[[Any], Any], good: dict[str, Any], data: st.DataObject
) -> None:
    assert read(json.loads(json.dumps(good)))
    broken = {**good, data.draw(st.sampled_from([*good, "more"])): data.draw(JSON)}
    for value in (broken, data.draw(JSON)):
        with contextlib.suppress(ValueError):
            repr(read(value))
    with pytest.raises(ValueError, match="no "):
        read({**good, "more": 1})


@given(st.text())
def test_a_summarys_texts_can_be_shown_in_a_line(text: str) -> None:
    said = SUMMARY._replace(executable=text, version=text, kept_log=text)
    summary = ServerSummary.from_json(said._asdict())
    assert f"{summary.executable}{summary.version}{summary.kept_log}".isprintable()
