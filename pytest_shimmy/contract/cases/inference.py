"""Cases: a model that really runs, in Airframe, on a software renderer.

What it says is known (see `fake_shimmy.models.tiny_gguf`), so a recording holds real answers, real
counts of tokens, and real ends. The fake has no model: it is held to everything but the words, and
not to what only certain words bring about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from fake_shimmy.models.tiny_gguf import ANSWERS

from ..case import Case, Command, Exchange, Imitation, answer, close, request, rest, send, some
from .websockets import UPGRADE, frame

_WORLD = "airframe"
_SINCE = (2, 6)
_CHAT, _COMPLETIONS, _GENERATE, _MESSAGES = _PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/api/generate", "/v1/messages"),
)
_WORDS = tuple(word for word in ANSWERS if word.isalpha())
_ENDLESS = "clock"
# What these bring about is shimmy's reaction to certain tokens, or to many of them.
_PECULIAR = ("clock", "control", "marker", "nothing", "done", "euro", "return")
_MODELS = ("llama-3-chatter", "templated", "qwen-templated", "unparsable", "raising")
# The fake renders no template that a file brings along.
_OWN_TEMPLATES = ("templated", "qwen-templated", "raising")
_NO_MODELS = ("empty", "magic", "nonsense", "old", "new", "swapped", "hollow", "toy")
_TALK = (("system", "S"), ("user", "one"), ("assistant", "two"), ("user", "x"))
_TOO_LONG = "many " * 5000
_USAGE = {"stream_options": {"include_usage": True}}


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for word in _WORDS:
        yield from _of_a_word(word)
    yield from _variants()
    yield from _templates()
    for path in _PATHS:
        yield _case(f"{path}, too long", path, word=_TOO_LONG)
        for stream in (True, False):
            none = {"stream": stream, "max_tokens": 0}
            yield _case(f"{path}, no tokens, stream {stream}", path, more=none)
    for path in (_CHAT, _GENERATE):
        streamed: dict[str, object] = {"stream": True, **_USAGE}
        yield _case(f"{path}, too long, stream", path, more=streamed, word=_TOO_LONG)
    yield _websocket("too long", {"prompt": _TOO_LONG})
    yield _websocket("no tokens", {"max_tokens": 0})
    for model in _NO_MODELS:
        for path in _PATHS:
            yield _case(f"{path}, {model}", path, "exact", {"model": model})
        yield _websocket(model, {"model": model}, "exact")
    yield from _commands()
    yield from _clients()


def _of_a_word(word: str) -> Iterator[Case]:
    imitation: Imitation = "none" if word in _PECULIAR else "but for the words"
    more: dict[str, object] = {"max_tokens": 9} if word == _ENDLESS else {}
    for path in _PATHS:
        yield _case(f"{path}, {word}", path, imitation, more, word)
    for path in (_CHAT, _GENERATE):
        # A carriage return breaks a native stream off, and what was said before may be lost.
        if (path, word) != (_GENERATE, "return"):
            yield _case(f"{path}, {word}, stream", path, imitation, {"stream": True, **more}, word)
    yield _websocket(word, {"prompt": word, **more}, imitation)


def _variants() -> Iterator[Case]:
    variants: dict[str, dict[str, object]] = {
        "one token": {"max_tokens": 1},
        "three tokens": {"max_tokens": 3},
        "exactly as many": {"max_tokens": 9},
        "one token fewer": {"max_tokens": 8},
        "stop": {"stop": " three"},
        "stops": {"stop": ["nowhere", "four", "three"]},
        "empty stop": {"stop": ""},
        "stop that begins": {"stop": "one"},
        "cold": {"temperature": 0},
        "sharp": {"top_p": 0.1},
    }
    for name, more in variants.items():
        is_of_words = "stop" in more or name in ("exactly as many", "one token fewer")
        imitation: Imitation = "none" if is_of_words else "but for the words"
        for path in _PATHS:
            yield _case(f"{path}, {name}", path, imitation, more, "count")
        yield _case(f"{_CHAT}, {name}, stream", _CHAT, imitation, {"stream": True, **more}, "count")
        counted = {"stream": True, **_USAGE, **more}
        yield _case(f"{_CHAT}, {name}, stream with usage", _CHAT, imitation, counted, "count")


def _templates() -> Iterator[Case]:
    talk = [{"role": role, "content": content} for role, content in _TALK]
    for model in ("chatter", *_MODELS):
        for path in (_CHAT, _GENERATE, _MESSAGES):
            whole: dict[str, object] = {"model": model, "messages": talk}
            yield _case(f"{path}, a talk by {model}", path, more=whole)
        for path in (_CHAT, _COMPLETIONS, _MESSAGES):
            yield _case(f"{path}, template of {model}", path, more={"model": model})
        for raw in (False, True, None):
            bare = {"model": model, "prompt": "x", "raw_prompt": raw}
            yield _case(f"{_GENERATE}, template of {model}, raw {raw}", _GENERATE, more=bare)
        yield _websocket(f"template of {model}", {"model": model})
        yield _websocket(f"a talk by {model}", {"model": model, "messages": talk})
        yield _websocket(f"raw by {model}", {"model": model, "raw_prompt": True})
    stops = {"stop_sequences": [" three"]}
    yield _case(f"{_MESSAGES}, stop_sequences", _MESSAGES, "none", stops, "count")
    for prompt in ("", " ", "count"):
        for raw in (False, True):
            more = {"model": "templated", "prompt": prompt, "raw_prompt": raw}
            name = f"{_GENERATE}, prompt {prompt!r}, raw {raw}"
            yield _case(name, _GENERATE, more=more)


def _commands() -> Iterator[Case]:
    for model in ("chatter", *_MODELS):
        yield _run(f"probe {model}", ("probe", model), "exact")
    for name, arguments in {
        "bench chatter": ("bench", "chatter"),
        "bench chatter, three tokens": ("bench", "chatter", "--max-tokens", "3"),
        "bench chatter, no tokens": ("bench", "chatter", "--max-tokens", "0"),
        "generate, no tokens": _generate("count", "--max-tokens", "0"),
        "generate, three tokens": _generate("count", "--max-tokens", "3"),
        "generate, endless": _generate("clock", "--max-tokens", "9"),
        "generate, --raw": _generate("count", "--raw"),
        "generate, --legacy": _generate("count", "--legacy"),
        "generate, empty": _generate(""),
        "generate by a template": _generate("count", model="templated"),
        "generate by a template, --raw": _generate("count", "--raw", model="templated"),
        "generate, too long": _generate(_TOO_LONG),
    }.items():
        yield _run(name, arguments, "but for the words")
    for word in ("count", "blank", "quote", "marker"):
        imitation: Imitation = "none" if word in _PECULIAR else "but for the words"
        yield _run(f"generate {word}", _generate(word), imitation)
    for model in (*_NO_MODELS, "many"):
        yield _run(f"probe {model}", ("probe", model), "exact")
        yield _run(f"probe {model} --legacy", ("probe", model, "--legacy"), "exact")
    for model in ("magic", "toy"):
        yield _run(f"bench {model}", ("bench", model), "exact")
        yield _run(f"generate, {model}", ("generate", model, "--prompt", "x"), "exact")


def _clients() -> Iterator[Case]:
    """Several at once, one connection for several requests, one that is left."""
    stream = _request(_CHAT, {"stream": True, **_USAGE}, "count")
    whole = _request(_CHAT, {"stream": False}, "count")
    broken = _request(_CHAT, {"model": "magic"}, "count")
    mark = some(b'"role":"assistant"')
    for name, steps in {
        # The second comes once the model was looked up: else two write to the log at once.
        "two streams at once": (send(stream), mark, send(stream, "b"), rest("b"), rest()),
        "an answer beside a stream": (send(stream), mark, send(whole, "b"), rest("b"), rest()),
        "an answer after a panic": (send(broken), rest(), send(whole, "b"), rest("b")),
        "an answer after one that left": (
            *(send(stream), mark, close(), send(whole, "b"), rest("b")),
        ),
    }.items():
        act = Exchange(steps, _WORLD)
        yield Case("inference", name, act, ("airframe",), _SINCE, "but for the words")
    kept = _request(_CHAT, {"stream": False}, "count", last=False)
    act = Exchange((send(kept), answer(), send(whole), rest()), _WORLD)
    yield Case("inference", "two on a connection", act, ("airframe",), _SINCE, "but for the words")


def _request(path: str, more: Mapping[str, object], word: str, *, last: bool = True) -> bytes:
    body: dict[str, object] = {"model": "chatter", "max_tokens": 40, "stream": False}
    if path == _COMPLETIONS or "prompt" in more:
        body["prompt"] = word
    else:
        body["messages"] = [{"role": "user", "content": word}]
    return request("POST", path, json.dumps(body | dict(more)).encode(), last=last)


def _case(
    name: str,
    path: str,
    imitation: Imitation = "but for the words",
    more: Mapping[str, object] = {},
    word: str = "x",
) -> Case:
    if more.get("model") in _OWN_TEMPLATES:
        imitation = "but for words and counts"
    act = Exchange((send(_request(path, more, word)), rest()), _WORLD)
    return Case("inference", name, act, ("airframe",), _SINCE, imitation)


def _websocket(
    name: str, more: Mapping[str, object], imitation: Imitation = "but for the words"
) -> Case:
    upgrade = request("GET", "/ws/generate", headers=UPGRADE, last=False)
    asked = json.dumps({"model": "chatter", "prompt": "x", "max_tokens": 40, **more}).encode()
    act = Exchange((send(upgrade), answer(), send(frame(asked)), rest()), _WORLD)
    return Case("inference", f"WebSocket, {name}", act, ("airframe",), _SINCE, imitation)


def _run(name: str, arguments: tuple[str, ...], imitation: Imitation) -> Case:
    act = Command(arguments, _WORLD)
    return Case("inference", name, act, ("airframe",), _SINCE, imitation)


def _generate(prompt: str, *more: str, model: str = "chatter") -> tuple[str, ...]:
    return ("generate", model, "--prompt", prompt, *more)
