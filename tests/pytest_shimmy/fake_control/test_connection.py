"""What is told without waiting for the answer: answers stay with their questions."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_shimmy.errors import ShimmyError
from pytest_shimmy.fake_control.connection import Control

SOON = 30.0


class Server:
    """Reads questions, and answers them when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.peer: socket.socket | None = None

    def read(self) -> dict[str, Any]:
        if self.peer is None:
            self.peer, _ = self._listener.accept()
            self.peer.settimeout(SOON)
            self._file = self.peer.makefile("rb")
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        question: dict[str, Any] = json.loads(self._file.read(length))
        return question

    def answer(self, **members: Any) -> None:
        assert self.peer is not None
        body = json.dumps(members).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.peer.sendall(head + body)

    def hang_up(self) -> None:
        if self.peer is not None:
            self._file.close()
            self.peer.close()
            self.peer = None

    def close(self) -> None:
        self.hang_up()
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def control(server: Server) -> Iterator[Control]:
    """A control with an open connection."""
    control = Control(server.url, "token")
    thread = threading.Thread(target=lambda: server.answer(**server.read()))
    thread.start()
    assert control.ask("first")["op"] == "first"
    thread.join()
    yield control
    control.close()


def test_what_is_told_is_not_waited_for(server: Server, control: Control) -> None:
    control.tell("close", session="key")  # the server has not even read it
    assert server.read() == {"op": "close", "session": "key"}


def test_the_next_question_gets_its_own_answer(server: Server, control: Control) -> None:
    control.tell("one")
    control.tell("two")

    def serve() -> None:
        for _ in range(3):
            server.answer(**server.read())

    thread = threading.Thread(target=serve)
    thread.start()
    assert control.ask("three")["op"] == "three"
    thread.join()


def test_settling_waits_until_what_was_told_is_done(server: Server, control: Control) -> None:
    control.tell("one")
    done = []

    def serve() -> None:
        question = server.read()
        done.append(question["op"])
        server.answer(**question)

    thread = threading.Thread(target=serve)
    thread.start()
    control.settle()
    assert done == ["one"]
    thread.join()
    control.settle()  # nothing is owed any more, and nobody answers


def ask_on_another(server: Server, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `ask` returns where the server has hung up, and answers on the next connection."""
    server.hang_up()
    thread = threading.Thread(target=lambda: server.answer(**server.read()))
    thread.start()
    try:
        return ask()
    finally:
        thread.join()


def test_a_question_is_asked_again_where_the_connection_has_ended(
    server: Server, control: Control
) -> None:
    for _ in range(2):
        control.tell("told")
        server.answer(**server.read())  # what is asked next must not be given this answer
        assert ask_on_another(server, lambda: control.ask("asked")) == {"op": "asked"}


def test_a_question_that_was_begun_is_asked_again_where_the_connection_ends(
    server: Server, control: Control
) -> None:
    ask = control.begin("begun")
    assert server.read()["op"] == "begun"
    assert ask_on_another(server, ask) == {"op": "begun"}


def test_a_server_that_has_ended_is_told_nothing(server: Server, control: Control) -> None:
    control.tell("one")
    server.close()
    control.settle()
    control.tell("two")
    with pytest.raises(ShimmyError, match="cannot be reached: connection re"):
        control.ask("three")
