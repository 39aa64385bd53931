"""Who may ask a 2.6.5: keys, origins, preflights, and the addresses that it refuses.

Every expectation was seen on the real 2.6.5, CPU-only build.
"""

from __future__ import annotations

import json

import pytest

from tests.support.fake_process import TOY_MODEL

KEY = "abcdefghijklmnop"
PAGE = "http://localhost:3000"
UNAUTHORIZED = (
    b'{"error":{"message":"Valid API credentials required","type":"authentication_error"}}'
)
FORBIDDEN = b'{"error":{"message":"Browser origin is not allowed","type":"permission_error"}}'
CORS = [
    ("access-control-allow-origin", PAGE),
    ("vary", "Origin"),
    ("access-control-allow-methods", "GET, POST, OPTIONS"),
    (
        "access-control-allow-headers",
        "Content-Type, Authorization, X-Api-Key, Anthropic-Version",
    ),
    ("access-control-max-age", "600"),
]


@pytest.fixture
def fake(make_shimmy):
    fake = make_shimmy("cpu-only", release="2.6.5")
    (fake.cwd / "models").mkdir()
    (fake.cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    return fake


@pytest.fixture
def keyed(fake):
    with fake.serve(SHIMMY_API_KEY=KEY, SHIMMY_ALLOWED_ORIGINS=PAGE) as running:
        yield running


def test_everything_but_a_health_check_needs_the_key(keyed):
    assert keyed.request("GET", "/health").status == 200
    for method, path in [
        ("HEAD", "/health"),
        ("POST", "/health"),
        ("GET", "/health/"),
        ("GET", "/v1/models"),
        ("GET", "/nope"),
        ("POST", "/v1/chat/completions"),
    ]:
        answer = keyed.request(method, path)
        assert answer.status == 401, path
        assert ("www-authenticate", "Bearer") in answer.headers
    assert keyed.request("GET", "/nope").body == UNAUTHORIZED
    allowed = dict(keyed.request("PUT", "/v1/chat/completions").headers)["allow"]
    assert allowed == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bEaReR {KEY}"},
        {"x_api_key": KEY},
        {"authorization": "Bearer wrong", "x_api_key": KEY},
    ],
)
def test_one_right_key_is_enough(keyed, headers):
    assert keyed.request("GET", "/v1/models", **headers).status == 200
    assert keyed.request("GET", "/nope", **headers).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": KEY},
        {"authorization": f"Bearer  {KEY}"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {KEY.upper()}"},
        {"api_key": KEY},
        {"x_api_key": f"Bearer {KEY}"},
        {},
    ],
)
def test_any_other_form_is_not(keyed, headers):
    answer = keyed.request("GET", "/v1/models", **headers)
    assert (answer.status, answer.body) == (401, UNAUTHORIZED)


def test_an_allowed_page_may_read_every_answer(keyed):
    for method, path, status in [
        ("GET", "/health", 200),
        ("GET", "/v1/models", 401),
        ("OPTIONS", "/v1/models", 204),
        ("OPTIONS", "/nope", 204),
    ]:
        answer = keyed.request(method, path, origin=PAGE)
        assert answer.status == status
        assert [header for header in answer.headers if header in CORS] == CORS


@pytest.mark.parametrize("origin", ["http://evil.example", f"{PAGE}/", "null", ""])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_no_other_page_may_ask_anything(keyed, method, origin):
    answer = keyed.request(method, "/health", origin=origin)
    assert (answer.status, answer.body) == (403, FORBIDDEN)
    assert not [name for name, _ in answer.headers if name.startswith("access-control")]


def test_without_a_page_there_are_no_headers_for_one_and_options_is_refused(keyed):
    answer = keyed.request("OPTIONS", "/health")
    assert (answer.status, dict(answer.headers)["allow"]) == (400, "GET,HEAD")
    names = [name for name, _ in keyed.request("GET", "/health").headers]
    assert names == ["content-type", "connection", "content-length", "date"] or names == [
        *("content-type", "content-length", "connection", "date")
    ]


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        (
            {"SHIMMY_API_KEY": "x" * 15},
            "SHIMMY_API_KEY must contain at least 16 printable ASCII characters without spaces",
        ),
        (
            {"SHIMMY_API_KEY": "x" * 15 + " ", "SHIMMY_ALLOWED_ORIGINS": "*"},
            "SHIMMY_API_KEY must contain at least 16 printable ASCII characters without spaces",
        ),
        (
            {"SHIMMY_ALLOWED_ORIGINS": "http://a.b,*"},
            "SHIMMY_ALLOWED_ORIGINS must contain HTTP(S) origins",
        ),
        (
            {"SHIMMY_ALLOWED_ORIGINS": "http://a.b/x"},
            "SHIMMY_ALLOWED_ORIGINS must contain exact HTTP(S) origins, without paths or wildcards",
        ),
        (
            {},
            "Non-loopback binds require SHIMMY_API_KEY; "
            "use 127.0.0.1 for local unauthenticated access",
        ),
    ],
)
def test_what_a_server_does_not_start_with_is_refused_after_the_banner(fake, environ, complaint):
    status, out, err = fake.run("serve", "--bind", "0.0.0.0:0", **environ)
    assert (status, err) == (1, f"Error: {complaint}\n")
    assert "✅ Ready to serve requests\n" in out


@pytest.mark.parametrize(
    ("origin", "is_exact"),
    [
        ("http://[::1]:3000", True),
        ("https://a.b//", True),
        ("http://EXAMPLE.com", False),
        ("http://example.com:80", False),
        ("http://u@example.com", False),
        ("http://127.1", False),
        ("ftp://example.com", False),
    ],
)
def test_an_origin_is_written_as_a_browser_writes_it(fake, origin, is_exact):
    # An address that is refused afterwards, so that nothing listens.
    arguments = ("serve", "--bind", "0.0.0.0:0")
    _, _, err = fake.run(*arguments, SHIMMY_ALLOWED_ORIGINS=origin)
    assert err.startswith("Error: Non-loopback" if is_exact else "Error: SHIMMY_ALLOWED_ORIGINS")


def test_older_releases_look_at_none_of_it(make_shimmy):
    fake = make_shimmy("cpu-only", release="2.5.0")
    (fake.cwd / "models").mkdir()
    (fake.cwd / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    with fake.serve(SHIMMY_API_KEY="short", SHIMMY_ALLOWED_ORIGINS="*") as running:
        answer = running.request("GET", "/v1/models", origin="http://evil.example")
    assert answer.status == 200
    assert json.loads(answer.body)["data"]
