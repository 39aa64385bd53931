"""The strategies on readers with a bug: each is found, and shrinks to the stream beside it."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from hypothesis.strategies import SearchStrategy

from pytest_shimmy import FakeShimmy
from pytest_shimmy.strategies import Answer, Plan, faults, servers, streams
from tests.support.stream_reader import BUGS, Reader

EXAMPLES = 1_000
AN_EVENT = 90
"""Characters of an event in an outline."""
QUICK = hypothesis.settings(max_examples=EXAMPLES, database=None, derandomize=True)


class Found(NamedTuple):
    """By what a bug is found, and the smallest answers that show it."""

    strategy: str
    smallest: str


STRATEGIES: dict[str, SearchStrategy[Any]] = {
    "streams": streams(),
    "faults": faults(),
    "servers": servers(),
}

PLANTED = {
    bug: Found(*found)
    for bug, found in json.loads(
        Path(__file__).with_name("planted_bugs.json").read_text("utf-8")
    ).items()
}

ALIKE = re.compile(r'"id":"chatcmpl-0".*?"delta":')
REPEATED = re.compile(r"(.+?)\1{999,}")


def outline(played: Answer | Plan) -> str:
    """The bytes of answers, where what all chunks have alike is left out, and a long text; ``|``
    is between two pieces."""
    told = []
    for answer in played.answers if isinstance(played, Plan) else [played]:
        body = b"|".join(answer.pieces).decode("utf-8", "backslashreplace")
        body = REPEATED.sub(r"\1...", ALIKE.sub("…", body))
        status = f"{answer.status} " if answer.status != 200 else ""
        told.append(f"{status}{body}{f' then {answer.cut}' if answer.cut else ''}")
    return " / ".join(told)


def check(fake: FakeShimmy, reader: Reader, played: Answer | Plan) -> None:
    """The reader ends as a correct client does, and asks as often."""
    fake.play(played)
    answered = reader.ask()
    ending = played.ending
    if ending.error is None:
        assert (answered.text, answered.error) == (ending.text, None)
        assert answered.finish_reason == ending.finish_reason
        assert (answered.usage or {}) == (ending.usage or {})
    else:
        assert answered.error is not None
        assert ending.allows(answered.text)
    if isinstance(played, Plan):
        assert len(fake.requests) == played.retries + 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_correct_reader_passes(fake: FakeShimmy, name: str) -> None:
    reader = Reader(fake, retries=2 if name == "servers" else 0)

    @hypothesis.settings(QUICK, max_examples=200)
    @hypothesis.given(STRATEGIES[name])
    def passes(played: Answer | Plan) -> None:
        check(fake, reader, played)

    passes()


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_and_shrinks(fake: FakeShimmy, bug: str) -> None:
    smallest, _ = find(fake, bug, PLANTED[bug].strategy)
    found, recorded = outline(smallest), PLANTED[bug].smallest
    # Which examples hypothesis tries depends on the modules that are loaded, so it may end beside
    # the smallest one, but not by more than an event.
    assert len(found) <= len(recorded) + AN_EVENT, found


def find(fake: FakeShimmy, bug: str, name: str) -> tuple[Any, int]:
    """The smallest answer that shows the bug, and how many examples it took to find any."""
    reader = Reader(fake, bug, retries=2 if name == "servers" else 0)
    failed: list[Any] = []
    count = 0

    @QUICK
    @hypothesis.given(STRATEGIES[name])
    def passes(played: Answer | Plan) -> None:
        nonlocal count
        count += not failed
        try:
            check(fake, reader, played)
        except Exception:
            failed.append(played)
            raise

    with contextlib.suppress(Exception):
        passes()
    assert failed, f"not found in {EXAMPLES} examples"
    return failed[-1], count
