"""The control route: who may use it, and that nothing sent to it does harm."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_shimmy.models import tiny_gguf
from tests.support.fake_process import neutral
from tests.support.staged_server import (
    CHAT,
    TOKEN,
    Session,
    staged_server,
    take_until,
)

OPEN = b'{"op":"open","session":"x","script":{}}'


def request(token: bytes | None, method: bytes = b"POST", body: bytes = OPEN) -> bytes:
    head = b"%b /fake-shimmy/control HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" % method
    if token is not None:
        head += b"x-fake-shimmy-control: %b\r\n" % token
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def nowhere(raw: bytes) -> bytes:
    return raw.replace(b"/fake-shimmy/control", b"/no-such/path-at-all")


@pytest.mark.parametrize(
    ("token", "method"),
    [
        *((token, b"POST") for token in (None, b"", b"wrong", b"sesam", b"sesamee", b"\xff\xfe")),
        *((b"sesame", method) for method in (b"GET", b"PUT", b"HEAD", b"OPTIONS", b"DELETE")),
    ],
)
def test_without_the_token_there_is_no_such_route(stage, token, method):
    asked = request(token, method)
    assert neutral(stage.running.send(asked)) == neutral(stage.running.send(nowhere(asked)))


@pytest.mark.parametrize("environ", [{}, {"FAKE_SHIMMY_CONTROL": ""}])
@pytest.mark.parametrize("token", [None, b"", b"sesame"])
def test_a_server_without_a_token_has_no_such_route(shimmy, environ, token):
    (shimmy.cwd / "some.gguf").write_bytes(tiny_gguf.contents())
    with shimmy.serve("--model-path", "some.gguf", **environ) as running:
        asked = request(token)
        assert neutral(running.send(asked)) == neutral(running.send(nowhere(asked)))


@pytest.mark.shimmy_real
def test_without_the_token_the_route_is_the_real_ones_404(pair):
    real, fake = pair
    (fake.cwd / "some.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    path = ("--model-path", "some.safetensors")
    with real.serve(*path) as one, fake.serve(*path, FAKE_SHIMMY_CONTROL=TOKEN) as other:
        for token in (None, b"wrong"):
            expected, found = (neutral(each.send(request(token))) for each in (one, other))
            assert found == expected


def test_the_whole_of_loopback_may_control(stage):
    with socket.socket() as sock:
        sock.bind(("127.0.0.7", 0))
        sock.settimeout(20)
        sock.connect(("127.0.0.1", stage.running.port))
        sock.sendall(request(b"sesame"))
        assert b'{"ok": true' in take_until(sock, b"}")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.127.0.1", False),
        ("fe80::1", False),
        ("1127.0.0.1", False),
    ],
)
def test_only_loopback_is_local(host, is_local):
    from fake_shimmy.serving.connection import Connection

    class Sock:
        def getpeername(self):
            return (host, 1)

    assert Connection(None, None, Sock(), 1, None).is_local() is is_local


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[]", "a control request is an object"),
        (
            b"{}",
            "op is one of: open, add, remove, configure, journal, wait, close, refuse, accept, ",
        ),
        (b'{"op":"open"}', "session is missing"),
        (
            b'{"op":"open","session":"K","scirpt":{}}',
            "scirpt: there is no such member; there are: ",
        ),
        (b'{"op":"open","session":"a/b"}', "session: 'a/b' is not a string without a slash"),
        (
            b'{"op":"open","session":"K","script":{"rules":[{"x":1}]}}',
            "script.rules[0].x: there is no",
        ),
        (
            b'{"op":"add","session":"K","rule":{"chance":2}}',
            "rule.chance: 2 is not a number from 0",
        ),
        (b'{"op":"add","session":"K"}', "rule is missing"),
        (b'{"op":"add","session":"nobody","rule":{}}', "there is no such session: open it first"),
        (b'{"op":"remove","session":"K","id":9}', "there is no rule 9 to remove"),
        (b'{"op":"remove","session":"K","id":true}', "id: True is not a whole number"),
        (b'{"op":"remove","session":"K","id":1.0}', "id: 1.0 is not a whole number"),
        (b'{"op":"configure","session":"K"}', "script is missing"),
        (
            b'{"op":"configure","session":"K","script":{"strict":true,"latency":1}}',
            "script.latency: 1 is",
        ),
        (b'{"op":"journal","session":"K","after":-1}', "after: -1 is not a number from 0"),
        (b'{"op":"wait","session":"K","count":NaN}', "count: nan is not a number from 0"),
        (b'{"op":"wait","session":"K","when":{"user":{"matches":"("}}}', "when.user"),
        (b'{"op":"refuse","seconds":"x"}', "seconds: 'x' is not a number from 0"),
        (b"[" * 100_000, ""),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(session, body, reason):
    session.add(reply="x")
    before = session.control("journal")
    status, answer = session.stage.send(body.replace(b'"K"', f'"{session.key}"'.encode()))
    assert status == 400
    if "when.user" not in reason:
        assert reason in json.loads(answer)["error"]
    assert session.control("journal") == before
    assert session.tokens(CHAT) == ["x"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
OPS = ["open", "add", "remove", "configure", "journal", "close", "accept", "totals", "bogus"]
MEMBERS = ["session", "script", "rule", "id", "after", "when", "count", "finished", "seconds"]
NEAR = st.sampled_from(
    [
        {"rules": [{"reply": ["a"]}]},
        {"latency": {"per_token": 1}},
        {"reply": "x", "faults": [{"do": "exit", "at": {"tokens": -1}}]},
        {"reply": "x", "faults": [{"do": "garble"}]},
        {"life": {"exit": {"after_seconds": 0}}},
        "victim",
    ]
)
MESSAGES = st.builds(
    lambda op, members: {"op": op, **members},
    st.sampled_from(OPS) | JSON,
    st.dictionaries(st.sampled_from(MEMBERS), NEAR | JSON, max_size=6),
)


@pytest.mark.slow
@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(message=MESSAGES | JSON, cut=st.integers(0, 400))
def test_no_message_ends_the_server_or_reaches_another_session(session, message, cut):
    session.open(rules=[{"reply": "x"}])
    before = session.control("journal")
    before.pop("stray"), before.pop("stray_count")
    body = json.dumps(message).encode()
    for each in (body, body[:cut]):
        status, answer = session.stage.send(each)
        assert status in (200, 400)
        assert isinstance(json.loads(answer), dict)
    after = session.control("journal")
    after.pop("stray"), after.pop("stray_count")
    assert after == before


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(raw=st.binary(max_size=300))
def test_no_bytes_end_the_server(session, raw):
    assert session.stage.send(raw)[0] in (200, 400)
    assert session.control("journal")["rules"] == []


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.slow
def test_connections_are_refused_until_accepted_again(shimmy):
    with staged_server(shimmy) as stage:
        port = stage.running.port
        assert stage.control(op="refuse", seconds=600) == {"ok": True}
        assert refused(port)
        assert stage.control(op="accept") == {"ok": True}
        assert not refused(port)
        assert stage.control(op="accept") == {"ok": True}
        assert not refused(port)


@pytest.mark.slow
def test_open_connections_go_on_while_others_are_refused(shimmy):
    shimmy.build = "default"
    with staged_server(shimmy) as stage:
        session = Session(stage, "")
        session.add(reply=["a", "b"])
        with stage.running.connect() as sock:
            sock.sendall(CHAT.raw(last=False))
            take_until(sock, b"0\r\n\r\n")
            stage.control(op="refuse")
            sock.sendall(CHAT.raw())
            take_until(sock, b"0\r\n\r\n")
        assert refused(stage.running.port)


@pytest.mark.slow
def test_refusing_ends_by_itself(shimmy):
    with staged_server(shimmy) as stage:
        stage.control(op="refuse", seconds=0.2)
        assert refused(stage.running.port)
        end = time.monotonic() + 20
        while refused(stage.running.port) and time.monotonic() < end:
            pass
        assert not refused(stage.running.port)


@pytest.mark.slow
def test_the_end_of_an_earlier_refusal_does_not_end_a_later_one(shimmy):
    with staged_server(shimmy) as stage:
        session = Session(stage, "")
        stage.control(op="refuse", seconds=0.1)
        stage.control(op="accept")
        stage.control(op="refuse", seconds=600)
        assert session.control("wait", count=9, seconds=0.3)["timed_out"]
        assert refused(stage.running.port)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["refuse", "wait"])
def test_endless_seconds_do_no_harm(shimmy, op):
    with staged_server(shimmy) as stage, contextlib.ExitStack() as stack:
        message = json.dumps({"op": op, "session": "", "seconds": 1e14}).encode()
        sock = stack.enter_context(stage.running.connect())
        sock.sendall(request(b"sesame", body=message))
        assert stage.control(op="open", session="x")["ok"]
        stage.control(op="accept")
        assert not refused(stage.running.port)
        assert stage.running.process.poll() is None


@pytest.mark.slow
def test_a_port_that_somebody_took_meanwhile_does_not_end_the_server(shimmy):
    with staged_server(shimmy) as stage:
        stage.control(op="refuse", seconds=600)
        with socket.create_server(("127.0.0.1", stage.running.port)):
            assert stage.control(op="accept")["ok"]
        assert stage.control(op="open", session="x")["ok"]
