"""The default build through every API family: the default reply, or a failure without a GPU."""

from __future__ import annotations

import json

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import drained
from tests.support.websocket_client import frame, said

FAMILIES = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/api/generate"]


def body_for(path: str, text: str, **more) -> bytes:
    request = {"model": "some", "max_tokens": 99} | more
    if path in ("/v1/chat/completions", "/v1/messages"):
        request["messages"] = [{"role": "user", "content": text}]
    else:
        request["prompt"] = text
    return json.dumps(request).encode()


def text_of(path: str, body: bytes) -> str:
    answer = json.loads(body)
    if path == "/v1/messages":
        return answer["content"][0]["text"]
    if path == "/api/generate":
        return answer["response"]
    choice = answer["choices"][0]
    return choice["text"] if path == "/v1/completions" else choice["message"]["content"]


def data_of(events: bytes) -> list[str]:
    return [event.removeprefix("data: ") for event in events.decode().split("\n\n")[:-1]]


@pytest.fixture
def loadable(make_shimmy):
    fake = make_shimmy("default")
    (fake.cwd / "some.gguf").write_bytes(tiny_gguf.contents())
    return fake


def test_every_family_gives_the_default_reply(loadable):
    with loadable.serve("--model-path", "some.gguf") as running:
        for path in FAMILIES:
            body = body_for(path, "good day", stream=False)
            first, second = (
                running.request("POST", path, body, content_type="application/json")
                for _ in range(2)
            )
            assert text_of(path, first.body).endswith(" to: good day")
            assert text_of(path, first.body) == text_of(path, second.body)
            cut = body_for(path, "good day", stream=False, max_tokens=1)
            answer = running.request("POST", path, cut, content_type="application/json")
            assert text_of(path, answer.body) == "Reply"


def test_a_stream_says_what_one_body_says(loadable):
    with loadable.serve("--model-path", "some.gguf") as running:
        path = "/api/generate"
        whole, streamed = (
            running.request(
                "POST", path, body_for(path, "x y", stream=stream), content_type="application/json"
            )
            for stream in (False, True)
        )
        *tokens, end = data_of(streamed.body)
        frames = said(running, frame(body_for(path, "x y")))
    assert end == "[DONE]"
    assert "".join(tokens) == text_of(path, whole.body)
    assert [token.decode() for token in frames] == [*tokens, '{"done":true}']


def test_without_a_gpu_nothing_loads(loadable):
    with (
        loadable.serve("--model-path", "some.gguf", FAKE_SHIMMY_GPU="none") as running,
        drained(running) as log,
    ):
        answers = [
            running.request("POST", path, body_for(path, "x"), content_type="application/json")
            for path in FAMILIES
        ]
        assert said(running, frame(body_for("/api/generate", "x"))) == [b'{"error":"load failed"}']
    assert [(answer.status, answer.body) for answer in answers] == [
        *((502, b""),) * 2,
        (500, b""),
        (502, b""),
    ]
    reasons = [line.decode().split(" ERROR ")[1] for line in log if b" ERROR " in line]
    failed = "Failed to load model 'some'"
    assert reasons == [
        *[f"shimmy::openai_compat: {failed}: Airframe GPU load failed: No GPU adapter found\n"] * 2,
        f"shimmy::anthropic_compat: {failed}\n",
        f"shimmy::api: {failed}: Airframe GPU load failed: No GPU adapter found "
        "(Issue #106 Windows debugging)\n",
    ]
