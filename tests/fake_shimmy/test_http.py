"""The wire: heads, routes, framing and what bad clients do. Expected bytes: real 2.5.0."""

from __future__ import annotations

import re
import select
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.fake_process import TOY_MODEL, Answer, drained, neutral, read_all
from tests.support.staged_server import take_all

CORS = (
    b"access-control-allow-origin: *\r\n"
    b"access-control-allow-methods: GET, POST, OPTIONS\r\n"
    b"access-control-allow-headers: Content-Type, Authorization\r\n"
    b"access-control-max-age: 86400\r\n"
)
BAD = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: D\r\n\r\n"
CHAT = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}],"stream":false,"max_tokens":1}'
HEALTH = (
    b'{"compatibility":{"cors":true,"openai":true},"endpoints":{"chat":"/v1/chat/completions",'
    b'"generate":"/api/generate","health":"/health","models":"/v1/models"},"models":'
    b'{"discovered":2,"manual":2,"total":2},"service":"shimmy","status":"ok",'
    b'"timestamp":"T","uptime_seconds":0,"version":"2.5.0"}'
)


def post(body: bytes, *headers: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"content-type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def test_health_byte_for_byte(served):
    raw = served.send(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
    length = len(Answer(raw).body)
    assert neutral(raw) == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        + CORS
        + b"content-length: %d\r\nconnection: close\r\ndate: D\r\n\r\n" % length
        + HEALTH
    )


def test_times_have_their_formats(served):
    raw = served.send(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert re.search(rb"date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", raw)
    stamp = re.search(rb'"timestamp":"(.*?)"', raw)
    assert stamp is not None
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}){1,3})?\+00:00", stamp[1])


def test_models_are_sorted(served):
    assert neutral(served.request("GET", "/v1/models").body) == (
        b'{"object":"list","data":[{"id":"base-7b","object":"model","created":0,"owned_by":'
        b'"shimmy"},{"id":"tiny","object":"model","created":0,"owned_by":"shimmy"}]}'
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/health/", 404, None),
        ("GET", "/v1/models/tiny", 404, None),
        ("HEAD", "/nope", 404, None),
        ("CONNECT", "x:1", 404, None),
        ("DELETE", "/health", 405, "GET,HEAD"),
        ("get", "/health", 405, "GET,HEAD"),
        ("FOO", "/v1/chat/completions", 405, "POST"),
        ("HEAD", "/v1/chat/completions", 405, "POST"),
        ("GET", "/api/models/x/load", 405, "POST"),
        ("OPTIONS", "/nope", 200, None),
        ("OPTIONS", "/health", 200, "GET,HEAD"),
        ("OPTIONS", "/v1/chat/completions", 200, "POST"),
        ("OPTIONS", "*", 200, None),
    ],
)
def test_routing(served, method, path, status, allow):
    answer = served.request(method, path)
    assert answer.status == status
    assert dict(answer.headers).get("allow") == allow
    assert answer.body == b""
    assert "content-type" not in dict(answer.headers)
    assert CORS in answer.raw
    # Hyper adds the length of an empty body after everything else but the date; not for HEAD.
    last = ["connection", "content-length", "date"]
    if method == "HEAD":
        last[:2] = reversed(last[:2])
    assert [name for name, _ in answer.headers[-3:]] == last


@pytest.mark.parametrize("target", ["/health?a=b", "http://h/health", "/health#x"])
def test_only_the_path_counts(served, target):
    assert served.request("GET", target).status == 200


def test_head_has_the_length_and_no_body(served):
    head, get = (served.request(method, "/v1/models") for method in ("HEAD", "GET"))
    assert head.body == b""
    assert neutral(head.raw) == neutral(get.head + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        (
            "POST",
            "/api/models/a%2Fb/load",
            b'{"message":"Model a/b load requested","status":"pending"}',
        ),
        (
            "POST",
            "/api/models//unload",
            b'{"message":"Model  unload requested","status":"pending"}',
        ),
        ("GET", "/api/models/x/status", b'{"loaded":false,"model":"x","status":"unknown"}'),
        ("GET", "/api/models/%ff/status", b"Invalid URL: Invalid UTF-8 in `name`"),
        ("GET", "/api/tools", b'{"tools":[]}'),
        (
            "POST",
            "/api/models/discover",
            b'{"discovered":2,"models":[{"model_type":"Unknown","name":"base-7b",'
            b'"parameter_count":"7B","size_bytes":4,"source":"discovered"},{"model_type":'
            b'"Unknown","name":"tiny","parameter_count":null,"size_bytes":10,"source":'
            b'"discovered"}]}',
        ),
    ],
)
def test_small_routes(served, method, path, body):
    assert served.request(method, path).body == body


def test_api_models_lists_registered_and_discovered(served):
    body = served.request("GET", "/api/models").body
    assert (
        body.count(
            b'"size_bytes":null,"model_type":null,"parameter_count":null,"source":"registered"'
        )
        == 2
    )
    assert (
        b'{"name":"base-7b","size_bytes":4,"model_type":"Unknown","parameter_count":"7B",'
        b'"source":"discovered"}' in body
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/json", 200),
        (b"Application/Vnd.X+JSON; charset=utf-8", 200),
        (b"application/json;", 200),
        (b"text/json", 415),
        (b"application/json; charset", 415),
        (b"application/json x", 415),
    ],
)
def test_the_content_type_is_checked(served, kind, status):
    request = post(CHAT, b"connection: close").replace(b"application/json", kind, 1)
    answer = Answer(served.send(request))
    assert answer.status == status
    if status == 415:
        assert answer.body == b"Expected request with `Content-Type: application/json`"


def test_two_mebibytes_are_the_limit(served):
    fits = served.chat(CHAT.rjust(2 * 1024 * 1024))
    assert fits.status == 200
    long = served.chat(CHAT.rjust(2 * 1024 * 1024 + 1))
    assert (long.status, long.body) == (
        413,
        b"Failed to buffer the request body: length limit exceeded",
    )


def test_requests_are_answered_in_order_on_one_connection(served):
    raw = served.send(
        b"GET /health HTTP/1.1\r\n\r\n"
        + post(CHAT.replace(b"false", b"true"))
        + post(CHAT) * 40
        + b"GET /nope HTTP/1.1\r\nconnection: close\r\n\r\n"
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"200"] * 42 + [b"404"]


def test_a_request_may_come_byte_by_byte(served):
    request = post(CHAT, b"connection: close")
    assert Answer(served.send(*(bytes((byte,)) for byte in request))).status == 200


def test_a_body_may_come_in_chunks(served):
    head = post(b"", b"transfer-encoding: chunked", b"connection: close").replace(
        b"\r\ncontent-length: 0", b""
    )
    body = b"a;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\nt: u\r\n\r\n" % (CHAT[:10], len(CHAT) - 10, CHAT[10:])
    assert Answer(served.send(head, body)).status == 200


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\n{}x", b"2\n{}\r\n"])
def test_a_body_with_broken_chunks_is_a_400(served, body):
    head = post(b"", b"transfer-encoding: chunked").replace(b"\r\ncontent-length: 0", b"")
    answer = Answer(served.send(head + body))
    assert (answer.status, answer.body) == (
        400,
        b"Failed to buffer the request body: error reading a body from connection",
    )


@pytest.mark.parametrize(
    ("extension", "trailers", "status"),
    [
        (b";" + b"x" * 16383, b"", 200),
        (b";" + b"x" * 16384, b"", 400),
        (b"", b"t: u\r\n" * 100, 200),
        (b"", b"t: u\r\n" * 101, 400),
        (b"", b"t: " + b"u" * 16376 + b"\r\n", 200),
        (b"", b"t: " + b"u" * 16377 + b"\r\n", 400),
        (b"", b"no header\r\n", 400),
    ],
)
def test_what_surrounds_chunks_has_its_limits(served, extension, trailers, status):
    head = post(b"", b"transfer-encoding: chunked", b"connection: close").replace(
        b"content-length: 0\r\n", b""
    )
    chunk = b"%x%b\r\n%b\r\n" % (len(CHAT), extension, CHAT)
    assert Answer(served.send(head + chunk + b"0\r\n" + trailers + b"\r\n")).status == status


def test_a_client_that_waits_is_told_to_continue(served):
    request = post(CHAT, b"expect: 100-continue", b"connection: close")
    end = request.index(b"\r\n\r\n") + 4
    with served.connect() as sock:
        sock.sendall(request[:end])
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(request[end:])
        assert Answer(read_all(sock)).status == 200


def test_an_answer_before_the_body_ends_the_connection(served):
    raw = served.send(b"POST /nope HTTP/1.1\r\ncontent-length: 50\r\n\r\nhello")
    assert raw.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"connection: close" not in raw


def test_http_1_0_streams_until_the_end(served):
    request = post(CHAT.replace(b"false", b"true")).replace(b"HTTP/1.1", b"HTTP/1.0")
    raw = served.send(request)
    assert raw.startswith(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n")
    assert b"transfer-encoding" not in raw
    assert raw.endswith(b"\n\ndata: [DONE]\n\n")


def test_http_1_0_may_be_kept_alive(served):
    raw = served.send(
        b"GET /nope HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /nope HTTP/1.0\r\n\r\n"
    )
    assert raw.count(b"connection: keep-alive\r\n") == 1
    assert raw.count(b"HTTP/1.0 404 Not Found\r\n") == 2


@pytest.mark.parametrize(
    "request_",
    [
        b"hello world\r\n\r\n",
        b"\x16\x03\x01\x00\xc8",
        b"GET /health HTTP/3.0\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /he<alth HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nho st: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\na: \x00\r\n\r\n",
        b"POST /nope HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
        b"POST /nope HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_the_bare_400(served, request_):
    assert neutral(served.send(request_)) == BAD


def test_limits_of_a_head(served):
    assert served.send(b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 70000)).startswith(
        b"HTTP/1.1 414 URI Too Long\r\n"
    )
    headers = b"".join(b"a%d: b\r\n" % number for number in range(101))
    assert served.send(b"GET / HTTP/1.1\r\n%b\r\n" % headers).startswith(
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    )


def test_lines_may_end_with_a_bare_line_feed(served):
    raw = served.send(b"\r\n\nGET /nope HTTP/1.1\nconnection: close\n\n")
    assert raw.startswith(b"HTTP/1.1 404 Not Found\r\n")


def alive(served) -> bool:
    return served.request("GET", "/health").status == 200


@pytest.mark.slow
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([post(CHAT), b"GET /health HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"0\r\n"]),
        ),
        max_size=6,
    )
)
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_no_bytes_end_the_server(served, pieces):
    with served.connect() as sock:
        for piece in pieces:
            try:
                sock.sendall(piece)
            except OSError:
                break
        sock.close()
    assert alive(served)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["model", "messages", "role", "content", "stop", "max_tokens", "x"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_any_json_gets_an_answer(served, value):
    import json

    answer = served.chat(json.dumps(value).encode())
    assert answer.status in (200, 400, 404, 422)


def test_a_client_that_leaves_in_mid_stream_harms_nobody(served):
    for _ in range(20):
        with served.connect() as sock:
            sock.sendall(post(CHAT.replace(b"false", b"true").replace(b":1}", b":9}")))
            assert sock.recv(20).startswith(b"HTTP/1.1 200 OK")
    assert alive(served)


@pytest.mark.slow
def test_a_client_that_does_not_read_does_not_make_the_server_grow(shimmy):
    with shimmy.serve(SHIMMY_BASE_GGUF="x") as running, running.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        sent = 0
        request = b"GET /health HTTP/1.1\r\n\r\n" * 1000
        # The server stops reading once nobody takes its answers, so sending stops as well.
        while select.select([], [sock], [], 1)[1]:
            sent += sock.send(request)
            assert sent < 64 * 1024 * 1024
        assert running.request("GET", "/health").status == 200


@pytest.mark.slow
def test_many_streams_run_at_once(served):
    socks = [served.connect() for _ in range(200)]
    for sock in socks:
        sock.sendall(
            post(CHAT.replace(b"false", b"true").replace(b":1}", b":30}"), b"connection: close")
        )
    assert alive(served)
    for sock in socks:
        with sock:
            assert read_all(sock).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(("sent", "end"), [(PREFACE, "FIN"), (PREFACE + SETTINGS, "RST")])
def test_http_2_with_prior_knowledge_ends_as_with_the_real_one(served, sent, end):
    # The real one reads the preface and no further, so what follows it makes the end a reset.
    with served.connect() as sock:
        sock.sendall(sent)
        assert take_all(sock) == (b"", end)


@pytest.mark.parametrize(("release", "answers"), [("2.6.5", True), ("2.5.0", False)])
def test_an_empty_line_after_a_bare_lf_ends_a_head_since_2_6_5(make_shimmy, release, answers):
    """Seen on both. The head is longer than what a connection's beginning is looked at."""
    fake = make_shimmy("cpu-only", release=release)
    (fake.cwd / "models").mkdir()
    (fake.cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    with fake.serve() as running, drained(running), running.connect() as sock:
        sock.sendall(b"GET /nope HTTP/1.1\r\nhost: a\r\nconnection: close\n\r\n")
        if answers:
            assert read_all(sock).startswith(b"HTTP/1.1 404 Not Found\r\n")
        else:
            # One that it does see ends the head that it waits for.
            sock.sendall(b"\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 404 Not Found\r\n")
