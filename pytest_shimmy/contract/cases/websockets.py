"""Cases: the WebSocket route."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Exchange, answer, close, patience, request, rest, send

_PATH = "/ws/generate"
UPGRADE = (
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
_MASK = b"\x01\x02\x03\x04"
_ASK = b'{"model":"tiny","prompt":"Hi","max_tokens":3}'


def frame(
    payload: bytes, opcode: int = 1, *, last: bool = True, masked: bool = True, extra: int = 0
) -> bytes:
    """A client's frame; `extra` are reserved bits."""
    size = len(payload)
    first = bytes([(0x80 if last else 0) | extra | opcode])
    flag = 0x80 if masked else 0
    if size < 126:
        length = bytes([flag | size])
    elif size < 65536:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    if not masked:
        return first + length + payload
    return first + length + _MASK + bytes(b ^ _MASK[i % 4] for i, b in enumerate(payload))


_FRAMES = {
    "a request": frame(_ASK),
    "no tokens": frame(_ASK.replace(b"3", b"0")),
    "more tokens": frame(_ASK.replace(b"3", b"12")),
    "unknown model": frame(_ASK.replace(b"tiny", b"nope")),
    "model that does not load": frame(_ASK.replace(b"tiny", b"broken")),
    "messages": frame(
        b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"max_tokens":30}'
    ),
    "system": frame(b'{"model":"tiny","prompt":"Hi","system":"S","max_tokens":40}'),
    "stream off": frame(_ASK[:-1] + b',"stream":false}'),
    "binary": frame(_ASK, 2),
    "in two fragments": frame(_ASK[:9], last=False) + frame(_ASK[9:], 0),
    "a ping between fragments": frame(_ASK[:9], last=False) + frame(b"p", 9) + frame(_ASK[9:], 0),
    "a continuation of nothing": frame(_ASK, 0),
    "a second beginning": frame(_ASK[:9], last=False) + frame(_ASK),
    "ping first": frame(b"hello", 9) + frame(_ASK),
    "pong first": frame(b"hello", 10) + frame(_ASK),
    "too long a ping": frame(b"x" * 126, 9),
    "a fragmented ping": frame(b"x", 9, last=False),
    "close": frame(b"", 8),
    "close with a reason": frame(b"\x03\xe8bye", 8),
    "close with half a code": frame(b"\x03", 8),
    "close with a code that nobody has": frame(b"\x00\x05", 8),
    "not masked": frame(_ASK, masked=False),
    "reserved bit": frame(_ASK, extra=0x40),
    "reserved opcode": frame(_ASK, 3),
    "reserved control opcode": frame(b"", 11),
    "text that is not UTF-8": frame(b'{"model":"\xff"}'),
    "not JSON": frame(b"nonsense"),
    "empty": frame(b""),
    "empty object": frame(b"{}"),
    "wrong type": frame(b'{"model":5,"prompt":"x"}'),
    "garbage after it": frame(_ASK + b" x"),
    "two requests": frame(_ASK) + frame(_ASK),
    "long": frame(_ASK[:-1] + b',"x":"' + b"y" * 70000 + b'"}'),
}


def cases() -> Iterator[Case]:
    """Every case of this table."""
    upgrade = request("GET", _PATH, headers=UPGRADE, last=False)
    for name, sent in _FRAMES.items():
        steps = (send(upgrade), answer(), send(sent), patience())
        yield Case("WebSocket", name, Exchange(steps))
    piped = Exchange((send(upgrade + frame(_ASK)), answer(), rest()))
    yield Case("WebSocket", "a frame with the upgrade", piped)
    silent = Exchange((send(upgrade), answer(), patience()))
    yield Case("WebSocket", "says nothing", silent)
    for world in ("toys, as built", "without an engine"):
        asked = frame(_ASK.replace(b"tiny", b"base-7b.q4-0"))
        steps = (send(upgrade), answer(), send(asked), patience())
        yield Case("WebSocket", f"a model of {world}", Exchange(steps, world))
    alive = (send(request("GET", "/nope"), "z"), rest("z"))
    left = Exchange((send(upgrade), answer(), send(frame(_ASK)), close(), *alive))
    yield Case("WebSocket", "leaves", left)
    for number, line in enumerate(UPGRADE):
        headers = UPGRADE[:number] + UPGRADE[number + 1 :]
        yield _upgrade(f"without {line.partition(':')[0]}", headers)
    for name, headers in {
        "version 12": (*UPGRADE[:2], "sec-websocket-version: 12", UPGRADE[3]),
        "no key in it": (*UPGRADE[:3], "sec-websocket-key: "),
        "any key": (*UPGRADE[:3], "sec-websocket-key: x"),
        "h2c": (UPGRADE[0], "upgrade: h2c", *UPGRADE[2:]),
        "upper case": (UPGRADE[0], "upgrade: WebSocket", *UPGRADE[2:]),
        "keep-alive too": ("connection: keep-alive, Upgrade", *UPGRADE[1:]),
        "a protocol": (*UPGRADE, "sec-websocket-protocol: chat"),
        "compression": (*UPGRADE, "sec-websocket-extensions: permessage-deflate"),
        "an origin": (*UPGRADE, "origin: http://evil.example"),
    }.items():
        yield _upgrade(name, headers)
    for method in ("POST", "HEAD", "OPTIONS", "PUT"):
        yield _alone(f"by {method}", request(method, _PATH, headers=UPGRADE, last=False))
    old = request("GET", _PATH, headers=UPGRADE, last=False).replace(b"HTTP/1.1", b"HTTP/1.0")
    yield _alone("HTTP/1.0", old)


def _upgrade(name: str, headers: tuple[str, ...]) -> Case:
    return _alone(name, request("GET", _PATH, headers=headers, last=False))


def _alone(name: str, raw: bytes) -> Case:
    return Case("upgrade", name, Exchange((send(raw), patience())))
