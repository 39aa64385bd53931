"""The default build of 1.8.1, which has llama.cpp. Expected: real 1.8.1."""

from __future__ import annotations

import json
import struct

import pytest

from tests.support.fake_process import TOY_MODEL, drained, neutral

ARCHITECTURE = struct.pack("<Q20sIQ5s", 20, b"general.architecture", 8, 5, b"llama")
LOADABLE = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + ARCHITECTURE
"""A header that names an architecture: no model to llama.cpp, but all that the fake looks at."""

TENSOR = struct.pack("<Q1sIQIQ", 1, b"t", 1, 32, 0, 0)
LOADING = "llama_model_load: error loading model: "
FROM_FILE = LOADING + "llama_model_loader: failed to load model from ./models/some.gguf\n"
END = "llama_model_load_from_file_impl: failed to load model\n"
ON_THE_CPU = (
    "load_tensors: layer   0 assigned to device CPU, is_swa = 0\n"
    "load_tensors: layer   1 assigned to device CPU, is_swa = 0\n"
    "load_tensors:   CPU_Mapped model buffer size =     0.00 MiB\n"
    "llama_kv_cache: layer   0: dev = CPU\n"
)
REFUSED = "null result from llama cpp"
PHANTOM = '📋 Registered Models:\n  phi3-lora => "./models/phi3-mini.gguf"\n'


@pytest.fixture
def older(make_shimmy):
    fake = make_shimmy(release="1.8.1")
    (fake.cwd / "models").mkdir()
    return fake


def put(fake, **files):
    for stem, content in files.items():
        (fake.cwd / "models" / f"{stem}.gguf").write_bytes(content)


def chat(running, **more):
    request = {"model": "some", "messages": [{"role": "user", "content": "good day"}]} | more
    return running.chat(json.dumps(request).encode())


def test_a_phantom_model_is_always_registered(older):
    assert older.run("list") == (0, f"{PHANTOM}\n✅ Total available models: 1\n", "")
    assert older.run("list", "-s", SHIMMY_BASE_GGUF="x/y.gguf")[1] == "phi3-lora\n"
    shown = older.run("list", SHIMMY_BASE_GGUF="x/y.gguf")[1]
    assert '  phi3-lora => "x/y.gguf"\n' in shown


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        ([], ["🔧 Backend: CPU (no GPU acceleration)"]),
        (["--gpu-backend", "cpu"], ["🔧 Backend: CPU only"]),
        (["--gpu-backend", "cuda"], ["🔧 Backend: CUDA (GPU acceleration)"]),
        (["--gpu-backend", "CUDA"], ["🔧 Backend: CUDA (custom)"]),
        (
            ["--n-cpu-moe", "3"],
            [
                "🔧 Backend: CPU (no GPU acceleration)",
                "🧠 MoE: CPU offload first 3 layers (saves VRAM for large MoE models)",
            ],
        ),
        (
            ["--cpu-moe"],
            [
                "🔧 Backend: CPU (no GPU acceleration)",
                "🧠 MoE: CPU offload ALL expert tensors (saves ~80-85% VRAM)",
            ],
        ),
    ],
)
def test_banner(older, flags, lines):
    status, out, err = older.run(*flags, "serve", "--bind", "192.0.2.1:1")
    assert (status, err) == (1, "Error: Cannot assign requested address (os error 99)\n")
    assert out.splitlines()[:-5] == [
        "🎯 Shimmy v1.8.1",
        *lines,
        "📦 Models: 0 available",
        "🚀 Starting server on 192.0.2.1:1",
    ]


@pytest.mark.slow
def test_options_of_later_releases_are_not_there(older):
    for option in ("--legacy", "--kv-quant=int4", "--ctx=5", "--prefill-chunk=1"):
        status, out, err = older.run("list", option)
        name = option.partition("=")[0]
        assert (status, out) == (2, "")
        assert err.startswith(f"error: unexpected argument '{name}' found\n")
    assert "--grammar-mode" not in older.run("generate", "--help")[1]


def test_what_the_choice_of_a_backend_logs(older):
    out = older.run("--gpu-backend", "Vulkan", "gpu-info", RUST_LOG="info")[1]
    lines = [line.partition("Z ")[2] for line in out.splitlines() if "Z " in line]
    once = [
        " WARN shimmy::engine::llama: Vulkan backend requested but not enabled at compile time. "
        "Rebuild with --features llama-vulkan",
        " INFO shimmy::engine::llama: No GPU acceleration available, using CPU backend",
        " INFO shimmy::engine::llama: GPU backend configured: Cpu",
    ]
    assert lines == once * 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "gguf_init_from_file_impl: failed to read magic\n" + FROM_FILE + END),
        (b"GGUF", "gguf_init_from_file_impl: failed to read header\n" + FROM_FILE + END),
        (
            b"nonsense",
            "gguf_init_from_file_impl: invalid magic characters: 'nons', expected 'GGUF'\n"
            + FROM_FILE
            + END,
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
            "gguf_init_from_file_impl: GGUFv1 is no longer supported, "
            "please use a more up-to-date version\n"
            "gguf_init_from_file_impl: failed to read header\n" + FROM_FILE + END,
        ),
        (
            LOADABLE[:-1],
            "gguf_init_from_file_impl: failed to read key-value pairs\n" + FROM_FILE + END,
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + TENSOR,
            f"{LOADING}tensor 't' data is not within the file bounds, "
            "model is corrupted or incomplete\n" + END,
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
            f"{LOADING}error loading model architecture: unknown model architecture: ''\n" + END,
        ),
    ],
)
def test_files_that_do_not_load(older, content, told):
    put(older, some=content)
    assert older.run("probe", "some") == (2, "", f"{told}probe failed: {REFUSED}\n")
    with older.serve() as running, drained(running) as log:
        assert (chat(running).status, chat(running).body) == (502, b"")
    line = f"ERROR shimmy::openai_compat: Failed to load model 'some': {REFUSED}\n"
    assert [line.partition(b"Z ")[2].decode() for line in log if b"Z " in line] == [line] * 2


def test_a_file_that_loads_gives_the_default_reply(older):
    put(older, some=LOADABLE)
    assert older.run("probe", "some") == (0, "ok: loaded some\n", ON_THE_CPU)
    assert older.run("generate", "some", "--prompt", "a b")[1].endswith(" to: a b\n")
    with older.serve() as running:
        answer = chat(running, stream=False)
    said = json.loads(answer.body)["choices"][0]["message"]["content"]
    assert said.endswith(" to: good day")


def test_a_lora_that_is_none_spoils_its_model(older):
    put(older, some=LOADABLE, **{"some-lora": b""})
    status, _, err = older.run("probe", "some")
    assert (status, err) == (
        2,
        f"{ON_THE_CPU}"
        "llama_adapter_lora_init_impl: loading lora adapter from './models/some-lora.gguf' ...\n"
        "gguf_init_from_file_impl: failed to read magic\n"
        "llama_adapter_lora_init: failed to apply lora adapter: "
        "failed to load lora adapter file from ./models/some-lora.gguf\n"
        f"probe failed: {REFUSED}\n",
    )


def test_a_null_in_the_prompt_is_an_error(older):
    put(older, some=LOADABLE)
    with older.serve() as running, drained(running) as log:
        answer = chat(running, stream=False, messages=[{"role": "user", "content": "a\0b"}])
    assert answer.status == 502
    text = b"nul byte found in provided data at position: 18\n"
    assert b"".join(log).endswith(b"'some': " + text + b"\nCaused by:\n    " + text)


def test_chat_has_no_limits_and_no_content_parts(older):
    (older.cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    toy = {"model": "tiny", "stream": False}
    with older.serve() as running, drained(running):
        assert b"Input prompt: ''" in chat(running, messages=[], **toy).body
        assert b'"content":""' in chat(running, max_tokens=0, **toy).body
        assert chat(running, frequency_penalty="x", **toy).status == 200
        parts = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
        assert chat(running, messages=parts, **toy).body == (
            b"Failed to deserialize the JSON body into the target type: messages[0].content: "
            b"invalid type: sequence, expected a string at line 1 column 59"
        )
        assert b"floating point `1e20`, expected a string" in chat(running, model=1e20).body


def test_routes_of_later_releases_are_not_there(older):
    with older.serve() as running, drained(running):
        for path in ("/v1/completions", "/api/tags"):
            answer = running.request("GET", path)
            assert (answer.status, answer.body) == (404, b"")
        metrics = neutral(running.request("GET", "/metrics").body)
    assert b'"features":{"huggingface":true,"llama":true}' in metrics


def test_every_llama_gets_the_template_of_llama_3(older):
    for name in ("TinyLlama-1.1B", "phi"):
        (older.cwd / "models" / f"{name}.safetensors").write_bytes(TOY_MODEL)
    with older.serve() as running, drained(running):
        llama = chat(running, model="tinyllama-1.1b", stream=False).body
        other = chat(running, model="phi", stream=False).body
    assert b"Input prompt: '<|start_header_id|>user" in llama
    assert b"Input prompt: '<|im_start|>user" in other


def test_shards_are_called_after_their_folder(older):
    put(older, **{"Big-00001-of-00002": b"12", "Big-00002-of-00002": b"3"})
    out = older.run("discover")[1].splitlines()
    assert out[2] == "  models [0MB]"
    assert out[3].startswith('    Base: "./models/Big-0000')
    assert out[3].endswith('-of-00002.gguf (+1 more files)"')


@pytest.mark.parametrize("command", [["list"], ["serve"], ["probe", "x"], ["gpu-info"]])
def test_an_extension_in_capitals_is_a_panic(older, command):
    (older.cwd / "models" / "X.GGUF").write_bytes(b"")
    status, out, err = older.run(*command)
    assert (status, out) == (101, "")
    blank, place, reason, advice = err.splitlines()
    assert blank == ""
    assert place.endswith("panicked at shimmy-1.8.1/src/invariant_ppt.rs:29:9:")
    assert reason == ("INVARIANT VIOLATION: GGUF files must use Llama backend [backend_selection]")
    assert advice.startswith("note: run with `RUST_BACKTRACE=1`")
    assert older.run("--version") == (0, "shimmy 1.8.1\n", "")


def test_a_panic_in_a_search_ends_only_the_connection(older):
    with older.serve() as running, drained(running):
        (older.cwd / "models" / "X.GGUF").write_bytes(b"")
        assert running.send(b"POST /api/models/discover HTTP/1.1\r\n\r\n") == b""
        assert running.request("GET", "/health").status == 200
