"""What leaves at once, and what together: the first event alone, a whole answer in one piece."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fake_shimmy.serving.connection import Connection
from fake_shimmy.serving.loop import Loop


@pytest.fixture
def client() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection of a server, and its client."""
    loop = Loop(panicked=lambda panic: pytest.fail(str(panic)))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs, loop.selector as selector:
        connection = Connection(loop, None, ours, 1, lambda _: None)
        selector.register(ours, connection.mask, connection)
        yield connection, theirs
        connection.close()


def test_the_first_event_of_a_stream_is_sent_before_the_second_is_made(client):
    connection, theirs = client
    sent_before = []

    def stream():
        yield b"first "
        sent_before.append(theirs.recv(100))
        yield b"second "
        yield b"third"

    connection.resume(stream())
    connection.play()
    assert sent_before == [b"first "]
    assert theirs.recv(100) == b"second third", "what is due at once is sent in one piece"


def test_an_answer_that_is_made_already_leaves_in_one_piece(client):
    connection, theirs = client
    connection.resume((b"head ", b"body"))
    assert theirs.recv(100) == b"head body"
