"""What listeners get: a frozen, typed payload for each event."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pytest_shimmy import events


@pytest.mark.parametrize("payload", get_args(events.Event))
def test_payloads_are_frozen_records(payload: Any) -> None:
    assert payload.__doc__
    made = payload(*("x" for _ in payload._fields))
    with pytest.raises(AttributeError):
        setattr(made, payload._fields[0], "y")


def test_there_is_a_payload_for_each_event_and_output_has_two() -> None:
    assert len(get_args(events.EventName)) == len(get_args(events.Event)) + 1
