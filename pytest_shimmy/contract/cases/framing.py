"""Cases: HTTP/1 as rude clients speak it."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Exchange, Step, answer, finish, patience, request, rest, send

_CHAT = "/v1/chat/completions"
_BODY = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false}'
_GET = b"GET /health HTTP/1.1\r\n"
_LINES = {
    "nothing": b"\r\n\r\n",
    "garbage": b"garbage\r\n\r\n",
    "binary": bytes(range(1, 32)) + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\n\r\n",
    "two spaces": b"GET  /health HTTP/1.1\r\n\r\n",
    "tab": b"GET\t/health HTTP/1.1\r\n\r\n",
    "space at the end": b"GET /health HTTP/1.1 \r\nconnection: close\r\n\r\n",
    "bare LF": b"GET /health HTTP/1.1\nconnection: close\n\n",
    "bare CR": b"GET /health HTTP/1.1\rconnection: close\r\r",
    "empty lines before": b"\r\n\r\nGET /health HTTP/1.1\r\nconnection: close\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    "space before the colon": b"GET /health HTTP/1.1\r\nhost : a\r\n\r\n",
    "no colon": b"GET /health HTTP/1.1\r\nhost\r\n\r\n",
    "empty header name": b"GET /health HTTP/1.1\r\n: a\r\n\r\n",
    "folded header": b"GET /health HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    "null in a header": b"GET /health HTTP/1.1\r\na: b\x00c\r\n\r\n",
    "not ASCII in a header": _GET + b"a: \xff\xc3\xbc\r\nconnection: close\r\n\r\n",
    "a hundred headers": b"GET /health HTTP/1.1\r\nconnection: close\r\n"
    + b"a: b\r\n" * 99
    + b"\r\n",
    "over a hundred headers": b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    "connection: upgrade": b"GET /health HTTP/1.1\r\nconnection: upgrade, close\r\n"
    b"upgrade: websocket\r\n\r\n",
    "Connection: Close": b"GET /health HTTP/1.1\r\nConnection: Close\r\n\r\n",
}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0d\0\4\0\xa0\0\0\0\2\0\0\0\0"
_WINDOW = b"\0\0\4\x08\0\0\0\0\0>\x7f\0\1"
_HTTP_2 = {
    "SETTINGS": _PREFACE + b"\0\0\0\4\0\0\0\0\0",
    "SETTINGS as curl sends them": _PREFACE + _SETTINGS + _WINDOW,
    "a line": _PREFACE + b"GET /health HTTP/1.1\r\n\r\n",
}
"""What a client with prior knowledge of HTTP/2 sends after its preface."""
_CHUNKED = {
    "one chunk": b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY),
    "two chunks": b"5\r\n%b\r\n%X\r\n%b\r\n0\r\n\r\n" % (_BODY[:5], len(_BODY) - 5, _BODY[5:]),
    "extension": b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY),
    "trailers": b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(_BODY), _BODY),
    "leading zeros": b"000%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY),
    "no chunks": b"0\r\n\r\n",
    "not a number": b"zz\r\nx\r\n0\r\n\r\n",
    "negative": b"-1\r\nx\r\n0\r\n\r\n",
    "no line end after a chunk": b"1\r\nxx\r\n0\r\n\r\n",
    "bare LF": b"1\nx\n0\n\n",
    "too large a number": b"fffffffffffffffff\r\n",
    "empty size": b"\r\n\r\n",
}
_LENGTHS = {
    "negative": ("content-length: -1",),
    "plus": ("content-length: +5",),
    "not a number": ("content-length: five",),
    "empty": ("content-length: ",),
    "two that agree": ("content-length: 2", "content-length: 2"),
    "two that do not": ("content-length: 2", "content-length: 3"),
    "a list": ("content-length: 2, 2",),
    "beyond 64 bits": ("content-length: 18446744073709551616",),
    "and chunked": ("content-length: 2", "transfer-encoding: chunked"),
    "gzip": ("transfer-encoding: gzip",),
    "gzip, chunked": ("transfer-encoding: gzip, chunked",),
    "chunked twice": ("transfer-encoding: chunked", "transfer-encoding: chunked"),
    "Chunked": ("transfer-encoding: Chunked",),
    "identity": ("transfer-encoding: identity",),
}


def cases() -> Iterator[Case]:
    """Every case of this table."""
    for name, raw in _LINES.items():
        yield Case("request line", name, Exchange((send(raw), patience())))
    for name, raw in _HTTP_2.items():
        act = Exchange((send(raw), rest()))
        # 1.8.1 was recorded without them.
        yield Case("request line", f"HTTP/2 preface, {name}", act, since=(2, 5))
    head = request("POST", _CHAT, headers=("content-type: application/json",))
    for name, chunks in _CHUNKED.items():
        chunked = head.replace(b"\r\nhost", b"\r\ntransfer-encoding: chunked\r\nhost", 1)
        yield Case("chunked", name, Exchange((send(chunked + chunks), patience())))
    for name, headers in _LENGTHS.items():
        raw = request("POST", _CHAT, headers=("content-type: application/json", *headers))
        yield Case("length", name, Exchange((send(raw + b"{}"), patience())))
    yield from _reuse()
    yield from _pieces()


def _reuse() -> Iterator[Case]:
    good = request("POST", _CHAT, _BODY, last=False)
    for name, first in {
        "200": request("GET", "/v1/models", last=False),
        "200 after a body": good,
        "404": request("GET", "/nope", last=False),
        "404 with a body": request("POST", "/nope", b"{}", last=False),
        "405": request("PUT", "/health", last=False),
        "405 with a body": request("PUT", "/health", b"{}", last=False),
        "400": request("POST", _CHAT, b"{", last=False),
        "413": request("POST", _CHAT, b" " * (2 * 1024 * 1024 + 1), last=False),
        "415": request("POST", _CHAT, _BODY, is_json=False, last=False),
        "422": request("POST", _CHAT, b"{}", last=False),
        "502": request("POST", _CHAT, _BODY.replace(b"tiny", b"broken"), last=False),
        "OPTIONS": request("OPTIONS", "/v1/models", last=False),
        "HEAD": request("HEAD", "/v1/models", last=False),
        "a stream": request(
            "POST", _CHAT, _BODY.replace(b"false", b'true,"max_tokens":2'), last=False
        ),
    }.items():
        steps = (send(first), answer(), send(request("GET", "/nope")), rest())
        yield Case("reuse", f"after {name}", Exchange(steps))
        if name != "413":
            yield Case(
                "pipeline", f"after {name}", Exchange((send(first + request("GET", "/x")), rest()))
            )
    yield Case("pipeline", "three posts", Exchange((send(good * 3), patience())))
    many = request("GET", "/nope", last=False) * 50 + request("GET", "/v1/models")
    yield Case("pipeline", "fifty gets", Exchange((send(many), rest())))


def _pieces() -> Iterator[Case]:
    whole = request("POST", _CHAT, _BODY)
    bytewise: tuple[Step, ...] = tuple(send(whole[at : at + 1]) for at in range(len(whole)))
    yield Case("pieces", "byte by byte", Exchange((*bytewise, rest())))
    expecting = request(
        "POST", _CHAT, headers=("content-type: application/json", "expect: 100-continue")
    ).replace(b"\r\nhost", b"\r\ncontent-length: %d\r\nhost" % len(_BODY), 1)
    yield Case("pieces", "100-continue", Exchange((send(expecting), answer(), send(_BODY), rest())))
    refused = expecting.replace(b"application/json", b"text/plain")
    yield Case("pieces", "100-continue, refused", Exchange((send(refused), rest())))
    half = whole[: -len(_BODY) // 2]
    yield Case("pieces", "half a body, then the end", Exchange((send(half), finish(), rest())))
    yield Case(
        "pieces", "half a head, then the end", Exchange((send(whole[:20]), finish(), rest()))
    )
    yield Case("pieces", "nothing, then the end", Exchange((finish(), rest())))
