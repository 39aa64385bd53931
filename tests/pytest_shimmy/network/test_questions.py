"""Whatever a server answers to our own questions is a fit value, or a `ShimmyError`."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_shimmy.errors import ShimmyError, ShimmyErrorCode
from pytest_shimmy.network.questions import Questions

Answering = Callable[[bytes], Questions]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """A server that answers everything with these bytes; none: it does not answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    current = [b""]
    held = contextlib.ExitStack()

    def run() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            if not current[0]:
                held.enter_context(peer)
                continue
            with peer, contextlib.suppress(OSError):
                peer.recv(65536)
                peer.sendall(current[0])

    def answer(data: bytes) -> Questions:
        current[0] = data
        return Questions(f"http://127.0.0.1:{listener.getsockname()[1]}")

    thread = threading.Thread(target=run)
    thread.start()
    yield answer
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    held.close()


def response(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\n\r\n%b" % (status, body)


def document(value: object) -> bytes:
    return response(json.dumps(value).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "id", "service"]), inner, max_size=3)
    ),
)


@given(
    st.binary(max_size=100)
    | st.builds(response, st.binary(max_size=100), st.integers(200, 599))
    | st.builds(document, JSON)
)
@example(document({"data": {"id": "m"}}))
@example(document({"data": ["m"]}))
@example(document({"data": [{"id": 1}]}))
@example(document({"data": [{}]}))
@example(response(b"[" * 100_000))
@settings(max_examples=100, suppress_health_check=[*HealthCheck], deadline=None)
def test_whatever_is_answered_has_the_right_shape_or_is_an_error(
    answering: Answering, answer: bytes
) -> None:
    questions = answering(answer or b"\r\n")
    with contextlib.suppress(ShimmyError):
        assert isinstance(questions.health(), dict)
    with contextlib.suppress(ShimmyError):
        ids = questions.models()
        assert isinstance(ids, list)
        assert all(isinstance(each, str) for each in ids)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response(b"<html>", 200), "answered 200, but no JSON object: '<html>'"),
        (response(b"[]"), "answered 200, but no JSON object: '[]'"),
        (response(b"{}", 503), "answered 'HTTP/1.1 503 Whatever', '{}'"),
        (document({"data": [{"id": 1}]}), 'has no list of models: {"data": [{"id": 1}]}'),
        (document({"object": "list"}), 'has no list of models: {"object": "list"}'),
    ],
)
def test_an_answer_of_another_shape_is_quoted(
    answering: Answering, answer: bytes, said: str
) -> None:
    questions = answering(answer)
    with pytest.raises(ShimmyError) as caught:
        questions.models()
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert caught.value.message.startswith(f"GET {questions.url}/v1/models {said}.\n")


def test_an_answer_that_does_not_come_is_said_with_the_address_once(answering: Answering) -> None:
    questions = answering(b"")
    with pytest.raises(ShimmyError) as caught:
        questions.ask("/health", timeout=0.1)
    first = caught.value.message.partition("\n")[0]
    assert first == f"no answer from {questions.url}/health: it took longer than 0.1 s."
