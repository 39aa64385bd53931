"""Which requests a condition is for, and how a difference is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script import matching, rules
from fake_shimmy.script.matching import MISSING, Request

CHAT = {
    "model": "tiny",
    "temperature": 0,
    "stream": True,
    "messages": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "well"},
        {"role": "user", "content": [{"type": "text", "text": "Capital of"}, {"text": "France?"}]},
    ],
}


def request(body: Any = CHAT, path: str = "/v1/chat/completions") -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", path, [("x-team", "red"), ("accept", "a"), ("accept", "b")], raw)


def told(when: dict[str, Any], asked: Request | None = None) -> list[str]:
    found = matching.differences(rules.read_when(when).conditions, asked or request())
    return [str(each) for each in found]


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"user": "France"},
        {"user": {"matches": "^Capital of\nFrance.$"}},
        {"user": {"equals": "Capital of\nFrance?"}},
        {"user": {"contains": "Capital", "matches": "France"}},
        {"system": "terse"},
        {"model": "tiny"},
        {"model": {"matches": "^t"}},
        {"endpoint": "chat"},
        {"path": "/v1/chat/completions"},
        {"path": {"contains": "chat"}},
        {"headers": {"X-Team": "red"}},
        {"headers": {"accept": {"equals": "a, b"}}},
        {"json": {"temperature": 0}},
        {"json": {"temperature": 0.0}},
        {"json": {"$.messages[0].role": "system"}},
        {"json": {"messages[-1].content[1].text": {"matches": r"\?$"}}},
        {"json": {"stream": True, "messages[2]": {"equals": CHAT["messages"][2]}}},  # type: ignore[index]
    ],
    ids=str,
)
def test_a_request_that_is_meant_has_no_difference(when: dict[str, Any]) -> None:
    assert told(when) == []


@pytest.mark.parametrize(
    ("when", "difference"),
    [
        ({"user": "Spain"}, "user should contain 'Spain', and it is 'Capital of\\nFrance?'"),
        ({"user": "first"}, "user should contain 'first', and it is 'Capital of\\nFrance?'"),
        ({"system": {"matches": "^terse"}}, "system should match '^terse', and it is 'You are"),
        ({"model": "tin"}, "model should be 'tin', and it is 'tiny'"),
        ({"endpoint": "generate"}, "endpoint should be generate (/api/generate), and it is '/v1"),
        ({"headers": {"x-mode": "a"}}, "header x-mode should contain 'a', and there is none"),
        ({"json": {"temperature": False}}, "json temperature should be False, and it is 0"),
        ({"json": {"stream": 1}}, "json stream should be 1, and it is True"),
        ({"json": {"top_p": 1}}, "json top_p should be 1, and there is none"),
        (
            {"json": {"messages[9].role": "user"}},
            "json messages[9].role should be 'user', and there",
        ),
        ({"json": {"messages.role": "user"}}, "json messages.role should be 'user', and there is"),
        ({"json": {"model[0]": "t"}}, "json model[0] should be 't', and there is none"),
        ({"json": {"messages": []}}, "json messages should be [], and it is [{"),
    ],
    ids=str,
)
def test_a_difference_says_what_was_wanted_and_what_there_is(
    when: dict[str, Any], difference: str
) -> None:
    [only] = told(when)
    assert only.startswith(difference)


def test_every_difference_is_told() -> None:
    assert len(told({"user": "Spain", "model": "huge", "json": {"a": 1, "b": 2}})) == 4


def test_a_prompt_is_what_the_user_says_where_there_are_no_messages() -> None:
    assert told({"user": "Once"}, request({"prompt": "Once upon"})) == []


def test_a_system_member_is_the_system_message_where_no_message_is_one() -> None:
    asked = request({"system": "Be kind", "messages": [{"role": "user", "content": "x"}]})
    assert told({"system": "kind"}, asked) == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[1]", b"3", b'{"messages": 3, "model": 4}', b"[" * 100_000,
     b'{"messages": [3, {"role": "user"}, {"role": "user", "content": 4}]}'],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_a_body_that_says_nothing_matches_only_what_asks_for_nothing(body: bytes) -> None:
    asked = request(body)
    assert told({"endpoint": "chat"}, asked) == []
    assert told({"user": "x"}, asked) == ["user should contain 'x', and there is none"]
    assert "and there is none" in told({"json": {"a.b[0]": 1}}, asked)[0]


def test_a_body_nested_deeply_differs_like_any_other() -> None:
    depth = 900
    asked = request(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")
    assert told({"json": {"a": [[[3]]]}}, asked)[0].startswith("json a should be [[[3]]], and it")


def test_an_index_of_any_length_is_of_nothing() -> None:
    assert matching.at_path([1], f"[{'9' * 5000}]") is MISSING
    assert matching.at_path([1], f"[-{'9' * 5000}]") is MISSING


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda values: st.one_of(st.lists(values), st.dictionaries(st.text(), values)),
    max_leaves=8,
)


@pytest.mark.slow
@given(JSON)
def test_a_value_equals_itself(value: Any) -> None:
    assert told({"json": {"it": {"equals": value}}}, request({"it": value})) == []


@pytest.mark.slow
@given(JSON, st.text())
def test_any_body_and_any_path_can_be_asked(body: Any, path: str) -> None:
    found = matching.at_path(request(body).json, path)
    assert found is MISSING or isinstance(found, str | int | float | list | dict | None)
