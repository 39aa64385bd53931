"""``POST /v1/chat/completions``: bodies, streams and rejections. Expected bytes: real 2.5.0."""

from __future__ import annotations

import json

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import TOY_MODEL, drained, neutral

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; charset=utf-8")
USER = b'"messages":[{"role":"user","content":"Hi"}]'
PROMPT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
TOY_TEXT = (
    "SafeTensors model 'tiny' loaded successfully with 32 layers and vocab size 32000 using "
    f"in-memory loading. Input prompt: '{PROMPT}' (length: 52). This demonstrates native "
    "SafeTensors support in Rust with optimized memory handling. Full transformer inference "
    "coming soon!"
)


def body(model: str = "tiny", **fields: object) -> bytes:
    messages = [{"role": "user", "content": "Hi"}]
    return json.dumps({"model": model, "messages": messages, "stream": False} | fields).encode()


def content(answer) -> str:
    assert answer.status == 200, answer.raw
    return json.loads(answer.body)["choices"][0]["message"]["content"]


def test_one_body_where_streaming_is_declined(served):
    answer = served.chat(body(max_tokens=3))
    assert (answer.status, answer.headers[0]) == (200, JSON)
    assert neutral(answer.body) == (
        b'{"id":"chatcmpl-I","object":"chat.completion","created":0,"model":"tiny","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"SafeTensors model \'tiny\'"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,'
        b'"total_tokens":0}}'
    )


@pytest.mark.parametrize("stream", [b"", b'"stream":null,', b'"stream":true,'])
def test_streaming_is_the_default(served, stream):
    answer = served.chat(b'{"model":"tiny",' + stream + USER + b',"max_tokens":2}')
    chunk = (
        b'data: {"id":"chatcmpl-I","object":"chat.completion.chunk","created":0,"model":"tiny",'
        b'"choices":[{"index":0,"delta":{"content":%b,"role":%b},"finish_reason":%b}]}\n\n'
    )
    assert neutral(answer.body) == b"".join(
        (
            chunk % (b"null", b'"assistant"', b"null"),
            chunk % (b'"SafeTensors "', b"null", b"null"),
            chunk % (b'"model "', b"null", b"null"),
            chunk % (b"null", b"null", b'"stop"'),
            b"data: [DONE]\n\n",
        )
    )


def test_the_head_of_a_stream(served):
    answer = served.chat(b'{"model":"tiny",' + USER + b',"max_tokens":1}')
    assert answer.headers[:-1] == [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-headers", "Content-Type, Authorization"),
        ("access-control-max-age", "86400"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
    ]
    assert b"\r\n\r\nD8\r\ndata: {" in answer.raw
    assert answer.raw.endswith(b"E\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def test_the_toy_engine_shows_the_prompt(served):
    assert content(served.chat(body())) == TOY_TEXT


def test_a_cut_text_loses_its_line_breaks(served):
    assert content(served.chat(body(max_tokens=19))).endswith(" '<|im_start|>user Hi<|im_end|>")


def test_the_toy_engine_reads_the_files_beside_the_model(shimmy):
    models = shimmy.cwd / "models"
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(TOY_MODEL)
    (models / "config.json").write_text('{"vocab_size":7,"num_hidden_layers":2}')
    with shimmy.serve() as running:
        assert " with 2 layers and vocab size 7 using " in content(running.chat(body()))
        (models / "tiny.safetensors").write_bytes(b"rubbish, and long enough")
        assert running.chat(body()).status == 502


def messages(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in pairs]


@pytest.mark.parametrize(
    ("conversation", "prompt"),
    [
        (
            messages(("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2")),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n"
            "<|im_start|>assistant\na1<|im_end|>\n<|im_start|>user\nu2<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (
            messages(("user", "u1"), ("assistant", "a1")),
            "<|im_start|>user\nu1<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        (messages(("system", "S")), "<|im_start|>system\nS<|im_end|>\n"),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image"},
                        {"type": "text", "text": "b"},
                    ],
                }
            ],
            "<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
    ids=["all roles", "ends with assistant", "no user", "parts"],
)
def test_how_a_conversation_is_rendered(served, conversation, prompt):
    text = content(served.chat(body(messages=conversation, max_tokens=9999)))
    assert f"Input prompt: '{prompt}' (length: {len(prompt)})" in text


@pytest.mark.parametrize(
    ("file", "prompt"),
    [
        (
            "Llama-3-x",
            "<|start_header_id|>user<|end_header_id|>\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n",
        ),
        ("TinyLlama", PROMPT),
    ],
)
def test_the_template_of_a_discovered_model_comes_from_its_name(shimmy, file, prompt):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / f"{file}.safetensors").write_bytes(TOY_MODEL)
    with shimmy.serve() as running:
        assert f"prompt: '{prompt}'" in content(running.chat(body(file.lower(), max_tokens=999)))


def test_a_model_given_by_path_keeps_its_case_and_has_the_plain_template(shimmy):
    (shimmy.cwd / "My_Model.safetensors").write_bytes(TOY_MODEL)
    with shimmy.serve("--model-path", "My_Model.safetensors") as running:
        text = content(running.chat(body("My_Model")))
    assert "prompt: 'user: Hi\nassistant: '" in text


REFUSALS = {
    b'{"model":"x","messages":[]}': (
        400,
        JSON,
        b'{"error":{"code":"invalid_messages","message":"messages must not be empty",'
        b'"param":"messages","type":"invalid_request_error"}}',
    ),
    b'{"model":"x",' + USER + b',"max_tokens":0}': (
        400,
        JSON,
        b'{"error":{"code":"invalid_max_tokens","message":"max_tokens must be between 1 and '
        b'131072","param":"max_tokens","type":"invalid_request_error"}}',
    ),
    b'{"model":"n\\"o\\u0000",' + USER + b"}": (
        404,
        JSON,
        b'{"error":{"code":"model_not_found","message":"Model \'n\\"o\\u0000\' not found. '
        b'Available models: [\\"base-7b\\", \\"tiny\\"]","param":"model",'
        b'"type":"invalid_request_error"}}',
    ),
}
SYNTAX = b"Failed to parse the request body as JSON: "
SHAPE = b"Failed to deserialize the JSON body into the target type: "
REJECTIONS = {
    b"": (400, SYNTAX + b"EOF while parsing a value at line 1 column 0"),
    b"{": (400, SYNTAX + b"EOF while parsing an object at line 1 column 1"),
    b'{"model":tru}': (400, SYNTAX + b"model: expected ident at line 1 column 13"),
    b'{\n "model": "x",}': (400, SYNTAX + b"trailing comma at line 2 column 15"),
    b'{"model":"\xff"}': (
        400,
        SYNTAX + b"model: invalid unicode code point at line 1 column 12",
    ),
    b'{"model":"\\ud800"}': (
        400,
        SYNTAX + b"model: unexpected end of hex escape at line 1 column 17",
    ),
    b"[]": (
        422,
        SHAPE + b"invalid length 0, expected struct ChatCompletionRequest with 9 elements "
        b"at line 1 column 2",
    ),
    b'{"messages":[]}': (422, SHAPE + b"missing field `model` at line 1 column 15"),
    b'{"model":"a","model":"b"}': (422, SHAPE + b"duplicate field `model` at line 1 column 20"),
    b'{"model":1e16}': (
        422,
        SHAPE + b"model: invalid type: floating point `1e+16`, expected a string "
        b"at line 1 column 13",
    ),
    b'{"model":"m","max_tokens":-1}': (
        422,
        SHAPE + b"max_tokens: invalid value: integer `-1`, expected usize at line 1 column 28",
    ),
    b'{"model":"m","messages":[{"role":"user","content":null}]}': (
        422,
        SHAPE + b"messages[0].content: data did not match any variant of untagged enum "
        b"MessageContent at line 1 column 55",
    ),
    b'{"stop":{}}': (
        422,
        SHAPE + b"stop: data did not match any variant of untagged enum StopTokens "
        b"at line 1 column 11",
    ),
}


@pytest.mark.parametrize("sent", REFUSALS)
def test_what_the_application_refuses(served, sent):
    answer = served.chat(sent)
    assert (answer.status, answer.headers[0], answer.body) == REFUSALS[sent]


@pytest.mark.parametrize("sent", REJECTIONS)
def test_what_the_body_reader_rejects(served, sent):
    answer = served.request("POST", "/v1/chat/completions", sent, content_type="application/json")
    assert (answer.status, answer.body) == REJECTIONS[sent]
    assert answer.headers[0] == TEXT


def test_anything_after_the_object_is_accepted(served):
    assert served.chat(body(max_tokens=1) + b" trailing \xff").status == 200


def test_a_request_may_be_a_sequence(served):
    answer = served.chat(b'["tiny",[["user","Hi"]],false,null,1]')
    assert content(answer) == "SafeTensors"


def test_messages_are_checked_before_the_model_and_max_tokens_after_them(served):
    assert b"invalid_messages" in served.chat(b'{"model":"n","messages":[],"max_tokens":0}').body
    assert b"invalid_max_tokens" in served.chat(b'{"model":"n",' + USER + b',"max_tokens":0}').body


def test_a_model_that_does_not_load_is_a_bare_502_and_a_log_line(shimmy):
    (shimmy.cwd / "models").mkdir()
    (shimmy.cwd / "models" / "m.gguf").write_bytes(tiny_gguf.contents())
    with shimmy.serve() as running, drained(running) as lines:
        answer = running.chat(b'{"model":"m",' + USER + b"}")
        assert (answer.status, answer.body) == (502, b"")
        assert "content-type" not in dict(answer.headers)
    stamp, _, rest = lines[-1].decode().partition(" ")
    assert len(stamp) == len("2026-11-22T16:05:15.004088Z")
    assert rest.startswith(
        "ERROR shimmy::openai_compat: Failed to load model 'm': GGUF models require the "
    )


class TestDefaultBuild:
    """Ours: a real one needs a GPU, and says what its model says."""

    @pytest.fixture
    def serving(self, make_shimmy):
        fake = make_shimmy("default")
        (fake.cwd / "models").mkdir()
        (fake.cwd / "models" / "m.gguf").write_bytes(tiny_gguf.contents())
        (fake.cwd / "models" / "n.gguf").write_bytes(b"not a model")
        return fake.serve

    def test_replies_repeat_and_differ_by_prompt(self, serving):
        with serving() as running:
            first, again = (content(running.chat(body("m"))) for _ in range(2))
            other = content(running.chat(body("m", messages=[{"role": "user", "content": "Bye"}])))
        assert first == again != other
        assert first.endswith(" to: Hi")

    def test_a_stream_adds_up_to_the_body_and_max_tokens_cuts_both(self, serving):
        with serving() as running:
            whole = content(running.chat(body("m", max_tokens=3)))
            streamed = running.chat(body("m", max_tokens=3, stream=True)).body
        events = [json.loads(line[6:]) for line in streamed.split(b"\n\n")[:-2]]
        tokens = [event["choices"][0]["delta"]["content"] for event in events]
        assert tokens[0] is None
        assert tokens[-1] is None
        assert len(tokens) == 5
        assert "".join(tokens[1:-1]) == whole

    def test_another_file_than_gguf_does_not_load_first(self, serving):
        with serving() as running:
            assert running.chat(body("n")).status == 502

    def test_the_first_loaded_model_answers_for_all(self, serving):
        with serving() as running:
            assert running.chat(body("m")).status == 200
            assert running.chat(body("n")).status == 200

    def test_without_an_adapter_nothing_loads(self, serving):
        with serving(FAKE_SHIMMY_GPU="none") as running, drained(running) as lines:
            assert running.chat(body("m")).status == 502
        assert lines[-1].endswith(
            b"Failed to load model 'm': Airframe GPU load failed: No GPU adapter found\n"
        )

    def test_legacy_is_the_toy_engine(self, serving):
        with serving("--legacy") as running:
            assert running.chat(body("m")).status == 502
