"""Tests of hypothesis: each example finds our fixtures as a test of its own would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.consumer_suite import PATIENT_HYPOTHESIS

pytestmark = pytest.mark.slow

SUITE = """
import json, urllib.error, urllib.request
import hypothesis, pytest
from hypothesis import given, strategies as st

FEW = hypothesis.settings(
    max_examples=5, deadline=None, database=None, phases=[hypothesis.Phase.generate]
)

def ask(server, key, text="x"):
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": "placeholder", "messages": messages, "stream": False})
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    asked = urllib.request.Request(server + "/v1/chat/completions", body.encode(), headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def examples(pytester: pytest.Pytester, run: Run) -> Callable[..., pytest.RunResult]:
    """Runs a test file."""

    def run_examples(text: str, *arguments: str) -> pytest.RunResult:
        pytester.makeconftest(PATIENT_HYPOTHESIS)
        pytester.makepyfile(SUITE + text)
        return run("-p", "hypothesispytest", *arguments)

    return run_examples


def test_no_example_finds_what_another_has_scripted_or_asked(
    examples: Callable[..., pytest.RunResult],
) -> None:
    result = examples(
        """
@FEW
@given(st.integers())
@pytest.mark.parametrize("one", [1, 2])
def test_it(shimmy_fake, one, number):
    assert shimmy_fake.requests == []
    assert ask(shimmy_fake.server_url, shimmy_fake.api_key).startswith("Reply ")
    shimmy_fake.reply(str(number))
    assert ask(shimmy_fake.server_url, shimmy_fake.api_key) == str(number)
    assert len(shimmy_fake.requests) == 2
"""
    )
    result.assert_outcomes(passed=2)


def test_the_health_check_stays_for_fixtures_of_others(
    examples: Callable[..., pytest.RunResult],
) -> None:
    result = examples(
        """
@FEW
@given(st.integers())
def test_it(shimmy_fake, monkeypatch, number):
    pass
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*uses a function-scoped fixture*")


def test_an_example_fails_for_what_a_strict_test_fails_for(
    examples: Callable[..., pytest.RunResult],
) -> None:
    result = examples(
        """
@FEW
@given(st.integers())
def test_it(shimmy_fake, number):
    shimmy_fake.strict = True
    if number == 0:
        shimmy_fake.reply("never asked for")
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*not used up: rule 1 (never used)*")


def test_a_server_of_an_example_is_gone_before_the_next(
    examples: Callable[..., pytest.RunResult],
) -> None:
    result = examples(
        """
made = []

@FEW
@given(st.integers())
def test_it(make_shimmy_server, number):
    for url in made:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url + "/health", timeout=30)
    made.append(make_shimmy_server().url)

def test_several():
    assert len(made) > 1
""",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_asynchronous_examples_begin_anew_too(
    examples: Callable[..., pytest.RunResult], plugin: str
) -> None:
    result = examples(
        f"""
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.{plugin}
@FEW
@given(st.integers())
async def test_it(shimmy_fake, number):
    assert shimmy_fake.requests == []
    ask(shimmy_fake.server_url, shimmy_fake.api_key)
""",
        "-p",
        plugin,
    )
    result.assert_outcomes(passed=1)


def test_what_a_test_sets_for_hypothesis_stays(
    examples: Callable[..., pytest.RunResult],
) -> None:
    result = examples(
        """
count = 0

@hypothesis.settings(max_examples=7, deadline=None)
@given(st.integers())
def test_it(shimmy_fake, number):
    global count
    count += 1

def test_count():
    assert count == 7
""",
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=2)
