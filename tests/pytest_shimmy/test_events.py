"""What listeners get: a frozen, typed payload for each event."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from pytest_shimmy import events


@pytest.mark.parametrize("payload", get_args(events.Event))
def test_payloads_are_frozen_records(payload: type) -> None:
    assert is_dataclass(payload)
    assert payload.__doc__
    with pytest.raises(FrozenInstanceError):
        setattr(payload(*("x" for _ in fields(payload))), fields(payload)[0].name, "y")


def test_there_is_a_payload_for_each_event_and_output_has_two() -> None:
    assert len(get_args(events.EventName)) == len(get_args(events.Event)) + 1
