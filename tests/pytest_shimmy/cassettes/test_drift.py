"""Whether a server still answers in the shapes that were recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_shimmy.cassettes.drift import compare
from tests.pytest_shimmy.cassettes.recordings import answered, asked, event, recording


def changes(before: Any, after: Any, **members: Any) -> list[tuple[str, bool]]:
    then, now = (json.dumps(value).encode() for value in (before, after))
    answer = answered(now, **members)
    return [(each.what, each.is_failure) for each in compare(recording(None, then), answer)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1, "b": "x"}, {"a": 2.5, "b": "y"}, []),
        ({"a": [1, 2, 3]}, {"a": [7]}, []),
        (
            {"a": 1},
            {"a": 1, "b": [True]},
            [("$.b is new (array)", False), ("$.b[*] is new (boolean)", False)],
        ),
        ({"a": 1, "b": 2}, {"a": 1}, [("$.b is gone", True)]),
        ({"a": 1}, {"a": "1"}, [("$.a was number, and is string", True)]),
        ({"a": None}, {"a": "now it is said"}, []),
        (
            {"a": {"b": 1}},
            {"a": [1]},
            [
                ("$.a was object, and is array", True),
                ("$.a.b is gone", True),
                ("$.a[*] is new (number)", False),
            ],
        ),
    ],
)
def test_shapes_are_compared_and_not_words(
    before: Any, after: Any, found: list[tuple[str, bool]]
) -> None:
    assert changes(before, after) == found


def test_another_status_or_framing_is_a_failure() -> None:
    then = recording(None, b"{}")
    now = answered(framing="length", head=["content-length: 0"], chunks=[])
    assert [each.what for each in compare(then, now)] == [
        "framing was chunked, and is length",
        "$ was object, and is empty",
    ]
    now = answered(b"{}")
    now.head[0] = "HTTP/1.1 404 Not Found"
    (change,) = compare(then, now)
    assert (change.what, change.is_failure) == ("status was 200, and is 404", True)
    assert change.request == "GET /v1/chat/completions" or change.request.startswith("POST ")


def test_the_events_of_a_stream_have_one_shape_together() -> None:
    head = ["content-type: text/event-stream", "transfer-encoding: chunked"]
    then = recording({}, event("a"), event("b"), b"data: [DONE]\n\n", head=head)
    now = answered(event("other"), b"data: [DONE]\n\n", head=head)
    assert [*compare(then, now)] == []
    now = answered(event("other", usage=None), head=head)
    found = {each.what for each in compare(then, now)}
    assert "$.usage is new (null)" in found
    assert asked({}).path == "/v1/chat/completions"
