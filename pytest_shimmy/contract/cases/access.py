"""Cases: who may ask, and what 2.6.5 brought beside that: keys, origins, OPTIONS, two pages, stream
options, media, raw prompts.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Command, Exchange, Life, Step, answer, ask, patience, request, rest, send
from .websockets import UPGRADE, frame

KEY = "0123456789abcdef"
"""The key of the world with one; as short as may be."""
ORIGINS = ("http://localhost:3000", "https://app.example")
"""Those of the world with some."""
_SINCE = (2, 6, 5)
_CHAT = "/v1/chat/completions"
_BODY = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}]}'
_BEARER = f"authorization: Bearer {KEY}"
_CREDENTIALS: dict[str, tuple[str, ...]] = {
    "none": (),
    "right": (_BEARER,),
    "scheme in lower case": (f"authorization: bearer {KEY}",),
    "scheme in upper case": (f"authorization: BEARER {KEY}",),
    "two spaces": (f"authorization: Bearer  {KEY}",),
    "a tab": (f"authorization: Bearer\t{KEY}",),
    "space after it": (f"authorization: Bearer {KEY} ",),
    "no space": (f"authorization: Bearer{KEY}",),
    "Basic": (f"authorization: Basic {KEY}",),
    "bare": (f"authorization: {KEY}",),
    "empty": ("authorization: Bearer ",),
    "only the beginning": (f"authorization: Bearer {KEY[:-1]}",),
    "longer": (f"authorization: Bearer {KEY}0",),
    "upper case": (f"authorization: Bearer {KEY.upper()}",),
    "not ASCII": ("authorization: Bearer ü123456789abcdef",),
    "quoted": (f'authorization: Bearer "{KEY}"',),
    "x-api-key": (f"x-api-key: {KEY}",),
    "x-api-key in upper case": (f"X-API-KEY: {KEY}",),
    "x-api-key with Bearer": (f"x-api-key: Bearer {KEY}",),
    "api-key": (f"api-key: {KEY}",),
    "cookie": (f"cookie: api_key={KEY}",),
    "wrong bearer, right x-api-key": ("authorization: Bearer wrong", f"x-api-key: {KEY}"),
    "right bearer, wrong x-api-key": (_BEARER, "x-api-key: wrong"),
    "two bearers, the first right": (_BEARER, "authorization: Bearer wrong"),
    "two bearers, the second right": ("authorization: Bearer wrong", _BEARER),
    "two x-api-keys, the second right": ("x-api-key: wrong", f"x-api-key: {KEY}"),
}
_BEHIND_THE_KEY = (
    *("GET /health", "GET /health?a=b", "HEAD /health", "POST /health", "GET /health/"),
    *("GET //health", "GET /", "GET /nope", "GET /docs", "GET /openapi.json", "GET /metrics"),
    *("PUT /v1/chat/completions", "GET /v1/chat/completions", "OPTIONS /v1/models"),
    *("OPTIONS /health", "OPTIONS /nope", "DELETE /health", "GET http://other/health"),
)
_SENT_ORIGINS: dict[str, tuple[str, ...]] = {
    "none": (),
    "the first": (f"origin: {ORIGINS[0]}",),
    "the second": (f"origin: {ORIGINS[1]}",),
    "another": ("origin: http://evil.example",),
    "another port": ("origin: http://localhost:3001",),
    "another scheme": ("origin: https://localhost:3000",),
    "upper case": ("origin: HTTP://LOCALHOST:3000",),
    "a slash": (f"origin: {ORIGINS[0]}/",),
    "null": ("origin: null",),
    "empty": ("origin: ",),
    "not ASCII": ("origin: http://ü.example",),
    "two, the first allowed": (f"origin: {ORIGINS[0]}", "origin: http://evil.example"),
    "two, the second allowed": ("origin: http://evil.example", f"origin: {ORIGINS[0]}"),
    "only a referer": ("referer: http://evil.example/x",),
}
_PAGES = ("/docs", "/openapi.json", "/docs/", "/openapi.json/", "/openapi", "/redoc")
_STREAM_OPTIONS = (
    *("null", "true", "5", '"x"', "[]", "{}", "[true]", "[false]", "[5]", "[true,1]"),
    *('{"include_usage":true}', '{"include_usage":false}', '{"include_usage":null}'),
    *('{"include_usage":1}', '{"include_usage":"x"}', '{"include_usage":true,"other":[1]}'),
    *('{"other":1}', '{"include_usage":true,"include_usage":true}'),
)
_PARTS = {
    "text": '{"type":"text","text":"a"}',
    "image_url": '{"type":"image_url","image_url":{"url":"x"}}',
    "image_url without anything": '{"type":"image_url"}',
    "input_text": '{"type":"input_text","text":"a"}',
    "Text": '{"type":"Text","text":"a"}',
    "empty type": '{"type":"","text":"a"}',
    "null type": '{"type":null,"text":"a"}',
    "no type": '{"text":"a"}',
    "image": '{"type":"image","source":{"type":"base64","media_type":"image/png","data":""}}',
    "tool_result": '{"type":"tool_result","tool_use_id":"x","content":"a"}',
    "tool_use": '{"type":"tool_use","id":"x","name":"y","input":{}}',
    "document": '{"type":"document","source":{"type":"text","data":"x"}}',
    "thinking": '{"type":"thinking","thinking":"x"}',
}
_RAW_LINES = (
    *("generate m --raw", "generate m --prompt x --raw=1", "generate m --prompt x --raw --raw"),
    *("generate m --ra", "list --raw", "--raw list", "bench m --raw", "probe m --raw"),
    *("generate --raw m --prompt x", "serve --raw", "serve --api-key x"),
)
_KEYS = {
    "15 characters": KEY[:-1],
    "empty": "",
    "a space": "0123456789 abcdef",
    "a space at the end": f"{KEY} ",
    "a tab": "01234567\t89abcdef",
    "not ASCII": "0123456789abcdéf",
    "DEL": "0123456789abcdef\x7f",
    "all punctuation": "!\"#$%&'()*+,-./:",
    "a long one": "k" * 4096,
    "not UTF-8": "0123456789abcdef\udcff",
}
_ORIGIN_LISTS = {
    "one": "http://localhost:3000",
    "two, with spaces": " http://a.example ,https://b.example:8443 ",
    "empty": "",
    "empty pieces": " , ,",
    "a trailing slash": "http://localhost:3000/",
    "trailing slashes": "http://localhost:3000///",
    "IPv6": "http://[::1]:3000",
    "*": "*",
    "null": "null",
    "no scheme": "example.com",
    "no scheme, with a port": "localhost:3000",
    "a path": "http://example.com/x",
    "a query": "http://example.com?x",
    "a fragment": "http://example.com#x",
    "a user": "http://u@example.com",
    "ftp": "ftp://example.com",
    "a wildcard": "http://*.example.com",
    "upper case": "http://EXAMPLE.com",
    "the default port": "http://example.com:80",
    "the default port of https": "https://example.com:443",
    "a bad one among good ones": "http://a.example,nonsense,http://b.example",
    "not UTF-8": "http://a.example\udcff",
}
_BIND = ("--bind", "127.0.0.1:{port}")


def cases() -> Iterator[Case]:
    """Every case of this table."""
    yield from _keys()
    yield from _origins()
    yield from _bodies()
    for path in _PAGES:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            yield _case("pages", f"{method} {path}", ask(method, path))
    for line in _RAW_LINES:
        yield Case("usage", line, Command(tuple(line.split())), since=_SINCE)
    for flags in ((), ("--raw",)):
        act = Command(("generate", "tiny", "--prompt", "x", *flags), "toys")
        yield Case("load", " ".join(("generate: raw or not", *flags)), act, since=_SINCE)
    yield from _starts()


def _keys() -> Iterator[Case]:
    for name, headers in _CREDENTIALS.items():
        yield _case("keys", f"models, {name}", ask("GET", "/v1/models", headers=headers), "keyed")
    yield _case("keys", "in the query", ask("GET", f"/v1/models?api_key={KEY}"), "keyed")
    for line in _BEHIND_THE_KEY:
        method, path = line.split()
        for name, headers in {"without": (), "with": (_BEARER,)}.items():
            act = ask(method, path, headers=headers)
            yield _case("keys", f"{line}, {name}", act, "keyed")
    for name, headers in {"without": (), "with": (_BEARER,)}.items():
        for what, body in {"good": _BODY, "half": _BODY[:-5]}.items():
            act = ask("POST", _CHAT, body, headers=headers)
            yield _case("keys", f"{_CHAT}, {what}, {name}", act, "keyed")
        act = ask("POST", _CHAT, _BODY, headers=headers, is_json=False)
        yield _case("keys", f"{_CHAT}, no content type, {name}", act, "keyed")
        upgrade = request("GET", "/ws/generate", headers=(*UPGRADE, *headers), last=False)
        steps = (send(upgrade), answer(), send(frame(b'{"model":"nope","prompt":"x"}')), patience())
        yield _case("keys", f"WebSocket, {name}", steps, "keyed")
    refused = request("POST", _CHAT, _BODY, last=False)
    steps = (send(refused), answer(), send(request("GET", "/health")), rest())
    yield _case("keys", "a connection goes on after a refusal", steps, "keyed")


def _origins() -> Iterator[Case]:
    for name, headers in _SENT_ORIGINS.items():
        for method, path in (("GET", "/health"), ("OPTIONS", _CHAT), ("GET", "/nope")):
            act = ask(method, path, headers=headers)
            yield _case("origins", f"{method} {path}, {name}", act, "origins")
    for name, origin in {"allowed": f"origin: {ORIGINS[0]}", "refused": "origin: null"}.items():
        for method, path in (
            *(("PUT", "/health"), ("HEAD", "/health"), ("GET", "/v1/models"), ("GET", "/docs")),
            *(("OPTIONS", "/nope"), ("OPTIONS", "/health"), ("GET", "/ws/generate")),
        ):
            act = ask(method, path, headers=(origin,))
            yield _case("origins", f"{method} {path}, one {name}", act, "origins")
        streamed = _BODY[:-1] + b',"stream":true,"max_tokens":2}'
        for what, body in {"answer": _BODY, "stream": streamed, "half": _BODY[:-5]}.items():
            act = ask("POST", _CHAT, body, headers=(origin,))
            yield _case("origins", f"{_CHAT}, {what}, {name}", act, "origins")
        act = ask("POST", _CHAT, _BODY, headers=(origin,), is_json=False)
        yield _case("origins", f"{_CHAT}, no content type, {name}", act, "origins")
        upgrade = request("GET", "/ws/generate", headers=(*UPGRADE, origin), last=False)
        steps = (send(upgrade), answer(), patience())
        yield _case("origins", f"WebSocket, {name}", steps, "origins")
        for key, headers in {"with a key": (_BEARER,), "without a key": ()}.items():
            for method, path in (
                *(("GET", "/v1/models"), ("GET", "/health"), ("OPTIONS", "/v1/models")),
                *(("PUT", _CHAT), ("GET", "/nope")),
            ):
                act = ask(method, path, headers=(origin, *headers))
                shown = f"{method} {path}, {name}, {key}"
                yield _case("origins", shown, act, "keyed, with origins")


def _bodies() -> Iterator[Case]:
    for value in _STREAM_OPTIONS:
        for stream in ("true", "false"):
            more = f',"stream":{stream},"stream_options":{value},"max_tokens":2}}'.encode()
            name = f"{_CHAT}, stream {stream}, stream_options {value}"
            yield _case("stream options", name, ask("POST", _CHAT, _BODY[:-1] + more))
    twice = _BODY[:-1] + b',"stream_options":null,"stream_options":{}}'
    yield _case("stream options", "twice", ask("POST", _CHAT, twice))
    for path in (_CHAT, "/v1/messages"):
        for name, part in _PARTS.items():
            content = f"[{part}]".encode()
            body = _BODY.replace(b'"Hi"', content)[:-1] + b',"max_tokens":2}'
            yield _case("media", f"{path}, {name}", ask("POST", path, body))
            second = body.replace(b'"messages":[', b'"messages":[{"role":"user","content":"x"},')
            yield _case("media", f"{path}, {name} in the second", ask("POST", path, second))
        wrong = body.replace(b'"tiny"', b'"nope"').replace(b":2}", b":0}")
        yield _case("media", f"{path}, a wrong model and limit", ask("POST", path, wrong))
    for value in ("true", "false", "null", "1", '"x"', "[]"):
        for path in ("/api/generate", "/v1/completions"):
            body = f'{{"model":"tiny","prompt":"Hi","stream":false,"raw_prompt":{value}}}'.encode()
            yield _case("raw prompts", f"{path}, {value}", ask("POST", path, body))
        upgrade = request("GET", "/ws/generate", headers=UPGRADE, last=False)
        asked = f'{{"model":"tiny","prompt":"Hi","max_tokens":3,"raw_prompt":{value}}}'.encode()
        steps = (send(upgrade), answer(), send(frame(asked)), patience())
        yield _case("raw prompts", f"WebSocket, {value}", steps)


def _starts() -> Iterator[Case]:
    for name, key in _KEYS.items():
        act = Life(_BIND, env={"SHIMMY_API_KEY": key})
        yield Case("access", f"key: {name}", act, since=_SINCE)
    for name, origins in _ORIGIN_LISTS.items():
        act = Life(_BIND, env={"SHIMMY_ALLOWED_ORIGINS": origins})
        yield Case("access", f"origins: {name}", act, since=_SINCE)
    for host in ("0.0.0.0", "[::]", "[::ffff:127.0.0.1]"):
        for name, env in {"no key": {}, "a key": {"SHIMMY_API_KEY": KEY}}.items():
            # Where only IPv6 listens, nothing here would notice.
            if (host, name) == ("[::ffff:127.0.0.1]", "a key"):
                continue
            act = Life(("--bind", f"{host}:{{port}}"), env=env)
            yield Case("access", f"bound to {host}, {name}", act, since=_SINCE)
    act = Life((), env={"SHIMMY_BIND_ADDRESS": "0.0.0.0:1"})
    yield Case("access", "bound to 0.0.0.0 by the environment, no key", act, since=_SINCE)
    bad = {"SHIMMY_API_KEY": "short", "SHIMMY_ALLOWED_ORIGINS": "nonsense"}
    for name, arguments, world, env, is_taken in (
        ("a bad address first", ("--bind", "nonsense"), "toys", bad, False),
        ("no models next", _BIND, "empty", bad, False),
        ("the key before the origins", ("--bind", "0.0.0.0:{port}"), "toys", bad, False),
        ("the origins before the address", ("--bind", "0.0.0.0:{port}"), "toys", bad, False),
        ("the key before a taken port", _BIND, "toys", bad, True),
    ):
        if name.startswith("the origins"):
            env = {"SHIMMY_ALLOWED_ORIGINS": bad["SHIMMY_ALLOWED_ORIGINS"]}
        act = Life(arguments, world, env, port_is_taken=is_taken)
        yield Case("access", f"order: {name}", act, since=_SINCE)
    for line in ("list", "gpu-info", "generate tiny --prompt x", "probe tiny"):
        command = Command(tuple(line.split()), "toys", bad, order="lines")
        yield Case("access", f"{line} minds neither", command, since=_SINCE)


def _case(group: str, name: str, steps: tuple[Step, ...], world: str = "toys") -> Case:
    return Case(group, name, Exchange(steps, world), since=_SINCE)
