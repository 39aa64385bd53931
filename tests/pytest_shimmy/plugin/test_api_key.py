"""The setting ``api-key``: who is given it, who sends it, who is refused without it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_shimmy import Settings, ShimmyError, ShimmyErrorCode
from pytest_shimmy.executable.dialect import READS_ACCESS, access_problems, numbers
from pytest_shimmy.executable.identify import identify
from pytest_shimmy.launch.plan import plan
from pytest_shimmy.launch.target import Targets
from pytest_shimmy.server import attach, shimmy_env
from tests.support.consumer_suite import CHAT, Run

KEY = "a-key-of-at-least-16-characters"


@pytest.fixture
def keyed_shimmy(real_shimmy: Path) -> Path:
    """The real executable, if it is of a release that reads keys."""
    version = identify(str(real_shimmy)).version
    if numbers(version) < READS_ACCESS:
        pytest.skip(f"shimmy {version} knows no keys; 2.6.5 does")
    return real_shimmy


# Whom it is given to


def test_variables_of_the_users_shell_do_not_reach_servers_that_tests_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_API_KEY", "of-the-users-own-server")
    monkeypatch.setenv("SHIMMY_ALLOWED_ORIGINS", "*")
    for settings, key in (
        (Settings(), None),
        (Settings().but(api_key=KEY), KEY),
        (Settings().but(env={"SHIMMY_API_KEY": KEY}), KEY),
        (Settings().but(api_key="another-key-0123456789", env={"SHIMMY_API_KEY": KEY}), KEY),
    ):
        options = plan(Targets().of(settings), tmp_path).options
        environment = options.environment({"SHIMMY_API_KEY": "x", "SHIMMY_ALLOWED_ORIGINS": "*"})
        assert environment.get("SHIMMY_API_KEY") == key
        assert "SHIMMY_ALLOWED_ORIGINS" not in environment
    options = plan(
        Targets().of(Settings().but(env={"SHIMMY_ALLOWED_ORIGINS": "http://a"})), tmp_path
    ).options
    assert options.env["SHIMMY_ALLOWED_ORIGINS"] == "http://a"


def test_an_attached_server_is_asked_with_the_setting_else_with_the_environments_key() -> None:
    attached = Settings().but(url="http://127.0.0.1:9")
    environ = {"SHIMMY_API_KEY": "from-environment", "OPENAI_API_KEY": "sk-real"}
    assert attached.server_key(environ) == "from-environment"
    assert attached.but(api_key=KEY).server_key(environ) == KEY
    assert attached.server_key({"OPENAI_API_KEY": "sk-real"}) is None
    assert attached.server_key({"SHIMMY_API_KEY": ""}) is None
    assert Settings().server_key(environ) is None, "that one is started without"


# Servers that refuse


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server that answers 401 to all but /health with no key, and says what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                head = peer.recv(65536).decode()
                allowed = head.startswith("GET /health ") or f"Bearer {KEY}\r\n" in head
                model = {"id": "m", "sent": KEY in head}
                body = json.dumps({"service": "shimmy", "version": "2.6.5", "data": [model]})
                status = "200 OK" if allowed else "401 Unauthorized"
                peer.sendall(
                    f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
                )

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_refusal_says_which_setting_to_use(
    refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-somebody-else")
    server = attach(Settings().but(url=refusing))
    assert server.api_key == "shimmy"
    for ask in (server.models, lambda: server.model):
        with pytest.raises(ShimmyError, match=r"wants an API key[\s\S]*--shimmy-api-key") as caught:
            ask()
        assert caught.value.code is ShimmyErrorCode.ACCESS_DENIED
    wrong = attach(Settings().but(url=refusing, api_key="another-key-0123456789"))
    with pytest.raises(ShimmyError, match="does not accept the API key") as caught:
        wrong.models()
    assert "another-key" not in str(caught.value)


@pytest.mark.slow
def test_the_key_is_sent_by_health_models_clients_and_shimmy_env(refusing: str) -> None:
    server = attach(Settings().but(url=refusing, api_key=KEY))
    assert server.models() == ["m"]
    with server.openai_client() as client:
        assert [model.id for model in client.models.list()] == ["m"]
    assert shimmy_env(server, {})["OPENAI_API_KEY"] == KEY
    assert KEY not in repr(server.settings)


@pytest.mark.slow
def test_the_command_line_sends_it(refusing: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest_shimmy.cli", "doctor", "--json"]
    command.append(f"--shimmy-url={refusing}")
    for key, can_start in ((KEY, True), ("another-key-0123456789", False)):
        done = subprocess.run(
            [*command, f"--shimmy-api-key={key}"], cwd=tmp_path, capture_output=True, text=True
        )
        found = json.loads(done.stdout)
        assert found["can_start"] is can_start, found["problems"]
        assert key not in done.stdout
        assert can_start or "ACCESS_DENIED" in found["problems"][0]


# Before a session


@pytest.mark.parametrize(
    ("key", "origins", "problem"),
    [
        (KEY, None, None),
        (None, " http://127.0.0.1:3000/ , https://[::1]:3000,,", None),
        ("short", None, "at least 16"),
        ("with a space in its middle", None, "at least 16"),
        ("ü" * 20, None, "at least 16"),
        (None, "*", "exact origins"),
        (None, "example.com", "exact origins"),
        (None, "http://a/path", "exact origins"),
        (None, "http://EXAMPLE.com", "exact origins"),
        (None, "http://a:80", "exact origins"),
        (None, "http://a, ftp://b", "'ftp://b'"),
    ],
)
def test_what_shimmy_will_refuse_is_known_before_it_starts(
    key: str | None, origins: str | None, problem: str | None
) -> None:
    found = access_problems("2.6.5", key, origins)
    assert [problem in each for each in found] == ([] if problem is None else [True])
    assert access_problems("2.5.0", key, origins) == []


@pytest.mark.shimmy_real
@pytest.mark.parametrize(
    "variable",
    ["SHIMMY_API_KEY=short", "SHIMMY_ALLOWED_ORIGINS=*", "SHIMMY_ALLOWED_ORIGINS=http://a:80"],
)
def test_the_real_one_refuses_what_doctor_names(
    pytester: pytest.Pytester, run: Run, keyed_shimmy: Path, variable: str
) -> None:
    arguments = [
        f"--shimmy-path={keyed_shimmy}", "--shimmy-tiny-model",
        f"--shimmy-env={variable}",
    ]  # fmt: skip
    doctor = subprocess.run(
        [sys.executable, "-m", "pytest_shimmy.cli", "doctor", *arguments],
        cwd=pytester.path, capture_output=True, text=True,
    )  # fmt: skip
    assert doctor.returncode == 1
    assert "is refused by shimmy" in doctor.stdout
    pytester.makepyfile(CHAT)
    result = run(*arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(f"*| Error: {variable.partition('=')[0]} must contain*")


# The real one with a key

REFUSES = """
import httpx, os
def test_only_the_key_is_let_in(shimmy_server, shimmy_model, shimmy_env):
    url = shimmy_server.base_url + "/models"
    key = os.environ["OPENAI_API_KEY"]
    assert httpx.get(url, headers={"authorization": f"Bearer {key}"}).status_code == 200
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
def test_a_private_one_with_a_key_of_its_own(make_shimmy_server):
    server = make_shimmy_server(env={"SHIMMY_API_KEY": "a-private-key-0123456789"})
    assert server.models()
    assert server.api_key == "a-private-key-0123456789"
"""


@pytest.mark.shimmy_real
@pytest.mark.parametrize(("by", "workers"), [("flag", "0"), ("variable", "4"), ("ini", "0")])
def test_a_suite_passes_on_the_real_one_with_a_key(
    pytester: pytest.Pytester,
    run: Run,
    keyed_shimmy: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: str,
    by: str,
) -> None:
    if by == "variable":
        monkeypatch.setenv("PYTEST_SHIMMY_API_KEY", KEY)
    elif by == "ini":
        pytester.makeini(f"[pytest]\nshimmy_api_key = {KEY}\n")
    pytester.makepyfile(CHAT + REFUSES.replace("httpx", "requests"))
    flags = [f"--shimmy-api-key={KEY}"] if by == "flag" else []
    result = run(*flags, f"--shimmy-path={keyed_shimmy}", "--shimmy-tiny-model", "-n", workers)
    result.assert_outcomes(passed=3)
    assert KEY not in result.stdout.str()


# The fake with a key

ISOLATED = """
import requests
from openai import OpenAI

def ask(client, model):
    answer = client.chat.completions.create(
        model=model, stream=False, messages=[{"role": "user", "content": "?"}])
    return answer.choices[0].message.content

def test_scripted(shimmy_server, shimmy_fake, shimmy_openai_client, shimmy_env, shimmy_model):
    shimmy_fake.reply("mine")
    with OpenAI() as application:
        assert [ask(shimmy_openai_client, shimmy_model), ask(application, shimmy_model)] == (
            ["mine"] * 2)
    assert len(shimmy_fake.requests) == 2
    for headers in ({}, {"authorization": "Bearer wrong"}):
        assert requests.get(f"{shimmy_server.url}/v1/models", headers=headers).status_code == 401

def test_unscripted(shimmy_openai_client, shimmy_env, shimmy_model):
    assert ask(shimmy_openai_client, shimmy_model) != "mine"
    with OpenAI() as application:
        assert ask(application, shimmy_model) != "mine"
"""

ONLY_SESSION = """
def test_the_bare_key_is_that_of_the_only_session(shimmy_server, shimmy_fake, shimmy_model):
    shimmy_fake.reply("mine")
    bare = OpenAI(base_url=shimmy_server.url + "/v1", api_key=shimmy_server.api_key)
    with bare:
        assert ask(bare, shimmy_model) == "mine"
    shimmy_fake.assert_requested(path="/v1/chat/completions", count=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "suite"), [("0", ISOLATED + ONLY_SESSION), ("4", ISOLATED)])
def test_with_a_key_tests_are_told_apart_on_the_shared_fake_and_strangers_are_refused(
    pytester: pytest.Pytester, run: Run, workers: str, suite: str
) -> None:
    pytester.makepyfile(suite)
    result = run("--shimmy-fake-version=2.6.5", f"--shimmy-api-key={KEY}", "-n", workers)
    result.assert_outcomes(passed=suite.count("def test_"))
