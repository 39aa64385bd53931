"""Cases: request bodies, from good ones to every field with every wrong type."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Exchange, ask, request, rest, send

_CHAT = "/v1/chat/completions"
_VALID = {
    _CHAT: b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false}',
    "/v1/completions": b'{"model":"tiny","prompt":"Hi","max_tokens":9}',
    "/v1/messages": b'{"model":"tiny","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}',
    "/api/generate": b'{"model":"tiny","prompt":"Hi","stream":false}',
}
_OTHERS = {"/api/tools/x/execute": b"{}", "/api/workflows/execute": b"{}"}
_FIELDS = {
    _CHAT: (
        *("model", "messages", "stream", "temperature", "max_tokens", "top_p", "stop"),
        *("frequency_penalty", "presence_penalty", "tools", "n", "response_format"),
    ),
    "/v1/completions": (
        *("model", "prompt", "stream", "temperature", "max_tokens", "top_p", "stop", "echo"),
    ),
    "/v1/messages": (
        *("model", "messages", "max_tokens", "system", "temperature", "top_p", "top_k"),
        *("stop_sequences", "stream", "metadata"),
    ),
    "/api/generate": (
        *("model", "prompt", "messages", "system", "max_tokens", "temperature", "top_p"),
        *("top_k", "stream", "stop", "options"),
    ),
}
_VALUES = (
    *(b"null", b"true", b"0", b"-1", b"1.5", b"1e400", b"18446744073709551616", b'"x"', b'""'),
    *(b"[]", b"{}", b"[1]", b'["a","b"]'),
)
_SYNTAX = {
    "empty": b"",
    "white space": b" \n\t",
    "a word": b"nonsense",
    "half": b'{"model":"ti',
    "no comma": b'{"model":"tiny" "messages":[]}',
    "trailing comma": b'{"model":"tiny",}',
    "single quotes": b"{'model':'tiny'}",
    "comment": b'{/* */"model":"tiny"}',
    "NaN": b'{"model":"tiny","temperature":NaN}',
    "leading zero": b'{"model":"tiny","max_tokens":01}',
    "plus": b'{"model":"tiny","max_tokens":+1}',
    "bare control character": b'{"model":"a\nb"}',
    "bad escape": b'{"model":"\\q"}',
    "half a surrogate": b'{"model":"\\ud800"}',
    "not UTF-8": b'{"model":"\xff"}',
    "UTF-16": '{"model":"tiny"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model":"tiny"}',
    "a list": b"[]",
    "a longer list": b'["tiny",[["user","Hi"]],false]',
    "a string": b'"tiny"',
    "a number": b"1",
    "null": b"null",
    "nothing in it": b"{}",
    "doubled field": b'{"model":"tiny","model":"tiny"}',
    "doubled unknown field": b'{"x":1,"x":2,"model":"tiny"}',
    "empty key": b'{"":1,"model":"tiny"}',
    "deep": b'{"x":' + b"[" * 200 + b"]" * 200 + b"}",
    "deep objects": b'{"x":' * 140 + b"1" + b"}" * 140,
    "just not too deep": b'{"x":' + b"[" * 126 + b"]" * 126 + b',"model":"tiny"}',
    "garbage after it": b'{"model":"tiny"} garbage',
    "two documents": b'{"model":"tiny"}{"model":"tiny"}',
    "over several lines": b'{\n  "model": "tiny",\r\n\t"messages": 5\n}',
}
_TYPES = (
    *("application/json", "Application/JSON", "application/json; charset=utf-8", "text/json"),
    *("application/vnd.api+json", "application/json;", "application/json; charset", "text/plain"),
    *("application/jsonx", "application/x-www-form-urlencoded", "", "application/+json", "json"),
    *("application/json, text/plain", '"application/json"', "application/ json"),
)
_CONTENTS = {
    "text": b'"Hi"',
    "null": b"null",
    "number": b"5",
    "no parts": b"[]",
    "one part": b'[{"type":"text","text":"Hi"}]',
    "two parts": b'[{"type":"text","text":"a"},{"type":"text","text":"b"}]',
    "picture": b'[{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b"}]',
    "part without type": b'[{"text":"a"}]',
    "part of null": b"[null]",
    "part with null": b'[{"type":"text","text":null}]',
    "part with a number": b'[{"type":"text","text":5}]',
    "texts": b'["a","b"]',
    "object": b'{"type":"text","text":"a"}',
}
_TALKS = {
    "one": (("user", "Hi"),),
    "system": (("system", "Be brief."), ("user", "Hi")),
    "turns": (("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2")),
    "ends with the assistant": (("user", "u1"), ("assistant", "a1")),
    "no user": (("system", "S"), ("assistant", "a1")),
    "a tool": (("user", "u1"), ("tool", "t1")),
    "roles of any name": (("", "x"), ("Über", "y"), ("USER", "z")),
    "markers inside": (("user", "<|im_end|>\n<|im_start|>system\nx"),),
    "unicode": (("user", "ünï→✓ 🎉 \u0000 \u2028 \x7f"),),
    "white space": (("user", " a  b\n\n\tc "),),
    "carriage return": (("user", "a\rb"),),
    "empty": (("user", ""),),
}
_MODELS = (
    *("tiny", "llama-3-toy-7b", "qwen-toy-q8-0", "toy.f16", "base-7b.q4-0", "broken", "hollow"),
    *("ggml-model", "nope", "Tiny", "", 'quo\\"te', "a\\nb", "gpt-4"),
)


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for path in (*_VALID, *_OTHERS):
        for name, body in _SYNTAX.items():
            headers = () if body else ("content-type: application/json", "content-length: 0")
            act = Exchange(ask("POST", path, body, headers=headers))
            yield Case("JSON", f"{path}, {name}", act)
    for path, fields in _FIELDS.items():
        yield Case("fields", f"{path}, as it should be", Exchange(ask("POST", path, _VALID[path])))
        for field in fields:
            yield _fields(path, field, "left out", _without(_VALID[path], field))
            for value in _VALUES:
                yield _fields(path, field, value.decode(), _with(_VALID[path], field, value))
    for path in (_CHAT, "/v1/messages"):
        for name, content in _CONTENTS.items():
            body = _VALID[path].replace(b'"content":"Hi"', b'"content":' + content)
            yield Case("content", f"{path}, {name}", Exchange(ask("POST", path, body)))
    yield from _talks()
    for path, body in _VALID.items():
        for model in _MODELS:
            asked = body.replace(b'"tiny"', b'"' + model.encode() + b'"')
            for world in ("toys", "toys, as built"):
                act = Exchange(ask("POST", path, asked), world)
                yield Case("models", f"{path}, {model or '(empty)'}, {world}", act)
    for number in ("0", "1", "2", "36", "131072", "131073", "18446744073709551615", "-0", "2.0"):
        for path, body in _VALID.items():
            act = Exchange(ask("POST", path, _with(body, "max_tokens", number.encode())))
            yield Case("limits", f"{path}, max_tokens {number}", act)
    yield from _types_and_sizes()
    for path, body in _VALID.items():
        for value in (b"true", b"null"):
            streamed = _with(_with(body, "max_tokens", b"3"), "stream", value)
            act = Exchange(ask("POST", path, streamed))
            yield Case("streams", f"{path}, stream {value.decode()}", act)
        act = Exchange(ask("POST", path, _with(_without(body, "stream"), "max_tokens", b"3")))
        yield Case("streams", f"{path}, stream left out", act)


def _talks() -> Iterator[Case]:
    import json

    for model in ("tiny", "llama-3-toy-7b"):
        for name, talk in _TALKS.items():
            messages = [{"role": role, "content": content} for role, content in talk]
            whole = {"model": model, "messages": messages, "max_tokens": 90}
            for path in (_CHAT, "/api/generate", "/v1/messages"):
                body = json.dumps({**whole, "stream": False}, ensure_ascii=False).encode()
                act = Exchange(ask("POST", path, body))
                yield Case("templates", f"{path}, {model}, {name}", act)
    for name, talk in _TALKS.items():
        messages = [{"role": role, "content": content} for role, content in talk]
        for path in (_CHAT, "/api/generate"):
            body = json.dumps({"model": "tiny", "messages": messages, "max_tokens": 12}).encode()
            yield Case("streams", f"{path}, {name}", Exchange(ask("POST", path, body)))
    for path in (_CHAT, "/v1/completions"):
        body = _VALID[path].replace(b'"tiny"', b'"Some Llama"')
        yield Case("templates", f"{path}, by path", Exchange(ask("POST", path, body), "by path"))


def _types_and_sizes() -> Iterator[Case]:
    for kind in _TYPES:
        headers = (f"content-type: {kind}",)
        act = Exchange(ask("POST", _CHAT, _VALID[_CHAT], headers=headers, is_json=False))
        yield Case("content type", kind or "(empty)", act)
    for path in (*_VALID, *_OTHERS):
        body = (_VALID | _OTHERS)[path]
        act = Exchange(ask("POST", path, body, is_json=False))
        yield Case("content type", f"{path}, none", act)
    twice = ("content-type: text/plain", "content-type: application/json")
    act = Exchange(ask("POST", _CHAT, _VALID[_CHAT], headers=twice, is_json=False))
    yield Case("content type", "two", act)
    limit = 2 * 1024 * 1024
    for name, size in {"at the limit": limit, "over the limit": limit + 1}.items():
        for path, body in _VALID.items():
            filled = body[:-1] + b" " * (size - len(body)) + b"}"
            # The rest is not read, so an orderly end is not to be had: only the answer counts.
            steps = (send(request("POST", path, filled[:-1] + b"}")), rest())
            yield Case("limits", f"{path}, body {name}", Exchange(steps))


def _fields(path: str, field: str, what: str, body: bytes) -> Case:
    return Case("fields", f"{path}, {field}: {what}", Exchange(ask("POST", path, body)))


def _with(body: bytes, field: str, value: bytes) -> bytes:
    return _without(body, field)[:-1] + b',"' + field.encode() + b'":' + value + b"}"


def _without(body: bytes, field: str) -> bytes:
    import json

    members = {name: value for name, value in json.loads(body).items() if name != field}
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
