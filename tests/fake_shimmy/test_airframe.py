"""The default build's engine: which files it takes, how it counts, what is too long for it.

Every expectation was seen on the real 2.6.5, default build, with Mesa's software renderer.
"""

from __future__ import annotations

import json
import struct

import pytest

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import Answer

WHOLE = tiny_gguf.contents()
EOF_ERROR = (
    "called `Result::unwrap()` on an `Err` value: "
    'Error { kind: UnexpectedEof, message: "failed to fill whole buffer" }'
)
METADATA = "airframe-0.4.4/src/backend/bindless/metadata.rs"


@pytest.fixture
def fake(make_shimmy):
    fake = make_shimmy("default", release="2.6.5")
    (fake.cwd / "models").mkdir()
    (fake.cwd / "models" / "tiny.gguf").write_bytes(WHOLE)
    return fake


def ask(running, path: str, **body: object) -> Answer:
    raw = json.dumps({"model": "tiny", **body}).encode()
    return running.request("POST", path, raw, content_type="application/json")


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"", f"{METADATA}:48:39", EOF_ERROR),
        (b"GGUF", f"{METADATA}:692:28", EOF_ERROR),
        (WHOLE[:12], f"{METADATA}:698:28", EOF_ERROR),
        (WHOLE[:40], f"{METADATA}:705:28", EOF_ERROR),
        (
            b"\2\0\0\0\0\0\0\0{}",
            f"{METADATA}:49:9",
            "assertion `left == right` failed: Invalid Magic\n"
            "  left: [2, 0, 0, 0]\n right: [71, 71, 85, 70]",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
            "airframe-0.4.4/src/core/spec.rs:333:29",
            "Missing embedding_length in GGUF metadata",
        ),
    ],
)
def test_a_file_that_is_no_whole_header_is_a_panic(fake, content, place, reason):
    (fake.cwd / "models" / "cut.gguf").write_bytes(content)
    for command in (["probe", "cut"], ["generate", "cut", "--prompt", "x"], ["bench", "cut"]):
        status, _, err = fake.run(*command)
        assert status == 101
        assert f" panicked at {place}:\n{reason}\n" in err
    assert fake.run("list", "-s")[0] == 0


def test_over_http_the_connection_is_closed_and_the_server_lives_on(fake):
    (fake.cwd / "models" / "cut.gguf").write_bytes(b"GGUF")
    body = b'{"model":"cut","messages":[{"role":"user","content":"x"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with fake.serve() as running:
        assert running.send(head + b"content-length: %d\r\n\r\n" % len(body) + body) == b""
        assert running.request("GET", "/v1/models").status == 200
        assert ask(running, "/v1/completions", prompt="Hi").status == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            WHOLE[:4] + b"\x09\0\0\0" + WHOLE[8:],
            "Invalid GGUF metadata: Unsupported GGUF version: 9 (only versions 2-3 are supported)",
        ),
        (
            WHOLE.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"),
            "Invalid GGUF metadata: Missing tokenizer.ggml.tokens",
        ),
        (WHOLE[:60000], "Fixture error: Q8_0 tensor data extends beyond file"),
    ],
)
def test_other_trouble_with_a_file_is_an_ordinary_error(fake, content, reason):
    (fake.cwd / "models" / "bad.gguf").write_bytes(content)
    status, _, err = fake.run("probe", "bad")
    assert status == 2
    assert err.endswith(f"probe failed: Airframe GPU load failed: {reason}\n")


def test_prompts_are_counted_in_the_models_own_tokens(fake):
    with fake.serve() as running:
        answer = ask(running, "/api/generate", prompt="x" * 10, raw_prompt=True, stream=False)
        told = json.loads(answer.body)
        # The beginning, the space before the text, ten letters.
        assert told["usage"]["prompt_tokens"] == 12
        assert told["finish_reason"] == "stop"
        # "Reply", a number, "to:", the prompt, and the end.
        assert told["usage"]["completion_tokens"] == 5
        short = ask(
            running, "/api/generate", prompt="x", raw_prompt=True, stream=False, max_tokens=2
        )
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert json.loads(short.body)["usage"] == usage
    assert json.loads(short.body)["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("prompt", "tokens"), [(" ab", 2), ("q ab", 4), ("q abab", 6), ("a b ab", 5), ("q Ġab", 5)]
)
def test_a_space_is_merged_with_what_follows_however_the_vocabulary_writes_it(fake, prompt, tokens):
    # "Ġ", "Ġa" and "Ġab" are tokens, "a" and "b" alone as well.
    model = tiny_gguf.contents({"Ġab": ("x",)}, is_spelled=True)
    (fake.cwd / "models" / "spaced.gguf").write_bytes(model)
    with fake.serve() as running:
        answer = ask(
            running, "/api/generate", model="spaced", prompt=prompt, raw_prompt=True, stream=False
        )
    assert json.loads(answer.body)["usage"]["prompt_tokens"] == tokens


@pytest.mark.parametrize(("letters", "fits"), [(491, True), (492, False), (5000, False)])
def test_a_prompt_of_about_490_tokens_is_the_longest(fake, letters, fits):
    with fake.serve() as running:
        answer = ask(
            running,
            "/api/generate",
            prompt="x" * letters,
            raw_prompt=True,
            stream=False,
            max_tokens=1,
        )
        assert answer.status == (200 if fits else 502)
        streamed = ask(
            running,
            "/v1/chat/completions",
            messages=[{"role": "user", "content": "x" * letters}],
            stream=True,
        ).body
    told = b'data: {"error":{"code":"generation_failed","message":"Generation failed"'
    # A conversation is more than its text.
    assert told in streamed
    assert streamed.endswith(b"data: [DONE]\n\n")


def test_no_token_may_be_asked_for(fake):
    with fake.serve() as running:
        answer = ask(running, "/api/generate", prompt="Hi", stream=False, max_tokens=0)
    told = json.loads(answer.body)
    assert (told["response"], told["finish_reason"]) == ("", "length")


def test_each_lookup_prints_what_the_header_says(fake):
    status, out, _ = fake.run("probe", "tiny")
    assert status == 0
    # At the lookup, for the model's numbers, and by the loader.
    assert out.count("[Metadata] Scanning 21 KV pairs...\n") == 3
    assert "[Metadata] llama.attention.layer_norm_rms_epsilon = 0.000001\n" in out
    assert "[Metadata] Found token_embd.weight: Type=8 Dims=[128, 319] Offset=0\n" in out


def test_legacy_gives_gguf_to_the_same_engine_and_safetensors_to_nobody(fake):
    (fake.cwd / "models" / "toy.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    assert fake.run("probe", "tiny", "--legacy")[0] == 0
    assert fake.run("probe", "toy", "--legacy")[0] == 101


TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}|{{ message.content }}]{% endfor %}"
    "{% if add_generation_prompt %}[GO]{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "name", "tokens"),
    [
        # The beginning, a space, and the letters of "[user|count][GO]".
        (TEMPLATE, "plain", 18),
        # A line end and "/nothink" besides.
        (TEMPLATE, "qwen", 27),
        ("{{ raise_exception('no') }}", "plain", 1),
        (None, "plain", 1 + 1 + len("<|im_start|>user\ncount<|im_end|>\n<|im_start|>assistant\n")),
        (
            "{{ }}",
            "plain",
            1 + 1 + len("<|im_start|>user\ncount<|im_end|>\n<|im_start|>assistant\n"),
        ),
    ],
)
def test_a_models_own_template_makes_the_prompt(fake, template, name, tokens):
    # No word of an answer is a token of its own here, or the letters would not be counted.
    model = tiny_gguf.contents({}, template=template)
    (fake.cwd / "models" / f"{name}.gguf").write_bytes(model)
    with fake.serve() as running:
        answer = ask(running, "/api/generate", model=name, prompt="count", stream=False)
    assert json.loads(answer.body)["usage"]["prompt_tokens"] == tokens
