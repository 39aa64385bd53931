"""Cases: a model that really runs, in llama.cpp.

What it says is known (see `fake_shimmy.models.tiny_gguf`), so a recording holds real answers. The
fake has no model: it is held to everything but the words, and not to what only certain words bring
about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ...executable.dialect import Engine
from ..case import Case, Command, Exchange, Imitation, answer, ask, request, rest, send
from ..environments import TORN_ANSWERS
from .websockets import UPGRADE, frame

_LLAMA: tuple[Engine, ...] = ("llama",)
_WORDS = tuple(word for word in TORN_ANSWERS if word.isalpha())
_ENDLESS = "clock"
# What these bring about is shimmy's reaction to certain tokens.
_PECULIAR = ("torn", "control", "marker", "nothing", "done", "euro", "return")
_BROKEN = ("empty", "magic", "nonsense", "old", "new", "swapped", "hollow", "many", "phi3-lora")
_PATHS = ("/v1/chat/completions", "/api/generate", "/v1/messages")


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for word in _WORDS:
        yield from _of_a_word(word)
    whole: dict[str, object] = {"stream": False}
    system = [{"role": "system", "content": "S"}, {"role": "user", "content": "x"}]
    for model in ("chatter", "llama-chatter"):
        for path in _PATHS:
            yield _case(f"{path}, template of {model}", path, more={**whole, "model": model})
            name = f"{path}, template of {model} with a system message"
            yield _case(name, path, more={**whole, "model": model, "messages": system})
    variants: dict[str, dict[str, object]] = {
        "one token": {"max_tokens": 1},
        "three tokens": {"max_tokens": 3},
        "no tokens": {"max_tokens": 0},
        "stop": {"stop": " three"},
        "stops": {"stop": ["nowhere", "four", "three"]},
        "empty stop": {"stop": ""},
        "cold": {"temperature": 0},
        "sharp": {"top_p": 0.1},
    }
    for name, more in variants.items():
        for stream in (False, True):
            shown = f"{name}, {'stream' if stream else 'whole'}"
            imitation: Imitation = "none" if "stop" in more else "but for the words"
            yield _case(shown, _PATHS[0], imitation, {"stream": stream, **more}, "count")
    for model in _BROKEN:
        for path in _PATHS:
            yield _case(f"{path}, {model}", path, "exact", {**whole, "model": model})
        yield _run(f"probe {model}", ("probe", model), "exact")
    yield _run("probe chatter", ("probe", "chatter"), "exact")
    yield _run("bench chatter", ("bench", "chatter"), "but for the words")
    for word in ("count", "blank", "torn"):
        arguments = ("generate", "chatter", "--prompt", word)
        yield _run(f"generate {word}", arguments, "none" if word == "torn" else "but for the words")


def _of_a_word(word: str) -> Iterator[Case]:
    imitation: Imitation = "none" if word in _PECULIAR else "but for the words"
    limit: dict[str, object] = {"max_tokens": 9} if word == _ENDLESS else {}
    for path in _PATHS:
        yield _case(f"{path}, {word}", path, imitation, {"stream": False, **limit}, word)
        if path != "/v1/messages":
            name = f"{path}, {word}, stream"
            yield _case(name, path, imitation, {"stream": True, **limit}, word)
    upgrade = request("GET", "/ws/generate", headers=UPGRADE, last=False)
    asked = json.dumps({"model": "chatter", "prompt": word, **limit}).encode()
    steps = (send(upgrade), answer(), send(frame(asked)), rest())
    act = Exchange(steps, "gguf")
    yield Case("generation", f"WebSocket, {word}", act, _LLAMA, imitation=imitation)


def _case(
    name: str,
    path: str,
    imitation: Imitation = "but for the words",
    more: Mapping[str, object] = {},
    word: str = "x",
) -> Case:
    messages = [{"role": "user", "content": word}]
    body = {"model": "chatter", "messages": messages, "max_tokens": 40, **more}
    act = Exchange(ask("POST", path, json.dumps(body).encode()), "gguf")
    return Case("generation", name, act, _LLAMA, imitation=imitation)


def _run(name: str, arguments: tuple[str, ...], imitation: Imitation) -> Case:
    return Case("generation", name, Command(arguments, "gguf"), _LLAMA, imitation=imitation)
