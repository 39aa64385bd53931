"""The command line against the real executable's, side by side: only times may differ."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
from pathlib import Path

import pytest

from tests.support.fake_process import TOY_MODEL, Shimmy

pytestmark = pytest.mark.shimmy_real

COMMANDS = ["serve", "list", "discover", "probe", "bench", "generate", "gpu-info", "init", "help"]
RANDOM_LINES = 133
SHARES = 4
"""Workers take them side by side."""
WORDS = [
    *COMMANDS,
    *("--model-dirs", "--gpu-backend", "--cpu-moe", "--n-cpu-moe", "--legacy", "--kv-quant"),
    *("--prefill-chunk", "--ctx", "-h", "--help", "-V", "--version", "--bind", "--model-path"),
    *("-s", "--short", "--llm-only", "--max-tokens", "--prompt", "--template", "-t", "-o", "-n"),
    *("x", "3", "f32", "int4", "--", "-", "-x", "--xyz", "--gpu", "--kv", "--legac", "--cpu"),
    *("--kv-quant=int4", "--ctx=5", "--ctx=", "--legacy=1", "--short=1", "--max-tokens=q", "lst"),
    *("serv", "generat", "-sx", "-tdocker", "-5", "--bind=x", "", "--help=1", "--kv-quant="),
    *("\x1b[31mred\x1b[0m", "a\x07b\x1b]0;t\x07c", "\udcff", "--\x1bxé"),
]
NO_GPU = {
    "VK_DRIVER_FILES": "/dev/null",
    "VK_ICD_FILENAMES": "/dev/null",
    "__EGL_VENDOR_LIBRARY_FILENAMES": "/dev/null",
    "FAKE_SHIMMY_GPU": "none",
}
"""A machine without an adapter, for either of the two."""

VARIABLES = {
    "RUST_LOG": ["trace", "info", "shimmy=debug", "bogus=x,warn", "off", "", "\udcff", " info"],
    "RUST_BACKTRACE": ["1", "0", ""],
    "RUST_LIB_BACKTRACE": ["1", "0", ""],
    "NO_COLOR": ["", "1", "\udcff"],
    "TERM": ["xterm", "xterm", "dumb", "", "\udcff"],
    "CLICOLOR": ["0", "1", ""],
    "CLICOLOR_FORCE": ["0", "1", ""],
    "CI": ["", "1"],
    "SHIMMY_BASE_GGUF": ["", "models/tiny.safetensors", "models/b.gguf", "nope.bin", "\udcff"],
    "SHIMMY_LORA_GGUF": ["x", ""],
    "SHIMMY_MAX_CTX": ["512", "x"],
    "SHIMMY_MODEL_PATHS": ["", ";", "models;models", "empty-home", "\udcff"],
    "TOKIO_WORKER_THREADS": ["2", "+2", "0", "x", "\udcff"],
    "SHIMMY_BIND_ADDRESS": ["", "foo", "\udcff"],
    "OLLAMA_MODELS": ["", "models"],
    "USERPROFILE": ["", "."],
    "HOME": ["", ".", "\udcff"],
}
DIRECTIVES = [
    *("info", "warn", "INFO", "Debug", "trace", "off", "3", "+3", "6", "shimmy", "shimmy=", "é"),
    *("shimmy::engine=warn", "shimmy::e=debug", "x=y", "[", "[x]", "[{message}]=info", "[]=info"),
    *("shimmy[{message}]=debug", "[x{message}]=info", "[{message=a}]", "[{a=(}]", "[{a=[b]}]=info"),
    *("[{}]", "{", "=info", "a=b=c", " ", " info", "info ", " shimmy=info", "shimmy=info ", "$"),
    *("[{message}", "[{message}]x", "a[b]=q", "-", "1", "shimmy::engine::safetensors_nativeX"),
]
FOLDERS = [
    *("models", "models/sub", "models/.hid", "models/.cache", "models/target", "models/Whisper-1"),
    *("models/tmp", "models/huggingface", "models/huggingface/llama", "home/.ollama/models"),
    *("home/.ollama/models/manifests/r/l/x", "home/.ollama/models/manifests/short"),
    *("home/.ollama/models/blobs", "home/.cache/huggingface/hub/models--phi/snapshots/a"),
    *("home/.lmstudio/models/pub/repo", "x/y", "x/y/z/w/v", "oll/manifests/a/b/c", "oll/blobs"),
    *("oll/dir/sub", "prof/models", "prof/Downloads", ".ollama\\models", "b\udcff", "d\nn"),
]
FILES = [
    *("a.gguf", "A_B c.GGUF", "m-7b-q4_0.gguf", "Llama-3B.safetensors", "x.bin", "llama.bin"),
    *("config.safetensors", "tokenizer.gguf", "pytorch_model.bin", "s-00001-of-00002.gguf"),
    *("s-00002-of-00002.gguf", "s-00001-of-00001.safetensors", "t-00001-of-00003.bin", ".gguf"),
    *("t-00003-of-00003.bin", "lora.gguf", "a-lora.gguf", "x-adapter.ggml", ".hid.gguf", "z.ggml"),
    *("n\no.gguf", 'q"\\.gguf', "é_É.gguf", "İ.gguf", "\udcff.gguf", "70b-f16-bf16.gguf", "latest"),
    *("8b", "sha256-abc", "sha256-def", "m.json", "clip.gguf", "tts.gguf", "s-٠٠٠٠١-of-00002.gguf"),
]
SEARCHES = {
    "SHIMMY_BASE_GGUF": ["", "a.gguf", "models/a.gguf", "oll/blobs/sha256-abc", "x/y/a.gguf"],
    "SHIMMY_MODEL_PATHS": ["x;oll", "x/y/", "./x//y/.;x/y", "models;./models;", "b\udcff", "prof"],
    "OLLAMA_MODELS": ["oll", "", "oll/", "models", "./oll/../oll"],
    "USERPROFILE": ["prof", ".", ""],
    "HOME": [".", "", "home", "x\udcff"],
}


def comparable(text: str, program: str) -> str:
    """``text`` without times, process numbers and what belongs to whoever compiled the real one."""
    text = text.replace(f"Usage: {program} ", "Usage: shimmy ")
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"thread 'main' \(\d+\)", "thread 'main' (N)", text)
    text = re.sub(
        r"panicked at \S*?((?:shimmy|tokio|airframe)-\d|library/)", r"panicked at \1", text
    )
    # What the C library's own frames are called depends on its symbols.
    text = re.sub(r"(\n +\d+: main)(\n +(\d+: |at ).*)+", r"\1", text)
    return re.sub(r"elapsed: [\d.]+(ns|µs|ms|s)", "elapsed: E", text)


def outcome(subject, line, terminal, environ):
    if terminal:
        status, shown = subject.run_on_terminal(*line, **environ)
        parts = [shown]
    else:
        status, *parts = subject.run(*line, **environ)
    program = subject.command[0].rpartition("/")[2]
    return status, *(comparable(part, program) for part in parts)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def words(*line: str) -> list[bytes]:
    return [os.fsencode(word) for word in line]


def some(choice: random.Random, variables: dict[str, list[str]], share: float) -> dict[str, str]:
    return {k: choice.choice(v) for k, v in variables.items() if choice.random() < share}


def command_lines() -> list[list[str]]:
    choice = random.Random(0)
    made = [[*rest] for name in COMMANDS for rest in ([name, "-h"], ["help", name], [name[:-1]])]
    return made + [
        [choice.choice(WORDS) for _ in range(choice.randint(1, 5))] for _ in range(RANDOM_LINES)
    ]


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_command_lines(pair, share, terminal):
    environ = {"TERM": "xterm", **NO_GPU}
    for line in command_lines()[share::SHARES]:
        real, fake = (outcome(subject, words(*line), terminal, environ) for subject in pair)
        assert fake == real, line


def model_file(header: dict[str, object], data: bytes = b"0000") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(*shape: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}


MODELS = {
    "tiny.safetensors": TOY_MODEL,
    "b.gguf": b"GGUF",
    "empty.safetensors": b"",
    "long.safetensors": b"\xff" * 20,
    "p1.safetensors": model_file({"lm_head.weight": tensor()}),
    "p2.safetensors": model_file({"embed_tokens.weight": tensor(1)}),
    "p3.safetensors": model_file({"embed_tokens.weight": tensor()}),
    "p4.safetensors": model_file({"lm_head.weight": tensor(1)}),
    "l1.safetensors": model_file({"model.layers.+7.x": tensor(1)}),
    "l2.safetensors": model_file({"layers.18446744073709551615.x": tensor(1)}),
    "é" * 60 + ".safetensors": TOY_MODEL,
    "€" * 40 + ".safetensors": TOY_MODEL,
    "a'\u0301\u0301" * 12 + ".safetensors": TOY_MODEL,
    "model.bin": b"",
}
CONFIGS = [None, None, b"{}", b'{"vocab_size":7,"num_hidden_layers":2}', b"[", b"\xff", b"[1]"]
TOKENIZERS = [None, None, b"{}", b'{"model":{"vocab":1}}', b"{", b'{"model":{"vocab":null}} ']


def a_command(choice: random.Random) -> list[str]:
    name = choice.choice(
        [*(name.rpartition(".")[0] for name in MODELS), "nope", "tinyllama-1.1b", "phi3-lora"]
    )
    prompt = choice.choice(["hi", "", "a b  c\n d", "é\x1b[31mx", "\x1c x \x85y"])
    template = choice.choice(
        ["docker", "K8s", "RAILWAY", "fly", "fastapi", "express", "x", "\u212a8s"]
    )
    folder = choice.choice(["out", "a/b/../c", "", "models/b.gguf", "models/b.gguf/x", "/proc/x"])
    bind = choice.choice(["192.0.2.1:80", "foo"])
    limit = choice.choice([[], ["--max-tokens", "5"], ["--max-tokens=0"], ["--max-tokens=36"]])
    return choice.choice(
        [
            ["bench", name, *limit],
            ["generate", name, "--prompt", prompt, *limit],
            ["generate", name, "--prompt", prompt, "--grammar-mode=developer", "--math-bypass"],
            ["probe", name],
            ["gpu-info"],
            ["init", "-t", template, "-o", folder, *choice.choice([[], ["-n", "foo"]])],
            ["serve", "--bind", bind, *choice.choice([[], ["--model-path", "models/b.gguf"]])],
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_commands_in_random_surroundings(pair, seed):
    choice = random.Random(seed)
    folder = pair[0].cwd
    for _ in range(40):
        environ = some(choice, VARIABLES, 0.2) | NO_GPU
        line, terminal = a_command(choice), choice.random() < 0.3
        # The GPU libraries of the default build log on their own.
        if choice.random() < 0.5 or "RUST_LOG" in environ:
            line = [*pair[0].toy_flags, *line]
        beside = {
            "config.json": choice.choice(CONFIGS),
            "tokenizer.json": choice.choice(TOKENIZERS),
        }
        outcomes = []
        for subject in pair:
            empty(folder)
            (folder / "models").mkdir()
            for name, content in (MODELS | beside).items():
                if content is not None:
                    (folder / "models" / name).write_bytes(content)
            shown = outcome(subject, words(*line), terminal, environ)
            outcomes.append((shown, sorted(str(path) for path in folder.rglob("*"))))
        assert outcomes[1] == outcomes[0], (line, environ, terminal)


@pytest.mark.parametrize("seed", range(2))
def test_log_filters(pair, seed):
    choice = random.Random(seed)
    (pair[0].cwd / "models").mkdir()
    (pair[0].cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    for _ in range(50):
        text = ",".join(choice.choice(DIRECTIVES) for _ in range(choice.randint(1, 4)))
        line = [*pair[0].toy_flags, "generate", "tiny", "--prompt", "x"]
        real, fake = (outcome(subject, line, False, {"RUST_LOG": text}) for subject in pair)
        assert fake == real, text


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("ignored", ["", "INT HUP TERM USR1 CHLD"])
def test_signal_dispositions(pair, ignored):
    (pair[0].cwd / "models").mkdir()
    (pair[0].cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    dispositions = []
    for subject in pair:
        command = ["sh", "-c", f"trap '' {ignored}\nexec \"$@\"", "sh", *subject.command]
        with Shimmy(command, subject.cwd, subject.build, subject.release).serve() as running:
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            dispositions.append(re.findall(r"Sig(?:Ign|Blk):\t(\w+)", status))
    assert dispositions[1] == dispositions[0]


def a_manifest(choice: random.Random) -> bytes:
    layer = {
        "mediaType": "application/vnd.ollama.image.model",
        "digest": "sha256:" + choice.choice(["abc", "def", "zzz"]),
        "size": choice.choice([0, 5, 10**7, -1, 2**64, 1.5]),
    }
    config = {"mediaType": "c", "digest": "sha256:q", "size": 1}
    manifest = {"schemaVersion": 2, "mediaType": "m", "config": config, "layers": [layer]}
    return choice.choice([json.dumps(manifest).encode(), b"{", b"", b"GGUF", b"GGUFxxxx"])


@pytest.mark.parametrize("seed", range(3))
def test_searches_in_random_folders(pair, seed):
    choice = random.Random(seed)
    root = pair[0].cwd
    for number in range(40):
        empty(root)
        for folder in choice.sample(FOLDERS, choice.randint(1, 8)):
            path = root / folder
            path.mkdir(parents=True, exist_ok=True)
            for name in choice.sample(FILES, choice.randint(0, 7)):
                if choice.random() < 0.07:
                    (path / name).mkdir(exist_ok=True)
                elif not (path / name).is_dir():
                    (path / name).write_bytes(a_manifest(choice))
        environ = some(choice, SEARCHES, 0.3)
        line = choice.choice([["list"], ["discover"], ["list", "-s"], ["discover", "--llm-only"]])
        # What comes from a hash map has no order.
        real, fake = (
            [part if isinstance(part, int) else sorted(part.splitlines()) for part in found]
            for found in (outcome(subject, line, False, environ) for subject in pair)
        )
        assert fake == real, (number, line, environ)
