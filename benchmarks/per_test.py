"""One more test: what it costs the suite, set-up to tear-down.

One that uses what the plugin gives and does nothing; and one that scripts a reply, has the openai
client ask for it, and asserts what was asked, here and with pytest-httpserver.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from . import pytest_run
from .bench import Bench, is_installed, not_installed
from .figures import (
    Figure,
    Missing,
    Result,
    Target,
    interleave,
    paired_difference,
    paired_ratio,
)
from .programs import hermetic

NOTHING = "no fixture"
FIXTURES = {NOTHING: "", "shimmy_server": "shimmy_server", "shimmy_fake": "shimmy_fake"}
ADDED = {"shimmy_server": Target(0.15), "shimmy_fake": Target(0.6)}
TESTS = 200

SUITE = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_nothing(n{fixture}):
    pass
"""

TIMED = """
import pathlib, statistics, time
import pytest

durations = []

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol():
    began = time.perf_counter()
    result = yield
    durations.append(time.perf_counter() - began)
    return result

def pytest_sessionfinish():
    # The first test starts the server, the last one ends it.
    median = statistics.median(durations[1:-1])
    pathlib.Path("median").write_text(repr(1000 * median))
"""


ASKS = """
import pytest

MESSAGES = [{{"role": "user", "content": "France?"}}]

def asked(client, model="placeholder"):
    answer = client.chat.completions.create(model=model, messages=MESSAGES)
    return answer.choices[0].message.content
"""
OPENAI = (
    ASKS
    + """
@pytest.mark.parametrize("n", range({count}))
def test_openai(n, shimmy_openai_client):
    assert asked(shimmy_openai_client)
"""
)
SCRIPTED = (
    ASKS
    + """
@pytest.mark.parametrize("n", range({count}))
def test_scripted(n, shimmy_fake, shimmy_openai_client):
    shimmy_fake.reply("Paris")
    assert asked(shimmy_openai_client) == "Paris"
    shimmy_fake.assert_requested(user="France?")
"""
)
HTTPSERVER = (
    ASKS
    + """
COMPLETION = {{
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "placeholder",
    "choices": [{{"index": 0, "finish_reason": "stop",
                 "message": {{"role": "assistant", "content": "Paris"}}}}],
}}

@pytest.fixture(scope="session")
def client(make_httpserver):
    import openai
    url = make_httpserver.url_for("/v1")
    with openai.OpenAI(base_url=url, api_key="key", max_retries=0) as client:
        yield client

@pytest.mark.parametrize("n", range({count}))
def test_httpserver(n, httpserver, client):
    expected = httpserver.expect_request("/v1/chat/completions", method="POST")
    expected.respond_with_json(COMPLETION)
    assert asked(client) == "Paris"
    (request, _), = httpserver.log
    assert request.get_json()["messages"][-1]["content"] == "France?"
"""
)
PEER = "the same with pytest-httpserver"
SCRIPTED_NAME = "scripted reply, one openai call, one assertion"


def measure(bench: Bench) -> Iterator[Result]:
    subjects = {name: _fixture(bench, name, fixture) for name, fixture in FIXTURES.items()}
    yield from _nothing(bench, subjects)
    if not is_installed("openai"):
        yield Missing(SCRIPTED_NAME, not_installed("openai"))
        return
    yield from _scripted(bench)


def _scripted(bench: Bench) -> Iterator[Result]:
    alone = "one openai call"
    subjects = {
        alone: _suite(bench, "openai", OPENAI, "shimmy"),
        SCRIPTED_NAME: _suite(bench, "scripted", SCRIPTED, "shimmy"),
    }
    if is_installed("pytest_httpserver"):
        subjects[PEER] = _suite(bench, "httpserver", HTTPSERVER, "pytest_httpserver")
    else:
        yield Missing(PEER, not_installed("pytest-httpserver"))
    values = interleave(bench.rounds(7, 3), subjects)
    for name, found in values.items():
        ratio = target = None
        if name == SCRIPTED_NAME and PEER in values:
            ratio, target = paired_ratio(found, values[PEER]), Target(1.0, of_ratio=True)
        yield Figure(name, "ms", found, ratio, "pytest-httpserver" if ratio else "", target)


def _nothing(bench: Bench, subjects: dict[str, Callable[[], float]]) -> Iterator[Result]:
    values = interleave(bench.rounds(7, 3), subjects)
    for name, found in values.items():
        yield Figure(name, "ms", found, note=f"median of {TESTS} tests, set-up to tear-down")
    for name, found in values.items():
        if name != NOTHING:
            added = paired_difference(found, values[NOTHING])
            yield Figure(f"added by {name}", "ms", added, target=ADDED[name])


def _fixture(bench: Bench, name: str, fixture: str) -> Callable[[], float]:
    arguments = f", {fixture}" if fixture else ""
    text = SUITE.format(count="{count}", fixture=arguments)
    return _suite(bench, name.replace(" ", "_"), text, "shimmy")


def _suite(bench: Bench, name: str, text: str, plugin: str) -> Callable[[], float]:
    directory = bench.subdirectory(f"per_test_{name}")
    (directory / "test_it.py").write_text(text.format(count=TESTS))
    (directory / "conftest.py").write_text(TIMED)
    environment = {**os.environ, **hermetic(bench)}
    command = pytest_run.command((plugin,), "-q")

    def run() -> float:
        pytest_run.run(command, directory, environment)
        return float((directory / "median").read_text())

    return run
