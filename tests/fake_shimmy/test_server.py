"""The server plays whatever steps an application names."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from tests.support.fake_process import DEADLINE, ROOT, free_port, read_all, wait_for_port

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from fake_shimmy.commands.bind import Address
from fake_shimmy.serving import accept
from fake_shimmy.wire.http1 import HEAD_ENDS
from fake_shimmy.wire.steps import Cut, Exit, Hang, Pause, Reset, Work
import socket

class Server:
    panicked = None

class Application:
    server = Server()
    head_ends = HEAD_ENDS

    def respond(self, head, client):
        # A generator, as every answer that is made while it is sent.
        return (step for step in (b"one ", *eval(head.path[1:].decode())))

address = Address(socket.AF_INET, "127.0.0.1", int(sys.argv[2]))
accept.serve(Application(), address.listen())
"""


@pytest.fixture
def player(tmp_path):
    """A server whose answers are the steps that the path spells."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_port(process, port)
    yield process, port
    process.kill()
    process.communicate()


def ask(port: int, steps: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    sock.sendall(f"GET /{steps} HTTP/1.1\r\nconnection: close\r\n\r\n".encode())
    return sock


def test_pauses_are_no_bytes(player):
    with ask(player[1], '(b"two",Pause(0.01),b"!")') as sock:
        assert read_all(sock) == b"one two!"


@pytest.mark.slow
def test_work_gives_the_next_steps_and_holds_up_nobody(player):
    slow = '(Work(lambda:(b"worked",b"!")[sum(range(10_000_000))*0:]),b"never")'
    with ask(player[1], slow) as working:
        assert working.recv(100) == b"one "
        with ask(player[1], "()") as sock:
            assert read_all(sock) == b"one "
        assert read_all(working) == b"worked!"


def test_work_that_fails_costs_one_connection(player):
    process, port = player
    with ask(port, "(Work(lambda:1/0),)") as sock:
        assert read_all(sock) == b"one "
    assert process.poll() is None


def test_a_cut_ends_the_connection_in_order(player):
    with ask(player[1], '(b"two",Cut(),b"never")') as sock:
        assert read_all(sock) == b"one two"


def test_a_reset_is_seen_as_one(player):
    with ask(player[1], "(Pause(0.01),Reset())") as sock:
        assert sock.recv(100) == b"one "
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_a_hang_holds_one_connection_and_no_other(player):
    with ask(player[1], "(Hang(),)") as hanging:
        assert hanging.recv(100) == b"one "
        with ask(player[1], "()") as sock:
            assert read_all(sock) == b"one "
        hanging.settimeout(0.05)
        with pytest.raises(TimeoutError):
            hanging.recv(100)


@pytest.mark.parametrize("status", [0, 7, -signal.SIGKILL, -signal.SIGSEGV])
def test_an_exit_ends_the_process_after_what_was_said(player, status):
    process, port = player
    with ask(port, f'(b"two",Exit({int(status)}))') as sock:
        assert read_all(sock) == b"one two"
    assert process.wait(DEADLINE) == status


def test_a_failing_application_costs_one_connection(player):
    process, port = player
    with ask(port, "(1/0,)") as sock:
        assert read_all(sock) == b""
    with ask(port, "()") as sock:
        assert read_all(sock) == b"one "
    assert process.poll() is None


def test_streams_take_turns(player):
    # Neither stream fits the socket buffers, so each must wait for its reader, not for the other.
    long = '[b"x"*1000]*20000'
    with ask(player[1], long) as slow, ask(player[1], long) as fast:
        assert len(read_all(fast)) == 20_000_004
        assert slow.recv(4) == b"one "
