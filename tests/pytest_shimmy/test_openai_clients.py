"""OpenAI clients meet shimmy as their callers expect: no surprise stream, no retries, no proxy."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.openai_clients import async_openai_client, close_async_client, openai_client

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(scope="module")
def base_url(models_dir: Path) -> Iterator[str]:
    """The bundled fake, in the build whose engine answers for any model, of the release that
    streams where nothing was said."""
    with ShimmyProcessManager() as manager:
        env = {"FAKE_SHIMMY_BUILD": "cpu-only"}
        options = ShimmyProcessOptions(models_dir=models_dir, env=env, fake_version="2.5.0")
        manager.start(options)
        manager.ensure_ready()
        yield f"http://127.0.0.1:{manager.port}/v1"


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai_client(base_url) as client:
        yield client


class Listener:
    """A server that keeps the requests that it gets, and answers each with the same response."""

    def __init__(self, answer: bytes) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            peer, _ = self._server.accept()
            with peer, peer.makefile("rb") as stream:
                if self._closing.is_set():
                    return
                head = b"".join(iter(stream.readline, b"\r\n")).decode()
                length = next(
                    int(line.split(":")[1])
                    for line in head.splitlines()
                    if line.lower().startswith("content-length")
                )
                self.requests.append((head, json.loads(stream.read(length))))
                peer.sendall(self._answer)

    def close(self) -> None:
        self._closing.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._server.close()


@pytest.fixture
def listen() -> Iterator[Callable[[bytes], Listener]]:
    listeners = []

    def make(status: bytes = b"500 Internal Server Error", body: bytes = b"{}") -> Listener:
        listeners.append(
            Listener(
                b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%s" % (status, len(body), body)
            )
        )
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


Listen = Callable[..., Listener]


# "stream": false, where nothing was said


def test_who_says_nothing_gets_an_answer_and_no_stream(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.role == "assistant"
    assert isinstance(answer.choices[0].message.content, str)


@pytest.mark.slow
def test_who_asks_for_a_stream_gets_one(client: openai.OpenAI) -> None:
    with client.chat.completions.create(**ASK, stream=True) as stream:
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = client.chat.completions.create(**ASK).choices[0].message.content
    assert whole is not None
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces).split() == whole.split()


@pytest.mark.slow
def test_streaming_helpers_of_the_sdk_work(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.content
    assert "content.done" in kinds


@pytest.mark.slow
def test_a_client_that_says_nothing_on_its_own_meets_the_server_as_it_is(base_url: str) -> None:
    with openai_client(base_url, say_stream=False) as client:
        answer: object = client.chat.completions.create(**ASK)
    assert isinstance(answer, str)
    assert answer.startswith("data: {")
    assert answer.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"stream": False}, False),
        ({"extra_body": {"stream": True}}, True),
        ({"extra_body": {"stream": None}}, None),
        ({"stream": True, "extra_body": {"stream": False}}, False),
        ({"extra_body": {"top_k": 3}}, False),
    ],
    ids=str,
)
def test_what_the_caller_says_wins(listen: Listen, said: dict[str, Any], sent: bool | None) -> None:
    listener = listen()
    with (
        openai_client(f"http://127.0.0.1:{listener.port}/v1") as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(**ASK, **said)
    ((_, body),) = listener.requests
    assert body["stream"] is sent
    assert {name: body[name] for name in ASK} == ASK


def test_copies_of_a_client_say_it_too(listen: Listen) -> None:
    listener = listen()
    with openai_client(f"http://127.0.0.1:{listener.port}/v1") as client:
        for each in (client.with_options(timeout=5), client.copy()):
            with pytest.raises(openai.InternalServerError):
                each.chat.completions.create(**ASK)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.with_raw_response.create(**ASK)
    assert [body["stream"] for _, body in listener.requests] == [False] * 3


def test_other_requests_are_left_alone(listen: Listen) -> None:
    listener = listen()
    with openai_client(f"http://127.0.0.1:{listener.port}/v1") as client:
        for call in (
            lambda: client.completions.create(model="tiny", prompt="x"),
            lambda: client.embeddings.create(model="tiny", input="x"),
            lambda: client.post("/elsewhere", body={"a": 1}, cast_to=object),
        ):
            with pytest.raises(openai.InternalServerError):
                call()
    assert [body.get("stream", "nothing") for _, body in listener.requests] == ["nothing"] * 3


def test_a_caller_s_own_body_is_not_changed(listen: Listen) -> None:
    listener = listen()
    body: dict[str, Any] = {**ASK}
    with (
        openai_client(f"http://127.0.0.1:{listener.port}/v1") as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.post("/chat/completions", body=body, cast_to=object)
    assert body == ASK
    assert listener.requests[0][1]["stream"] is False


# What a test client does not do


@pytest.mark.parametrize("status", [b"500 Internal Server Error", b"502 Bad Gateway", b"429 x"])
def test_a_failure_is_seen_and_seen_once(listen: Listen, status: bytes) -> None:
    listener = listen(status)
    with (
        openai_client(f"http://127.0.0.1:{listener.port}/v1") as client,
        pytest.raises(openai.APIStatusError),
    ):
        client.chat.completions.create(**ASK)
    assert len(listener.requests) == 1


def test_arguments_of_the_caller_win(listen: Listen) -> None:
    listener = listen()
    with openai_client(
        f"http://127.0.0.1:{listener.port}/v1",
        api_key="mine",
        timeout=3.0,
        default_headers={"x-mine": "1"},
    ) as client:
        assert client.timeout == 3.0
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(**ASK)
    head = listener.requests[0][0].lower()
    assert "authorization: bearer mine" in head
    assert "x-mine: 1" in head
    with openai_client("http://127.0.0.1:1/v1", max_retries=5) as client:
        assert client.max_retries == 5


@pytest.fixture
def _dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment that sends everything to a proxy that does not answer."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{holder.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield


@pytest.mark.usefixtures("_dead_proxy")
def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(base_url: str) -> None:
    with openai_client(base_url) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]


@pytest.mark.usefixtures("_dead_proxy")
def test_a_proxy_in_the_environment_is_asked_for_other_machines() -> None:
    with (
        openai_client("http://shimmy.invalid/v1") as client,
        pytest.raises(openai.APIConnectionError) as caught,
    ):
        client.models.list()
    assert "refused" in str(caught.value.__cause__)


# The asynchronous client


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.usefixtures("_dead_proxy")
async def test_the_async_client_works_on_both_loops(base_url: str) -> None:
    async with async_openai_client(base_url) as client:
        assert (await client.chat.completions.create(**ASK)).choices
        # Line by line, because the SDK's own iterator stops at [DONE] and leaves its generators
        # to the garbage collector, which trio warns of.
        streaming = client.chat.completions.with_streaming_response
        async with streaming.create(**ASK, stream=True) as answer:
            lines = [line async for line in answer.iter_lines() if line]
    assert lines[0].startswith("data: {")
    assert lines[-1] == "data: [DONE]"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_async_client_works_with_pytest_asyncio(base_url: str) -> None:
    async with async_openai_client(base_url) as client:
        assert (await client.chat.completions.create(**ASK)).choices
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"


@pytest.fixture
def closed_from_outside(base_url: str) -> Iterator[openai.AsyncOpenAI]:
    """As the plugin does it: made and closed by synchronous code."""
    client = async_openai_client(base_url)
    yield client
    close_async_client(client)
    assert client.is_closed()


@pytest.mark.anyio
async def test_the_async_client_may_be_closed_after_the_loop_has_ended(
    closed_from_outside: openai.AsyncOpenAI,
) -> None:
    for _ in range(3):
        assert (await closed_from_outside.chat.completions.create(**ASK)).choices


@pytest.mark.parametrize("headers", [None, {}, {"x-mine": "1"}])
def test_an_async_client_takes_the_caller_s_headers(headers: dict[str, str] | None) -> None:
    client = async_openai_client("http://127.0.0.1:1/v1", default_headers=headers)
    sent = client.default_headers
    assert {name: sent[name] for name in headers or {}} == (headers or {})
    assert sent["connection"] == "close"
    close_async_client(client)


def test_an_async_client_that_was_never_used_can_be_closed(base_url: str) -> None:
    client = async_openai_client(base_url)
    close_async_client(client)
    assert client.is_closed()
    close_async_client(client)


def test_an_async_client_leaves_no_connection_behind(base_url: str) -> None:
    async def use() -> None:
        for _ in range(3):
            await client.chat.completions.create(**ASK)

    client = async_openai_client(base_url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(use())
        asyncio.run(use())  # another loop: a connection kept from the first would be unusable
    close_async_client(client)


def test_the_async_client_says_it_too(listen: Listen) -> None:
    async def use(say_stream: bool) -> None:
        url = f"http://127.0.0.1:{listener.port}/v1"
        async with async_openai_client(url, say_stream=say_stream) as client:
            assert client.max_retries == 0
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(**ASK)

    listener = listen()
    asyncio.run(use(True))
    asyncio.run(use(False))
    assert [body.get("stream", "nothing") for _, body in listener.requests] == [False, "nothing"]
    assert "connection: close" in listener.requests[0][0].lower()
