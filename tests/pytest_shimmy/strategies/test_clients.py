"""Clients that nobody here wrote, on the streams that strategies make."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from pytest_shimmy import FakeShimmy
from pytest_shimmy.strategies import Answer, faults, streams
from tests.clients import page
from tests.clients.conftest import demand
from tests.clients.expected.streams import STREAMS
from tests.clients.streams import CLIENTS, KINDS, RIGHT, reader

pytestmark = pytest.mark.slow
SOME = hypothesis.settings(max_examples=20, database=None)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_makes_of_a_stream_what_the_page_says(
    fake: FakeShimmy, tmp_path: Path, name: str
) -> None:
    client = CLIENTS[name]
    demand(client.environment)
    seen = {}
    with reader(name, tmp_path) as read:
        for kind, make in KINDS.items():
            answer = make(client.endpoint)
            fake.play(answer)
            seen[kind] = read(fake).cell(answer.ending)
    expected = {kind: STREAMS.get(kind, {}).get(name, RIGHT) for kind in KINDS}
    assert seen == expected


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_right_about_all_streams_as_shimmy_frames_them(
    fake: FakeShimmy, tmp_path: Path, name: str
) -> None:
    client = CLIENTS[name]
    demand(client.environment)
    with reader(name, tmp_path) as read:

        @SOME
        @hypothesis.given(streams(client.endpoint, wire="shimmy"))
        def is_right(answer: Answer) -> None:
            fake.play(answer)
            assert read(fake).cell(answer.ending) == RIGHT

        @SOME
        @hypothesis.given(faults(client.endpoint, ["close", "reset", "status"], wire="shimmy"))
        def notices(answer: Answer) -> None:
            fake.play(answer)
            assert read(fake).cell(answer.ending) == RIGHT

        is_right()
        notices()


def test_the_table_on_the_page_is_that_of_the_tests() -> None:
    text = page.STREAMS_PAGE.read_text()
    assert text == page.generate_streams(text), "run: python -m tests.clients.page"
