"""Edits: what differs between two observations."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy.contract.differences import Edit, Observation, Search, apply, between, gist

HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{cors}content-length: {n}\r\n\r\n"
# Few letters and line ends, so that the same text is often there twice.
TEXTS = st.text("ab,{}:\n\r ", max_size=30)
LEAVES = st.one_of(TEXTS, st.integers(0, 2))
OBSERVATIONS = st.fixed_dictionaries(
    {"seen": st.fixed_dictionaries({"a": st.lists(TEXTS, max_size=3)}), "stdout": TEXTS},
    optional={"exit": LEAVES},
)


def answer(body: str, cors: str = "", status: str = "200 OK") -> Observation:
    head = HEAD.replace("200 OK", status).replace("{cors}", cors).replace("{n}", str(len(body)))
    return {"seen": {"a": [head + body, "closed"]}, "stdout": ""}


@given(OBSERVATIONS, OBSERVATIONS, st.randoms())
def test_edits_make_the_one_of_the_other(
    before: Observation, after: Observation, chance: random.Random
) -> None:
    edits = between(before, after)
    if edits is not None:
        mixed = list(edits)
        chance.shuffle(mixed)
        made = apply(before, mixed)
        assert made == after
        search = Search({"other": {}, "it": before})
        assert all(search.names(edit) == ["it"] for edit in edits)


@given(OBSERVATIONS)
def test_what_is_the_same_needs_no_edit(observation: Observation) -> None:
    assert between(observation, observation) == ()


@given(TEXTS, TEXTS)
def test_two_texts_always_have_edits(before: str, after: str) -> None:
    assert between({"stdout": before}, {"stdout": after}) is not None


def test_a_header_that_goes_is_one_edit_in_every_answer() -> None:
    cors = "{the four CORS headers}\r\n"
    for body in ("{}", '{"a":1,"b":[2,3]}', ""):
        edits = between(answer(body, cors), answer(body))
        assert edits == (Edit("seen", cors, ""),)


def test_a_member_that_changes_is_an_edit_of_its_own() -> None:
    before = answer('{"id":"x","finish_reason":"stop","usage":{"n":1}}', "a: b\r\n")
    after = answer('{"id":"x","finish_reason":null,"usage":{"n":1}}')
    assert between(before, after) == (
        Edit("seen", "a: b\r\n", ""),
        Edit("seen", "content-length: 49\r\n", "content-length: 47\r\n"),
        Edit("seen", '"finish_reason":"stop",', '"finish_reason":null,'),
    )


def test_a_status_line_stays_one_line() -> None:
    before, after = answer("{}"), answer("{}", status="404 Not Found")
    assert between(before, after) == (
        Edit("seen", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 Not Found\r\n"),
    )


def test_an_edit_takes_in_what_is_around_where_the_text_is_elsewhere_too() -> None:
    before, after = {"stdout": "one\nx\ntwo\nx\n"}, {"stdout": "one\nx\ntwo\ny\n"}
    assert between(before, after) == (Edit("stdout", "two\nx\n", "two\ny\n"),)
    assert gist(before, after) == (Edit("stdout", "x\n", "y\n"),)


def test_another_number_of_answers_has_no_edits() -> None:
    assert between({"seen": {"a": ["x"]}}, {"seen": {"a": ["x", "y"]}}) is None
    assert between({"seen": {}}, {"did not serve": 9}) is None
