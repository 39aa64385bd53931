"""The fake against the real executable, side by side: only ids and times may differ."""

from __future__ import annotations

import random

import pytest

from tests.support.fake_process import TOY_MODEL, drained, neutral, neutral_health

pytestmark = pytest.mark.shimmy_real

BODIES = [
    b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false,"max_tokens":3}',
    b'{"model":"tiny","messages":[{"role":"system","content":[{"type":"text","text":"a\\u00e9"},'
    b'{"type":"image","url":[1,2.5,{"a":null}]}]},{"role":"user","content":"q"}],"stop":["a"],'
    b'"temperature":0.5,"stream":false,"max_tokens":5,"foo":{"bar":[true,-1,2e3,"\\ud83d\\ude00"]}}',
    b'{\n "model": "tiny",\n "messages": [\n{"role": "user", "content": "Hi"}], "stream": false\n}',
    b'["tiny",[["user","Hi"]],false,0.1,3,null,"x",1,2]',
]
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"null", b"true", b"fals", b"-"),
    *(b"0", b".5", b"1e5", b"1e999", b"-0", b"18446744073709551616", b"\\ud800", b"\xff", b"\x01"),
    *(b'"model"', b"{}", b"[]", b"1e-7", b"123456789012345678.5"),
]
REQUESTS = [
    *(
        f"{method} {path}"
        for method in ("GET", "POST", "OPTIONS", "HEAD", "foo")
        for path in (
            "/health",
            "/v1/models",
            "/v1/chat/completions",
            "/api/tags",
            "/diag",
            "/nope",
            "/api/tools",
            "/api/models/x/load",
            "/api/models/x/status",
            "/api/models/%ff/status",
            "*",
            "/he<",
        )
    ),
    "POST /api/models/discover",
]


@pytest.fixture
def both(pair):
    models = pair[0].cwd / "models"
    models.mkdir()
    (models / "tiny.safetensors").write_bytes(TOY_MODEL)
    (models / "Base-7B.Q4_0.gguf").write_bytes(b"GGUF")
    real, fake = pair
    with (
        real.serve(*real.toy_flags) as one,
        fake.serve(*fake.toy_flags) as other,
        drained(one),
        drained(other),
    ):
        yield one, other


def test_routes_and_methods(both):
    real, fake = both
    for line in REQUESTS:
        request = f"{line} HTTP/1.1\r\nconnection: close\r\n\r\n".encode()
        alike = neutral_health if line.endswith("/health") else neutral
        assert alike(fake.send(request)) == alike(real.send(request)), line


def test_streams(both):
    real, fake = both
    for body in BODIES:
        streamed = body.replace(b"false", b"true")
        assert neutral(fake.chat(streamed).body) == neutral(real.chat(streamed).body)


@pytest.mark.parametrize("seed", range(4))
def test_bodies(both, seed):
    real, fake = both
    choice = random.Random(seed)
    for _ in range(150):
        body = choice.choice(BODIES)
        for _ in range(choice.randint(1, 3)):
            at = choice.randrange(len(body) + 1)
            cut = at + choice.choice((0, 0, 1, 3))
            body = body[:at] + choice.choice([b"", *PIECES]) + body[cut:]
        expected, found = real.chat(body), fake.chat(body)
        assert (found.status, neutral(found.body)) == (expected.status, neutral(expected.body)), (
            body
        )
