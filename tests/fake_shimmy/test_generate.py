"""``POST /api/generate``. Expected bytes: real 2.5.0 CPU-only."""

from __future__ import annotations

import json

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import TOY_MODEL, Answer, drained
from tests.support.websocket_client import frame, said

PATH = "/api/generate"
PREFIX = "Failed to deserialize the JSON body into the target type: "


def ask(server, request, version: str = "HTTP/1.1") -> Answer:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    head = f"POST {PATH} {version}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return Answer(server.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body))


def test_one_body_where_streaming_is_declined(served):
    answer = ask(served, {"model": "tiny", "prompt": "Hi", "stream": False, "max_tokens": 2})
    assert answer.status == 200
    assert ("content-type", "application/json") in answer.headers
    assert answer.body == b'{"response":"SafeTensors model"}'


@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": None}])
def test_bare_tokens_as_events_are_the_default(served, stream):
    answer = ask(served, {"model": "tiny", "prompt": "Hi", "max_tokens": 2} | stream)
    assert ("content-type", "text/event-stream") in answer.headers
    assert answer.body == b"data: SafeTensors \n\ndata: model \n\ndata: [DONE]\n\n"


def test_each_event_is_a_chunk(served):
    raw = ask(served, {"model": "tiny", "max_tokens": 1}).raw
    assert raw.partition(b"\r\n\r\n")[2] == (
        b"14\r\ndata: SafeTensors \n\n\r\nE\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    )


def test_no_tokens_are_a_stream_too(served):
    assert ask(served, {"model": "tiny", "max_tokens": 0}).body == b"data: [DONE]\n\n"


def test_http_1_0_streams_until_the_end_even_if_kept_alive(served):
    body = b'{"model":"tiny","max_tokens":1}'
    head = f"POST {PATH} HTTP/1.0\r\ncontent-type: application/json\r\nconnection: keep-alive\r\n"
    raw = served.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    assert raw.endswith(b"\r\n\r\ndata: SafeTensors \n\ndata: [DONE]\n\n")


@pytest.mark.parametrize(
    ("request_", "prompt"),
    [
        ({}, ""),
        ({"prompt": None}, ""),
        ({"prompt": "raw <|x|>", "system": "unseen"}, "raw <|x|>"),
        ({"messages": [], "prompt": "unseen", "system": "S"}, "<|im_start|>system\nS<|im_end|>\n"),
        (
            {"messages": [{"role": "user", "content": "u"}, {"role": "x", "content": "y"}]},
            "<|im_start|>user\nu<|im_end|>\n<|im_start|>x\ny<|im_end|>\n",
        ),
    ],
)
def test_the_prompt(served, request_, prompt):
    answer = ask(served, {"model": "tiny", "stream": False} | request_)
    text = json.loads(answer.body)["response"]
    assert f"Input prompt: '{prompt}' (length: {len(prompt)})" in text


@pytest.mark.parametrize(
    ("arguments", "name", "prompt"),
    [
        (
            (),
            "llama-3",
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\nu<|eot_id|>",
        ),
        # A model given by its path has no template, whatever its name.
        (("--model-path", "other/Qwen.safetensors"), "Qwen", "user: u\nassistant: "),
    ],
)
def test_the_template_is_that_of_the_model(shimmy, arguments, name, prompt):
    for path in ("models/llama-3.safetensors", "other/Qwen.safetensors"):
        file = shimmy.cwd / path
        file.parent.mkdir()
        file.write_bytes(TOY_MODEL)
    request = {"model": name, "system": "S", "messages": [{"role": "user", "content": "u"}]}
    with shimmy.serve(*arguments) as running:
        answer = ask(running, request | {"stream": False})
    assert f"Input prompt: '{prompt}' (" in json.loads(answer.body)["response"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "Failed to parse the request body as JSON: EOF while parsing a value"),
        (b"[]", 422, f"{PREFIX}invalid length 0, expected struct GenerateRequest with 9 elements"),
        (b'["m"]', 422, f"{PREFIX}invalid length 1, expected struct GenerateRequest with"),
        (b'{"model":"m","model":"m"}', 422, f"{PREFIX}duplicate field `model` at line 1 column"),
        (
            b'{"model":"m","top_k":2147483648}',
            422,
            f"{PREFIX}top_k: invalid value: integer `2147483648`, expected i32 at line 1",
        ),
        (
            b'{"model":"m","messages":[{"role":"u","content":[]}]}',
            422,
            f"{PREFIX}messages[0].content: invalid type: sequence, expected a string at line 1",
        ),
        (
            b'{"":[}',
            400,
            "Failed to parse the request body as JSON: : expected value at line 1 column 6",
        ),
    ],
)
def test_what_the_body_reader_rejects(served, body, status, text):
    answer = ask(served, body)
    assert (answer.status, answer.body.decode()[: len(text)]) == (status, text)


def test_failures_are_bare_answers_and_log_lines(shimmy):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "x.gguf").write_bytes(tiny_gguf.contents())
    with shimmy.serve() as running, drained(running) as log:
        answers = [ask(running, {"model": name}) for name in ("nope", "x")]
    assert [(answer.status, answer.body) for answer in answers] == [(404, b""), (502, b"")]
    errors = [line.decode().split(" ERROR ")[1] for line in log if b" ERROR " in line]
    assert errors == [
        "shimmy::api: Model 'nope' not found in registry\n",
        "shimmy::api: Failed to load model 'x': GGUF models require the Airframe GPU engine. "
        "Use shimmy_server_gpu or build with --features airframe. See "
        "https://github.com/Michael-A-Kuykendall/shimmy for setup. "
        "(Issue #106 Windows debugging)\n",
    ]


def test_a_model_that_makes_the_loader_panic_costs_the_connection(shimmy):
    # The loader looks for two numbers in an embedding's shape.
    header = b'{"embed_tokens.weight":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "x.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(4)
    )
    body = b'{"model":"x"}'
    head = b"POST /api/generate HTTP/1.1\r\ncontent-type: application/json\r\n"
    with shimmy.serve() as running:
        for _ in range(2):
            assert running.send(head + b"content-length: %d\r\n\r\n%b" % (len(body), body)) == b""
        assert said(running, frame(body)) == []
        assert running.request("GET", "/health").status == 200
        running.process.kill()
        stderr = running.process.stderr
        assert stderr is not None
        report = stderr.read().decode()
    place = "shimmy-2.5.0/src/engine/safetensors_native.rs:376:13:"
    assert report.count(f" panicked at {place}\nindex out of bounds: the len is 0 but") == 3
    assert report.count("note: run with `RUST_BACKTRACE=1`") == 1
