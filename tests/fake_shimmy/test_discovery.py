"""Finding models in folders, seen through ``list`` and ``discover``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_shimmy.releases import NEWEST, RELEASES

MIB = b"\0" * 1024 * 1024

WORKED_EXAMPLES = {
    "TinyLlama-1.1B-Chat-v1.0.Q4_K_M.gguf": ("tinyllama-1.1b-chat-v1.0.q4-k-m", " (Q4_K_M)"),
    "Llama-3.2-3B-Instruct-Q8_0.gguf": ("llama-3.2-3b-instruct-q8-0", " (3B·Q8_0)"),
    "llama-2-13b-chat.Q4_0.gguf": ("llama-2-13b-chat.q4-0", " (3B·Q4_0)"),
    "Meta-Llama-3-70B-Instruct.Q4_K_M.gguf": (
        "meta-llama-3-70b-instruct.q4-k-m",
        " (70B·Q4_K_M)",
    ),
    "Mistral-7B-Instruct-v0.3.Q5_K_M.gguf": ("mistral-7b-instruct-v0.3.q5-k-m", " (7B)"),
    "My Model_7b F16.GGUF": ("my-model-7b-f16", " (7B·F16)"),
    "starcoder2-33b.Q2_K.gguf": ("starcoder2-33b.q2-k", " (3B)"),
    "gemma-2-2b-it-Q6_K.gguf": ("gemma-2-2b-it-q6-k", ""),
    "model.v1.2.gguf": ("model.v1.2", ""),
    "ggml-model.bin": ("ggml-model", ""),
    ".hidden.gguf": (".hidden", ""),
    "bf16-only.safetensors": ("bf16-only", " (F16)"),
}


def put(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def names_of(shimmy, **extra: str) -> list[str]:
    status, out, err = shimmy.run("list", "--short", **extra)
    assert (status, err) == (0, "")
    return out.splitlines()


def test_names_and_traits_of_file_names(shimmy):
    put(shimmy.cwd / "models", *WORKED_EXAMPLES)
    lines = set(shimmy.run("list")[1].splitlines())
    for file, (name, traits) in WORKED_EXAMPLES.items():
        assert f'  {name} => "./models/{file}" [0MB{traits}]' in lines
    assert f"✅ Total available models: {len(WORKED_EXAMPLES)}" in lines


def test_the_short_list_is_sorted_by_bytes_and_without_doubles(shimmy):
    put(shimmy.cwd / "models", "b.gguf", "a.gguf", "sub/a.gguf", "é.gguf", "a-b.gguf")
    assert names_of(shimmy) == ["a", "a-b", "b", "é"]


def test_of_equal_names_the_greatest_path_wins(shimmy):
    put(shimmy.cwd / "models", "one/model.gguf", "two/model.gguf")
    assert '  model => "./models/two/model.gguf" [0MB]\n' in shimmy.run("list")[1]


def test_shards_are_one_model_and_a_single_shard_is_none(shimmy):
    put(
        shimmy.cwd / "models",
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "solo-00001-of-00001.gguf",
        content=MIB,
    )
    assert shimmy.run("list")[1] == (
        "🔍 Auto-Discovered Models:\n"
        '  big => "./models/big-00001-of-00002.gguf" [2MB]\n'
        "\n✅ Total available models: 1\n"
    )


def test_a_lora_file_pairs_with_its_base_and_with_itself(shimmy):
    put(shimmy.cwd / "models", "Phi-3-mini.gguf", "Phi-3-mini-lora.gguf")
    lines = shimmy.run("discover")[1].splitlines()
    assert lines[:2] == ["🔍 Refreshing model discovery...", "✅ Found 2 models:"]
    assert lines.count('    LoRA: "./models/Phi-3-mini-lora.gguf"') == 2


@pytest.mark.parametrize(
    "file",
    [
        "a/b/c/d/deep.gguf",
        "tmp/x.gguf",
        ".hid/x.gguf",
        "target/x.gguf",
        "my-whisper/x.gguf",
        "huggingface/other/x.gguf",
        "tokenizer.safetensors",
        "test_config_1/x.safetensors",
        "pytorch_model.bin",
        ".gguf",
        "notes.txt",
    ],
)
def test_what_is_passed_over(shimmy, file):
    put(shimmy.cwd / "models", file, "kept.gguf")
    assert names_of(shimmy) == ["kept"]


@pytest.mark.parametrize(
    "file", ["a/b/c/x.gguf", ".cache/x.gguf", "Tmp/x.gguf", "huggingface-phi/x.gguf", "x.BIN"]
)
def test_what_is_not_passed_over(shimmy, file):
    put(shimmy.cwd / "models", file)
    assert names_of(shimmy) == ["x"]


def test_model_dirs_are_separated_by_semicolons_and_replace_the_variable(shimmy):
    put(shimmy.cwd, "one/a.gguf", "two/b.gguf", "three/c.gguf")
    assert names_of(shimmy, SHIMMY_MODEL_PATHS="one;;two") == ["a", "b"]
    out = shimmy.run("list", "-s", "--model-dirs", "three", SHIMMY_MODEL_PATHS="one")[1]
    assert out == "c\n"


def test_paths_are_shown_escaped_and_names_raw(shimmy):
    put(shimmy.cwd / "models", 'a"b\n.gguf')
    assert '  a"b\n => "./models/a\\"b\\n.gguf" [0MB]\n' in shimmy.run("list")[1]


def test_the_base_model_is_registered_unseen(shimmy):
    assert shimmy.run("list", SHIMMY_BASE_GGUF="nowhere/x.gguf")[1] == (
        "📋 Registered Models:\n"
        '  tinyllama-1.1b => "nowhere/x.gguf"\n'
        "\n✅ Total available models: 1\n"
    )


def test_ollama_models_come_from_manifests_and_from_the_folder(shimmy):
    manifest = (
        '{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"d","size":1},'
        '"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:ab",'
        '"size":3145728}]}'
    )
    store = shimmy.cwd / "store"
    put(store, "manifests/registry/library/llama3/latest", content=manifest.encode())
    put(store, "blobs/sha256-ab", content=b"GGUF")
    out = shimmy.run("list", OLLAMA_MODELS=str(store))[1]
    assert f'  registry/library/llama3/latest => "{store}/blobs/sha256-ab" [3MB]\n' in out
    put(shimmy.cwd / "tmp", "Foo_1.gguf")
    base = str(shimmy.cwd / "tmp" / "Foo_1.gguf")
    assert names_of(shimmy, SHIMMY_BASE_GGUF=base) == ["ollama:foo-1", "tinyllama-1.1b"]


def test_search_paths_are_told_when_nothing_is_found(shimmy):
    home = shimmy.cwd / "empty-home"
    assert shimmy.run("discover")[1] == (
        "🔍 Refreshing model discovery...\n❌ No models found in search paths:\n"
        '   • "./models"\n'
        f'   • "{home}/.cache/huggingface/hub"\n   • "{home}/.ollama/models"\n'
        f'   • "{home}/.lmstudio/models"\n   • "{home}/.cache/lm-studio/models"\n'
        f'   • "{home}/models"\n   • "{home}/.local/share/shimmy/models"\n'
        "   • Ollama models (if installed)\n"
        "\n💡 Try downloading a GGUF model or setting SHIMMY_BASE_GGUF\n"
    )


def test_llm_only_drops_by_name(shimmy):
    put(shimmy.cwd / "models", "my-embedding.gguf")
    assert shimmy.run("discover", "--llm-only")[1] == (
        "🔍 Refreshing model discovery...\n🎯 Filtering to LLM models only...\n"
        "❌ No LLM models found after filtering\n"
        "💡 Try running without --llm-only to see all models\n"
    )


FILE_NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@pytest.mark.slow
@given(names=st.lists(FILE_NAMES, max_size=8), suffix=st.sampled_from([b".gguf", b".bin", b""]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_no_file_name_breaks_discovery(names, suffix):
    from fake_shimmy.models import discovery

    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / "models").mkdir(exist_ok=True)
            with open(folder.encode() + b"/models/" + name + suffix, "wb"):
                pass
        environ = {"SHIMMY_MODEL_PATHS": folder + "/models"}
        warnings: list[str] = []
        found = discovery.discover(environ, warnings, RELEASES[NEWEST])
    assert warnings == []
    assert len({model.path for model in found}) == len(found)
    for model in found:
        # Names go into JSON and onto terminals, so they are text.
        model.name.encode()
        assert model.size_bytes == 0
