"""All routes against the real executable, side by side, answers and log lines byte for byte."""

from __future__ import annotations

import random
import re

import pytest

from fake_shimmy.releases import RELEASES
from tests.support.fake_process import TOY_MODEL, drained, neutral
from tests.support.random_bodies import FIELDS, GENERATE, body
from tests.support.websocket_client import BINARY, HEADERS, PING, TEXT, frame, handshake

pytestmark = pytest.mark.shimmy_real

GOOD = {
    "/api/generate": b'{"model":"tiny","prompt":"Hi","stream":false,"max_tokens":2}',
    "/v1/completions": b'{"model":"tiny","prompt":"Hi","max_tokens":2}',
    "/v1/messages": b'{"model":"tiny","messages":[],"max_tokens":2}',
    "/api/tools/x/execute": b"1",
    "/api/workflows/execute": b"{}",
}
PATHS = [
    *GOOD,
    *("/metrics", "/ws/generate", "/ws/generate/", "/api/tools//execute", "/api/tools/%ff/execute"),
    *("/api/tools/a%2Fb%20%22/execute", "/api/tools/%/execute", "/api/tools/x", "/api/tools/x/y/z"),
]
JSON = b"content-type: application/json\r\n"
CLOSE = b"connection: close\r\n"
TYPES = [
    b"",
    b"content-type: text/json\r\n",
    b"content-type: application/x+json; a=b\r\n",
    b"content-type: text/plain\r\n" + JSON,
    JSON + b"expect: 100-continue\r\n",
]


@pytest.fixture
def both(pair):
    """Both as a CPU-only build, and what they log."""
    real, fake = pair
    models = real.cwd / "models"
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(TOY_MODEL)
    (models / "Base-7B.Q4_0.gguf").write_bytes(b"GGUF")
    wanted = {"RUST_LOG": "shimmy=debug"}
    with (
        real.serve(*real.toy_flags, **wanted) as one,
        fake.serve(*fake.toy_flags, **wanted) as other,
        drained(one) as its_log,
        drained(other) as our_log,
    ):
        yield one, other
    assert events(our_log) == events(its_log)


def events(log: list[bytes]) -> list[bytes]:
    """What was logged about requests, without times."""
    found = (re.match(rb"[^ ]+Z ( ?[A-Z]+ shimmy::.*)", line) for line in log)
    return [match[1] for match in found if match]


def post(path: str, sent: bytes, headers: bytes = JSON + CLOSE, version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\n%b" % (path.encode(), version, headers)
    return head + b"content-length: %d\r\n\r\n%b" % (len(sent), sent)


def assert_same(both, *requests: bytes) -> None:
    real, fake = both
    for request in requests:
        assert neutral(fake.send(request)) == neutral(real.send(request)), request[:2000]


def test_methods(both):
    for method in ("GET", "POST", "PUT", "HEAD", "OPTIONS", "foo"):
        for path in PATHS:
            assert_same(both, f"{method} {path} HTTP/1.1\r\n".encode() + CLOSE + b"\r\n")


@pytest.mark.parametrize("path", GOOD)
def test_a_good_request_in_all_its_wrappings(pair, both, path):
    if path.encode() in RELEASES[pair[1].release].missing_routes:
        pytest.skip("that release does not have it, so nobody reads the body")
    good = GOOD[path]
    for kind in TYPES:
        assert_same(both, post(path, good, kind + CLOSE))
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(good), good)
    assert_same(
        both,
        post(path, good, JSON, b"1.0"),
        b"POST %b HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n%b"
        % (path.encode(), JSON + CLOSE, chunks),
        post(path, good, JSON)
        + b"GET /diag HTTP/1.1\r\n\r\n"
        + post(path, b"[]", JSON)
        + post(path, good, b"")
        + b"GET /metrics HTTP/1.1\r\n%b\r\n" % CLOSE,
        post(path, good + b" and more"),
        post(path, b"\xef\xbb\xbf" + good),
        post(path, b'"' + b"a" * (2**21 - 2) + b'"'),
    )
    for depth in (126, 127, 128, 129):
        deep = b"[" * depth + b"]" * depth
        assert_same(
            both,
            post(path, deep),
            post(path, b'{"a":' * depth + b"1" + b"}" * depth),
            post(path, b'{"model":' + deep + b"}"),
            post(path, b'{"unknown":' + deep + b"}"),
            post(path, b'{"messages":[{"role":"x","content":' + deep + b"}]}"),
        )


def test_bare_streams(both):
    for version, connection in ((b"1.1", CLOSE), (b"1.0", b"")):
        for limit in (b"0", b"3", b"99"):
            sent = b'{"model":"tiny","messages":[["user","a\\nb"]],"max_tokens":%b}' % limit
            assert_same(both, post(GENERATE, sent, JSON + connection, version))
    assert_same(both, post(GENERATE, b'{"model":"base-7b.q4-0"}'))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("path", FIELDS)
def test_bodies(both, path, seed):
    choice = random.Random(seed)
    assert_same(both, *(post(path, body(choice, path)) for _ in range(40)))


@pytest.mark.parametrize("seed", range(4))
def test_messages_over_a_websocket(both, seed):
    choice = random.Random(seed)
    for _ in range(40):
        opcode = choice.choice((TEXT, TEXT, BINARY))
        assert_same(both, handshake() + frame(body(choice, GENERATE), opcode))


def test_handshakes(both):
    refused = b"\r\n" + CLOSE
    values = [None, b"", b"x", b"Upgrade", b"keep-alive, UPGRADE", b"close, upgrade", b"WebSocket"]
    for name in HEADERS:
        for value in (*values, b"websocket, h2c", b"13", b"8"):
            headers = HEADERS | {name: value}
            headers = {known: told for known, told in headers.items() if told is not None}
            last = b"GET /nope HTTP/1.1" + refused + b"\r\n"
            # After a refusal the last request is answered; after an upgrade it is a bad frame.
            assert_same(both, handshake(headers) + last)
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        for method in (b"HEAD", b"OPTIONS", b"POST"):
            headers = HEADERS | {b"connection": b"close, upgrade"}
            assert_same(both, handshake(headers, method=method, version=version))


@pytest.mark.parametrize("seed", range(3))
def test_frames(both, seed):
    choice = random.Random(seed)
    good = b'{"model":"tiny","max_tokens":1}'
    for _ in range(60):
        # What was not read by the end would make the end a reset, so all is in one piece.
        sent, rest = b"", good
        while rest and choice.random() < 0.9:
            size = choice.randint(0, len(rest))
            piece, rest = rest[:size], rest[size:]
            opcode = (0 if sent else TEXT) if choice.random() < 0.9 else choice.randrange(16)
            mask = b"" if choice.random() < 0.03 else choice.randbytes(4)
            reserved = 2 if choice.random() < 0.03 else 0
            sent += frame(piece, opcode, not rest, mask, reserved)
        # Whoever still waits for more ends with this one.
        assert_same(both, handshake() + sent + frame(b"x" * 200, PING) * 2)
