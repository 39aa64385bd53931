"""Which requests are the same, and which are not."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_shimmy.script.same_request import Sameness, read_body
from fake_shimmy.script.timed_answer import AskedRequest
from tests.pytest_shimmy.cassettes.recordings import asked

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def same(one: Any, other: Any, **rules: Any) -> bool:
    sameness = Sameness(**rules)
    return sameness.identity(asked(one)) == sameness.identity(asked(other))


@pytest.mark.slow
@given(JSON, st.randoms())
def test_a_body_is_a_value_and_not_its_spelling(value: Any, chance: random.Random) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            names = list(value)
            chance.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(each) for each in value] if isinstance(value, list) else value

    body = {"value": value}
    compact = json.dumps(shuffled(body), separators=(",", ":"), ensure_ascii=False)
    if "\\ud" in json.dumps(body):  # half of a character cannot be sent
        return
    one, other = (AskedRequest(**read_body(text.encode())) for text in (json.dumps(body), compact))
    assert Sameness().identity(one) == Sameness().identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": 1}, None),
        (b"{", b"{ "),
        (b"\xff", b"\xfe"),
    ],
)
def test_values_that_differ_are_other_requests(one: Any, other: Any) -> None:
    assert not same(one, other)


def test_equal_numbers_are_equal_however_a_client_writes_them() -> None:
    assert same({"temperature": 1.0}, {"temperature": 1})


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [
        ("metadata.id", {"metadata": {"id": 1, "x": 2}}, {"metadata": {"id": 9, "x": 2}}),
        ("$.metadata.id", {"metadata": {"x": 2}}, {"metadata": {"id": 9, "x": 2}}),
        ("messages[*].id", {"messages": [{"id": 1}, {"id": 2}]}, {"messages": [{"id": 3}, {}]}),
        ("messages[-1].id", {"messages": [{}, {"id": 2}]}, {"messages": [{}, {"id": 3}]}),
        ("messages[0]", {"messages": [1, 2]}, {"messages": [7, 2]}),
    ],
)
def test_a_member_that_is_ignored_does_not_count(path: str, one: Any, other: Any) -> None:
    assert same(one, other, ignore=[path])
    assert not same(one, other)


def test_only_what_is_named_is_ignored() -> None:
    one, other = {"messages": [{"id": 1, "text": "a"}]}, {"messages": [{"id": 1, "text": "b"}]}
    assert not same(one, other, ignore=["messages[*].id"])


def test_a_text_that_varies_may_be_anywhere_in_a_text() -> None:
    varying = [r"/tmp/pytest-of-\w+/pytest-\d+/"]
    one = {"messages": [{"content": "Read /tmp/pytest-of-ann/pytest-1/a.txt"}]}
    other = {"messages": [{"content": "Read /tmp/pytest-of-bob/pytest-27/a.txt"}]}
    assert same(one, other, varying=varying)
    assert not same(one, {"messages": [{"content": "Read /tmp/other/a.txt"}]}, varying=varying)


def test_method_and_path_count_and_the_query_with_it() -> None:
    sameness = Sameness()
    requests = [
        asked({}, method="POST", path="/a"),
        asked({}, method="PUT", path="/a"),
        asked({}, method="POST", path="/a?x=1"),
        asked({}, method="POST", path="/b"),
    ]
    assert len({sameness.identity(request) for request in requests}) == 4


def test_a_websocket_asks_with_its_first_message() -> None:
    def socket(*messages: Any) -> str:
        return Sameness().identity(AskedRequest(path="/ws", messages=list(messages)))

    assert socket({"prompt": "a"}) == socket({"prompt": "a"}, "more")
    assert socket({"prompt": "a"}) != socket({"prompt": "b"})


@pytest.mark.parametrize("path", ["", "$", "a[", "a[x]", "a..b", "[1"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        Sameness(ignore=[path])


@pytest.mark.parametrize(("pattern", "reason"), [("(", "is not a pattern"), ("x*", "empty text")])
def test_what_is_no_useful_pattern_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Sameness(varying=[pattern])
