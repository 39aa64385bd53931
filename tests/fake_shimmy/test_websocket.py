"""``GET /ws/generate``. Expected bytes: real 2.5.0 CPU-only."""

from __future__ import annotations

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_process import Answer, neutral, read_all
from tests.support.websocket_client import (
    BINARY,
    CLOSE,
    HEADERS,
    PING,
    PONG,
    frame,
    handshake,
    said,
    upgraded,
)

ASK = b'{"model":"tiny","prompt":"Hi there","max_tokens":3}'
ACCENT = ASK.replace(b"Hi", "é".encode())
DONE = b'{"done":true}'
TOKENS = [b"SafeTensors ", b"model ", b"'tiny' "]
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"access-control-allow-origin: *\r\n"
    b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
    b"access-control-allow-headers: Content-Type, Authorization\r\n"
    b"access-control-max-age: 86400\r\ndate: D\r\n\r\n"
)


def read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def without(name: bytes) -> dict[bytes, bytes]:
    return {known: value for known, value in HEADERS.items() if known != name}


def test_an_exchange_byte_for_byte(served):
    assert neutral(served.send(handshake() + frame(ASK))) == (
        ACCEPTED + b"\x81\x0cSafeTensors \x81\x06model \x81\x07'tiny' \x81\x0d" + DONE
    )


@pytest.mark.parametrize(
    ("name", "value", "status", "text"),
    [
        (b"connection", None, 400, b"Connection header did not include 'upgrade'"),
        (b"connection", b"keep-alive", 400, b"Connection header did not include 'upgrade'"),
        (b"upgrade", None, 400, b"`Upgrade` header did not include 'websocket'"),
        (b"upgrade", b"websocket, h2c", 400, b"`Upgrade` header did not include 'websocket'"),
        (
            b"sec-websocket-version",
            b"8",
            400,
            b"`Sec-WebSocket-Version` header did not include '13'",
        ),
        (b"sec-websocket-key", None, 400, b"`Sec-WebSocket-Key` header missing"),
    ],
)
def test_a_handshake_that_is_refused(served, name, value, status, text):
    headers = without(name) if value is None else HEADERS | {name: value}
    last = b"GET /nope HTTP/1.1\r\nconnection: close\r\n\r\n"
    answer, _, rest = served.send(handshake(headers) + last).partition(b"HTTP/1.1 404 ")
    # The connection goes on after a refusal.
    assert rest
    assert (Answer(answer).status, Answer(answer).body) == (status, text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"connection", b"keep-alive, UPGRADE"),
        (b"connection", b"xupgradex"),
        (b"upgrade", b"WebSocket"),
        (b"sec-websocket-protocol", b"a, b"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
    ],
)
def test_a_handshake_that_is_taken_all_the_same(served, name, value):
    assert neutral(served.send(handshake(HEADERS | {name: value}) + frame(b"{"))).startswith(
        ACCEPTED
    )


def test_a_key_may_be_anything(served):
    raw = served.send(handshake(HEADERS | {b"sec-websocket-key": b""}) + frame(b"{"))
    assert b"sec-websocket-accept: Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=\r\n" in raw


def test_http_1_0_has_no_upgrade(served):
    answer = Answer(served.send(handshake(version=b"HTTP/1.0")))
    assert answer.status == 426
    assert answer.body == (
        b"WebSocket request couldn't be upgraded since no upgrade state was present"
    )


def test_head_is_no_handshake(served):
    answer = served.request("HEAD", "/ws/generate")
    assert (answer.status, answer.body) == (405, b"")
    assert ("content-length", "28") in answer.headers
    assert "allow" not in dict(answer.headers)


def test_a_connection_that_is_to_close_is_upgraded_all_the_same(served):
    raw = served.send(handshake(HEADERS | {b"connection": b"close, upgrade"}) + frame(ASK))
    assert b"101 Switching Protocols\r\nconnection: close\r\nupgrade" in raw
    assert raw.endswith(DONE)


@pytest.mark.parametrize(
    "body",
    [
        (b"content-length: 5", b"hello"),
        (b"transfer-encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_comes_with_the_handshake_is_dropped(served, body):
    assert served.send(handshake(HEADERS, body[0]) + body[1] + frame(ASK)).endswith(DONE)


def test_a_handshake_may_follow_other_requests(served):
    raw = served.send(b"GET /diag HTTP/1.1\r\n\r\n" + handshake() + frame(ASK))
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert raw.endswith(DONE)


@pytest.mark.parametrize(
    "frames",
    [
        [frame(ASK, BINARY)],
        [frame(ASK, mask=b"\0\0\0\0")],
        [frame(ASK[:9], final=False), frame(b"", 0, final=False), frame(ASK[9:], 0)],
        # In the middle of a character.
        [frame(ACCENT[:26], final=False), frame(ACCENT[26:], 0)],
    ],
)
def test_forms_of_a_message(served, frames):
    assert said(served, *frames) == [*TOKENS, DONE]


def test_a_message_may_come_byte_by_byte(served):
    with upgraded(served) as sock:
        for byte in frame(ASK):
            sock.sendall(bytes([byte]))
        assert read_all(sock).endswith(DONE)


@pytest.mark.parametrize(
    "frames",
    [
        [frame(b"x", PING)],
        [frame(b"x", PONG)],
        [frame(b"\x03\xe8", CLOSE)],
        [frame(ASK, mask=b"")],
        [frame(ASK, 3)],
        [frame(ASK, 11)],
        [frame(ASK, reserved=4)],
        [frame(ASK, 0)],
        [frame(b"\xff")],
        [frame(b"{\xff", final=False)],
        [frame(b"{", final=False), frame(b"}")],
        [frame(b"{", final=False), frame(b"x", PING), frame(b"}", 0)],
        [b"\x81\xff" + (16 * 2**20 + 1).to_bytes(8, "big") + b"mask"],
        [b"\x81\xff" + b"\xff" * 8 + b"mask"],
    ],
)
def test_what_is_no_message_ends_the_connection_without_a_word(served, frames):
    assert said(served, *frames) == []


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"", b"bad request: EOF while parsing a value at line 1 column 0"),
        (b"{}", b"bad request: missing field `model` at line 1 column 2"),
        (
            b'{"model":3}',
            b"bad request: invalid type: integer `3`, expected a string at line 1 column 10",
        ),
        (
            b'"x"',
            b'bad request: invalid type: string "x", expected struct GenerateRequest'
            b" at line 1 column 3",
        ),
        (b'{"model":"tiny"} x', b"bad request: trailing characters at line 1 column 18"),
        (b'{"model":"nope"}', b"model not found"),
        (b'{"model":"base-7b"}', b"load failed"),
    ],
)
def test_a_request_that_fails_is_told_and_not_done(served, message, answer):
    assert said(served, frame(message)) == [b'{"error":"' + answer + b'"}']


def test_bad_utf_8_in_a_binary_message_is_replaced(served):
    assert said(served, frame(b'{"model":"\xff"}', BINARY)) == [b'{"error":"model not found"}']


def test_no_tokens_are_done_at_once(served):
    assert said(served, frame(ASK.replace(b":3}", b":0}"))) == [DONE]


def test_what_follows_in_the_same_piece_is_not_looked_at(served):
    assert said(served, frame(ASK), frame(ASK), frame(b"", CLOSE)) == [*TOKENS, DONE]


def test_a_frame_that_comes_during_the_answer_makes_the_end_a_reset(served):
    with upgraded(served) as sock:
        sock.sendall(frame(ASK))
        assert sock.recv(1) == b"\x81"
        sock.sendall(frame(b"", CLOSE))
        with pytest.raises(ConnectionResetError):
            read_to_the_end(sock)


def test_a_client_may_close_its_half(served):
    with upgraded(served) as sock:
        sock.sendall(frame(ASK))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(DONE)


def test_a_client_that_leaves_without_a_message_is_left(served):
    with upgraded(served) as sock:
        sock.sendall(frame(ASK)[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""


@pytest.mark.slow
def test_long_frames(make_shimmy):
    fake = make_shimmy("cpu-only")
    fake.cwd.joinpath("models").mkdir()
    fake.cwd.joinpath("models", "tiny.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with fake.serve() as running:
        for size in (60, 126, 65535, 70000, 300_000):
            message = b'{"model":"tiny","prompt":"%b"}' % (b"x" * size)
            assert b"'%b' " % (b"x" * size) in said(running, frame(message))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=4), st.booleans())
def test_no_bytes_end_the_server(served, pieces, framed):
    with upgraded(served) as sock:
        for piece in pieces:
            try:
                sock.sendall(frame(piece) if framed else piece)
            except ConnectionError:
                break
    assert served.request("GET", "/health").status == 200
