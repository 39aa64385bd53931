"""Cases: every route with every method, and what each answers."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Exchange, ask, rest, send

_GETS = (
    *("/health", "/metrics", "/diag", "/api/models", "/api/tools", "/api/tags", "/v1/models"),
    *("/api/models/tiny/status", "/ws/generate"),
)
_POSTS = (
    *("/api/generate", "/api/models/discover", "/api/models/tiny/load"),
    *("/api/models/tiny/unload", "/api/tools/x/execute", "/api/workflows/execute"),
    *("/v1/chat/completions", "/v1/completions", "/v1/messages"),
)
_NOT_THERE = (
    *("/", "/nope", "/v1", "/v1/models/tiny", "/v1/embeddings", "/v1/responses", "/api/health"),
    *("/api/version", "/api/chat", "/api/vision", "/health/", "//health", "/HEALTH"),
    *("/api/models/", "/api/models//status", "/api/models/a/b/status", "/v1/messages/count_tokens"),
    *("/v1/audio/speech", "/v1/images/generations", "/api/tools//execute", "/api/models/tiny"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW")
_TARGETS = {
    "query": "/health?a=b&c",
    "fragment": "/health#x",
    "absolute form": "http://other/health",
    "absolute form without a path": "http://other",
    "asterisk": "*",
    "no slash": "health",
    "percent in a route": "/%68ealth",
    "percent in a name": "/api/models/a%20b%2Fc%C3%BC/status",
    "half a percent": "/api/models/a%2/status",
    "not UTF-8 in a name": "/api/models/%ff/status",
    "null in a name": "/api/models/%00/status",
    "quotes in a name": "/api/models/%22%5C%0A/status",
    "angle": "/he<",
    "backtick": "/he`",
    "dots": "/x/../health",
    "longest": "/" + "a" * 65533,
    "too long": "/" + "a" * 65534,
}


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for path in (*_GETS, *_POSTS):
        for method in _METHODS:
            yield _case(method, path)
    for path in _NOT_THERE:
        for method in ("GET", "POST", "OPTIONS"):
            yield _case(method, path)
    for name, target in _TARGETS.items():
        yield Case("target", name, Exchange(ask("GET", target)))
    for path in ("/health", "/v1/models", "/api/models", "/api/tags", "/metrics"):
        for world in ("registered", "without an engine", "by path"):
            yield Case("state", f"{path}, {world}", Exchange(ask("GET", path), world, "rows"))
    for world in ("registered", "by path"):
        act = Exchange(ask("POST", "/api/models/discover"), world, "rows")
        yield Case("state", f"discover, {world}", act)
    for name, headers in {
        "origin": ("origin: http://evil.example",),
        "preflight": (
            "origin: http://evil.example",
            "access-control-request-method: POST",
            "access-control-request-headers: x-anything",
        ),
        "credentials": ("authorization: Bearer wrong", "x-api-key: wrong"),
        "accept": ("accept: text/html", "accept-encoding: gzip, br"),
    }.items():
        for method in ("GET", "OPTIONS"):
            act = Exchange(ask(method, "/v1/models", headers=headers))
            yield Case("headers", f"{method}, {name}", act)
    for line in ("GET /health HTTP/1.0", "HEAD /v1/models HTTP/1.0", "OPTIONS * HTTP/1.0"):
        act = Exchange((send(f"{line}\r\n\r\n".encode()), rest()))
        yield Case("HTTP/1.0", line, act)
    kept = b"GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /nope HTTP/1.0\r\n\r\n"
    yield Case("HTTP/1.0", "keep-alive", Exchange((send(kept), rest())))


def _case(method: str, path: str) -> Case:
    order = "rows" if path == "/api/models" else "fixed"
    return Case("routes", f"{method} {path}", Exchange(ask(method, path), order=order))  # type: ignore[arg-type]
