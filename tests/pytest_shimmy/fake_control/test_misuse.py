"""What a test says wrongly is told to it as a `ValueError` or `TypeError`, in its own line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import FakeShimmy, ShimmyUsageError
from pytest_shimmy.errors import UnknownArgumentError
from pytest_shimmy.fake_control.conditions import Conditions
from pytest_shimmy.fake_control.rule_options import FaultOptions

GIVEN: dict[str, dict[str, Any]] = {
    "events": {"events": ["x"]},
    "answers": {"outcomes": ["x"]},
    "garble": {"how": "invalid_utf8"},
    "wait_for_request": {"timeout": 0},
}
"""What a call needs that says something else wrongly."""
IN_ORDER: dict[str, tuple[Any, ...]] = {"stall": (0,), "tool_call": ("look", {})}
METHODS = [
    *("reply", "tool_call", "embeddings", "events", "answers", "fail", "drop", "stall", "hang"),
    *("garble", "crash", "remove", "latency", "load_time", "serialise", "script", "play"),
    *(
        "refuse",
        "matching",
        "assert_requested",
        "assert_no_requests",
        "wait_for_request",
        "assert_client",
    ),
]
ODD = (object(), -1, 1e9, "nonsense", b"x", [object()], {"x": object()}, {1: 2}, [[]], True)


def calls(method: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments for `method`, one of them odd."""
    parameters = inspect.signature(getattr(FakeShimmy, method)).parameters.values()
    in_order = [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY]
    by_name = [each.name for each in parameters if each.kind in (0, 1, 3)][1:]
    names = {*by_name, *FaultOptions.__annotations__, *Conditions.__annotations__}
    for value in ODD:
        for place, _ in enumerate(in_order[1:]):
            given = list(IN_ORDER[method])
            given[place] = value
            yield tuple(given), {}
        for name in sorted(names - {*in_order}):
            yield IN_ORDER.get(method, ()), {**GIVEN.get(method, {}), name: value}


def what_is_raised(
    call: Callable[..., object], *in_order: Any, **by_name: Any
) -> pytest.ExceptionInfo[Exception] | None:
    try:
        call(*in_order, **by_name)
    except Exception as error:
        return pytest.ExceptionInfo.from_exception(error)
    return None


def test_every_method_is_tried() -> None:
    public = {name for name, _ in inspect.getmembers(FakeShimmy, inspect.isfunction)}
    without_arguments = {"accept", "client_report", "close", "journal", "leftovers", "report",
                         "reset", "watch_client"}  # fmt: skip
    assert {name for name in public if name[0] != "_"} - without_arguments == {*METHODS}


def test_a_way_to_cut_that_does_not_exist_is_told_by_its_argument(fake: FakeShimmy) -> None:
    for how in ("explode", "garble"):  # the second is a fault, and no cut
        with pytest.raises(ShimmyUsageError) as caught:
            fake.drop(how=how)  # type: ignore[arg-type]
        assert str(caught.value) == (
            f"[USAGE_ERROR] drop(): how: {how!r} is not one of: reset, close, end, half_close"
        )


@pytest.mark.parametrize("method", METHODS)
def test_an_odd_value_is_taken_or_refused_in_the_line_of_the_call(
    fake: FakeShimmy, method: str
) -> None:
    refused = 0
    for in_order, by_name in calls(method):
        caught = what_is_raised(getattr(fake, method), *in_order, **by_name)
        if caught is None or isinstance(caught.value, AssertionError):
            continue  # it was understood
        refused += 1
        told = (in_order, by_name, caught.value)
        is_pythons_own = caught.type is TypeError and len(caught.traceback) == 1
        assert is_pythons_own or caught.type in (ShimmyUsageError, UnknownArgumentError), told
        assert caught.traceback.filter(caught)[-1].path == Path(__file__), told
    assert refused >= len(ODD)
