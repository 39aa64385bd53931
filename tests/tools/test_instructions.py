"""The regression list of instructions: what it says of its ratios. The counting itself takes
minutes, and is a job of CI."""

from __future__ import annotations

import json

from benchmarks.instructions import RECORDED, grown, rows


def test_the_recorded_list_has_the_rows_that_are_measured() -> None:
    recorded = json.loads(RECORDED.read_text())["ratios"]
    assert list(recorded) == [row.name for row in rows()]


def test_a_ratio_may_grow_by_a_tenth_and_no_more() -> None:
    assert grown({"a": 1.1, "b": 0.5}, {"a": 1.0, "b": 1.0}) == []
    assert grown({"a": 1.11, "b": 0.5}, {"a": 1.0, "b": 1.0}) == ["a: 1.11, and it was 1.00"]


def test_a_row_without_its_counterpart_is_told() -> None:
    told = "it is only in one of the two lists; --write"
    assert grown({"a": 1.0}, {"b": 1.0}) == [f"a: {told}", f"b: {told}"]
