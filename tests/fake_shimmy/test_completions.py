"""``/v1/completions``, ``/v1/messages`` and the placeholders. Expected: real 2.5.0 CPU-only."""

from __future__ import annotations

import json
import re

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import Answer, drained, neutral

COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"
INVALID = '"type":"invalid_request_error"}}'


def post(server, path: str, request) -> Answer:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return server.request("POST", path, body, content_type="application/json")


@pytest.mark.parametrize("stream", [None, True, False])
def test_a_completion_is_one_body_whatever_is_asked_for(served, stream):
    request = {"model": "tiny", "prompt": "a  b", "max_tokens": 3, "stream": stream}
    answer = post(served, COMPLETIONS, request)
    assert neutral(answer.body) == (
        b'{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"text":'
        b'"SafeTensors model \'tiny\'"}],"created":0,"id":"cmpl-I","model":"tiny",'
        b'"object":"text_completion","usage":{"completion_tokens":3,"prompt_tokens":2,'
        b'"total_tokens":5}}'
    )


def test_a_completion_has_no_template(served):
    answer = post(served, COMPLETIONS, {"model": "tiny", "prompt": "<|x|>\n"})
    text = json.loads(answer.body)["choices"][0]["text"]
    assert "Input prompt: '<|x|>\n' (length: 6)" in text


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (
            {"model": "nope", "prompt": " \n\u3000", "max_tokens": 0},
            400,
            '{"error":{"code":"invalid_prompt","message":"prompt must not be empty","param":'
            '"prompt",',
        ),
        (
            {"model": "nope", "prompt": "\x1c", "max_tokens": 131073},
            400,
            '{"error":{"code":"invalid_max_tokens","message":"max_tokens must be between 1 and'
            ' 131072","param":"max_tokens",',
        ),
        (
            {"model": 'n"', "prompt": "x"},
            404,
            '{"error":{"code":"model_not_found","message":"Model \'n\\"\' not found","param":'
            '"model",',
        ),
    ],
)
def test_what_completions_refuse(served, request_, status, error):
    answer = post(served, COMPLETIONS, request_)
    assert (answer.status, answer.body.decode()) == (status, error + INVALID)


def test_a_message_byte_for_byte(served):
    request = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    answer = post(served, MESSAGES, request | {"stream": True})
    assert neutral(answer.body) == (
        b'{"id":"msg_I","type":"message","role":"assistant","content":[{"type":"text","text":'
        b'"SafeTensors model"}],"model":"tiny","stop_reason":"end_turn","stop_sequence":null,'
        b'"usage":{"input_tokens":6,"output_tokens":5}}'
    )
    ident = json.loads(answer.body)["id"]
    assert re.fullmatch(r"msg_[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", ident)


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([], ""),
        ([("user", "u1"), ("user", "u2")], "Human: u1\nAssistant: Human: u2\nAssistant: "),
        (
            [("user", "u1"), ("assistant", "a1"), ("assistant", "a2"), ("user", "u2")],
            "Human: u1\nAssistant: a1\nHuman: u2\nAssistant: ",
        ),
        ([("system", "S"), ("system", "T"), ("user", "u")], "System: S\n\nHuman: u\nAssistant: "),
        (
            [
                (
                    "user",
                    [
                        {"type": "text", "text": "a"},
                        {"type": "text"},
                        {
                            "type": "image",
                            "text": "unseen",
                            "source": {"type": "base64", "media_type": "m", "data": "d"},
                        },
                        ["text", "b", None],
                    ],
                )
            ],
            "Human: a\n[image content]\nb\nAssistant: ",
        ),
    ],
)
def test_how_messages_become_a_prompt(served, messages, prompt):
    told = [{"role": role, "content": content} for role, content in messages]
    request = {"model": "tiny", "messages": told, "max_tokens": 99}
    text = json.loads(post(served, MESSAGES, request).body)["content"][0]["text"]
    assert f"Input prompt: '{prompt}' (length: {len(prompt)})" in text


def test_the_first_message_wins_over_the_system_field(served):
    request = {"model": "tiny", "system": "F", "max_tokens": 99}
    for messages, system in (([], "F"), ([{"role": "system", "content": "M"}], "M")):
        answer = post(served, MESSAGES, request | {"messages": messages})
        assert f"'System: {system}\n\n'" in json.loads(answer.body)["content"][0]["text"]


def test_no_tokens_may_be_asked_for(served):
    answer = post(served, MESSAGES, {"model": "tiny", "messages": [], "max_tokens": 0})
    assert json.loads(answer.body)["content"] == [{"type": "text", "text": ""}]


@pytest.mark.parametrize(
    "content",
    [
        None,
        1,
        [1],
        [{"text": "x"}],
        [{"type": "text", "text": 1}],
        [["text", "two fields"]],
        [{"type": "image", "source": {"type": "base64", "data": "no media type"}}],
        [{"type": "image", "source": ["a", "b"]}],
    ],
)
def test_content_that_is_none(served, content):
    request = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    answer = post(served, MESSAGES, request)
    assert answer.status == 422
    assert answer.body.startswith(
        b"Failed to deserialize the JSON body into the target type: messages[0].content: data did "
        b"not match any variant of untagged enum AnthropicContent at line 1 column "
    )


def test_failures_are_log_lines(shimmy):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "x.gguf").write_bytes(tiny_gguf.contents())
    requests = [
        (COMPLETIONS, {"model": "x", "prompt": "p"}),
        (MESSAGES, {"model": "x", "messages": [], "max_tokens": 1}),
        (MESSAGES, {"model": "nope", "messages": [], "max_tokens": 1}),
    ]
    with shimmy.serve() as running, drained(running) as log:
        answers = [post(running, *request) for request in requests]
    assert [(a.status, a.body) for a in answers] == [(502, b""), (500, b""), (404, b"")]
    errors = [line.decode().split(" ERROR ")[1] for line in log if b" ERROR " in line]
    assert errors[0].startswith("shimmy::openai_compat: Failed to load model 'x': GGUF models ")
    assert errors[1:] == [
        "shimmy::anthropic_compat: Failed to load model 'x'\n",
        "shimmy::anthropic_compat: Model 'nope' not found in registry\n",
    ]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/tools/a%22b/execute", b'{"error":"Tool a\\"b not available"}'),
        ("/api/tools//execute", b'{"error":"Tool  not available"}'),
        (
            "/api/workflows/execute",
            b'{"message":"Workflow execution not yet implemented","status":"pending"}',
        ),
    ],
)
@pytest.mark.parametrize("body", [b"null", b'{"a":1,"a":2} and more', b"[1.5e3]"])
def test_placeholders_take_any_json(served, path, answer, body):
    assert post(served, path, body).body == answer


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/tools/%ff/execute", b"", 400, "Invalid URL: Invalid UTF-8 in `name`"),
        ("/api/workflows/execute", b'{"a":{"":[x]}}', 400, "a.[0]: expected value at line 1"),
        ("/api/workflows/execute", b'{"":x}', 400, ": expected value at line 1 column 5"),
        ("/api/workflows/execute", b'{"?":x}', 400, "?: expected value at line 1 column 6"),
        ("/api/workflows/execute", b"1e400", 400, "number out of range at line 1 column 5"),
        (
            "/api/workflows/execute",
            b"[" * 128,
            400,
            "recursion limit exceeded at line 1 column 128",
        ),
    ],
)
def test_what_placeholders_reject(served, path, body, status, text):
    answer = post(served, path, body)
    assert answer.status == status
    assert text in answer.body.decode()
