"""The places in which cases happen: a folder with models, an environment, arguments for ``serve``.

Strategy: a world is a table row; `build` makes its files, models that really run among them.
Everything is relative to the world's folder, which is also the working directory, so nothing of
this machine gets into a recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fake_shimmy.models import tiny_gguf
from fake_shimmy.models.tiny_gguf import ANSWERS, END, WIDTH

TOY = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
"""The smallest file that the toy engine loads (seen on 2.5.0)."""
MIB = 1024 * 1024


class Gguf(NamedTuple):
    """A model that really runs, with answers that are known: see `fake_shimmy.models.tiny_gguf`."""

    answers: Mapping[str, tuple[str | bytes, ...]] = ANSWERS
    width: int = WIDTH
    template: str | None = None
    is_spelled: bool = False

    @property
    def contents(self) -> bytes:
        """The file."""
        return tiny_gguf.contents(*self)


Content = bytes | int | Gguf


class World(NamedTuple):
    """One row. Sizes stand for files of that many zero bytes."""

    files: Mapping[str, Content] = {}
    env: Mapping[str, str] = {}
    arguments: tuple[str, ...] = ()
    """For ``serve``, in exchanges."""
    needs_adapter: bool = False
    """Models run in it on a graphics adapter; a software renderer's will do."""


_TOYS: dict[str, Content] = {
    "models/tiny.safetensors": TOY,
    "models/Llama-3-Toy-7B.safetensors": TOY,
    "models/qwen toy_q8_0.safetensors": TOY,
    "models/sub/deep/Toy.F16.safetensors": TOY,
    "models/broken.safetensors": b"no header at all",
    "models/hollow.safetensors": b"",
    "models/Base-7B.Q4_0.gguf": b"GGUF",
    "models/ggml-model.bin": b"x",
}
_TREE: dict[str, Content] = {
    "models/TinyLlama-1.1B-Chat-v1.0.Q4_K_M.gguf": 3 * MIB,
    "models/Llama-3.2-3B-Instruct-Q8_0.gguf": MIB - 1,
    "models/llama-2-13b-chat.Q4_0.gguf": 0,
    "models/Meta-Llama-3-70B-Instruct.Q4_K_M.gguf": MIB,
    "models/Mistral-7B-Instruct-v0.3.Q5_K_M.gguf": 0,
    "models/My Model_7b F16.gguf": 0,
    "models/Qwen2.5-0.5B-Instruct-bf16.gguf": 0,
    "models/starcoder2-33b.Q2_K.gguf": 0,
    "models/gemma-2-2b-it-Q6_K.gguf": 0,
    "models/Phi-3-mini-4k-instruct-q4.gguf": 0,
    "models/Phi-3-mini-4k-instruct-q4-lora.gguf": 0,
    "models/big-00001-of-00002.gguf": MIB,
    "models/big-00002-of-00002.gguf": MIB,
    "models/solo-00001-of-00001.gguf": 0,
    "models/model.v1.2.gguf": 0,
    "models/.hidden.gguf": 0,
    "models/.gguf": 0,
    "models/tokenizer.safetensors": TOY,
    "models/pytorch_model.bin": 0,
    "models/ggml-model.bin": 0,
    "models/notes.txt": b"x",
    "models/clip-vision.gguf": 0,
    "models/text-embedding.gguf": 0,
    'models/quo"te\\back.gguf': 0,
    "models/ünï→✓.gguf": 0,
    "models/a/b/c/three.gguf": 0,
    "models/a/b/c/d/four.gguf": 0,
    "models/target/built.gguf": 0,
    "models/whisper-large/ear.gguf": 0,
    "models/home/inside.gguf": 0,
    "models/.cache/cached.gguf": 0,
    "models/.secret/skipped.gguf": 0,
    "models/huggingface/llama/here.gguf": 0,
    "models/huggingface/other/gone.gguf": 0,
    "models/same.gguf": 0,
    "models/z/same.gguf": 2 * MIB,
}
_MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"sha256:c","size":1},'
    b'"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:abc",'
    b'"size":5242880}]}'
)
_OLLAMA: dict[str, Content] = {
    "ollama/manifests/registry.ollama.ai/library/llama3/latest": _MANIFEST,
    "ollama/manifests/short/8b": _MANIFEST.replace(b"abc", b"def"),
    "ollama/manifests/top": _MANIFEST.replace(b"abc", b"top"),
    "ollama/manifests/broken/json": b"{",
    "ollama/manifests/gone/blob": _MANIFEST.replace(b"abc", b"nowhere"),
    "ollama/blobs/sha256-abc": b"GGUF....",
    "ollama/blobs/sha256-def": b"GGUF",
    "ollama/blobs/sha256-top": b"no magic",
    "ollama/loose-7b.gguf": 0,
    "ollama/first/second/nested.gguf": 0,
}

_BROKEN_GGUF: dict[str, Content] = {
    "models/empty.gguf": b"",
    "models/magic.gguf": b"GGUF",
    "models/nonsense.gguf": b"no such magic",
    "models/old.gguf": b"GGUF\1\0\0\0" + bytes(16),
    "models/new.gguf": b"GGUF\x09\0\0\0" + bytes(16),
    "models/swapped.gguf": b"GGUF\0\0\0\3" + bytes(16),
    "models/hollow.gguf": b"GGUF\3\0\0\0" + bytes(16),
    "models/many.gguf": b"GGUF\3\0\0\0" + b"\xff" * 16,
}
_BEFORE_CONTROL = list(ANSWERS).index("control")
TORN_ANSWERS: dict[str, tuple[str | bytes, ...]] = {
    **dict(list(ANSWERS.items())[:_BEFORE_CONTROL]),
    "torn": ("torn:", b"\xe2\x82", b"\xac", END),
    **dict(list(ANSWERS.items())[_BEFORE_CONTROL:]),
}
"""With tokens that are no UTF-8 by themselves, which Airframe does not load."""
_LLAMA_CPP: dict[str, Content] = {
    f"models/{name}.gguf": Gguf(TORN_ANSWERS, width=96) for name in ("chatter", "llama-chatter")
}
_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}|{{ message.content }}]{% endfor %}"
    "{% if add_generation_prompt %}[GO]{% endif %}"
)
_AIRFRAME: dict[str, Content] = {
    "models/chatter.gguf": Gguf(is_spelled=True),
    "models/llama-3-chatter.gguf": Gguf(is_spelled=True),
    "models/templated.gguf": Gguf(is_spelled=True, template=_TEMPLATE),
    "models/qwen-templated.gguf": Gguf(is_spelled=True, template=_TEMPLATE),
    "models/unparsable.gguf": Gguf(is_spelled=True, template="{{ }}"),
    "models/raising.gguf": Gguf(is_spelled=True, template="{{ raise_exception('no') }}"),
    "models/toy.safetensors": TOY,
}

_KEY = {"SHIMMY_API_KEY": "0123456789abcdef"}
_ORIGINS = {"SHIMMY_ALLOWED_ORIGINS": "http://localhost:3000, https://app.example"}

WORLDS: dict[str, World] = {
    "empty": World(),
    "toys": World(_TOYS, arguments=("--legacy",)),
    "toys, as built": World(_TOYS),
    "tree": World(_TREE),
    "ollama": World(_OLLAMA, env={"OLLAMA_MODELS": "ollama"}),
    "listed": World(_TOYS | {"more/extra-7b.gguf": 0}, env={"SHIMMY_MODEL_PATHS": "more;;gone"}),
    "registered": World(
        _TOYS | {"base/Base_One.safetensors": TOY},
        env={"SHIMMY_BASE_GGUF": "base/Base_One.safetensors", "SHIMMY_LORA_GGUF": "base/lora.gguf"},
        arguments=("--legacy",),
    ),
    "without an engine": World({"models/Base-7B.Q4_0.gguf": b"GGUF", "models/tiny.gguf": b""}),
    "by path": World(
        {"Some Llama.safetensors": TOY},
        arguments=("--legacy", "--model-path", "Some Llama.safetensors"),
    ),
    "keyed": World(_TOYS, env=_KEY),
    "origins": World(_TOYS, env=_ORIGINS),
    "keyed, with origins": World(_TOYS, env=_KEY | _ORIGINS),
    "gguf": World(_BROKEN_GGUF | _LLAMA_CPP),
    "airframe": World(_BROKEN_GGUF | _AIRFRAME, needs_adapter=True),
}


def build(world: World, folder: Path) -> None:
    """Make the world's files below `folder`, and the places that every world has."""
    for name in ("home", "bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, content in world.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            if isinstance(content, int):
                file.truncate(content)
            elif isinstance(content, Gguf):
                file.write(content.contents)
            else:
                file.write(content)
