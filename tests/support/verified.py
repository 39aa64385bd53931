"""The checks of ``verify`` as a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_shimmy.contract import recording_files, verify
from pytest_shimmy.contract.case import Case
from pytest_shimmy.contract.observe import Stage
from pytest_shimmy.contract.report import Comparison, lines
from pytest_shimmy.contract.subject import Subject

SHIPPED = {recording.name: recording for recording in recording_files.shipped()}


def fail_where_different(
    who: Subject, name: str, wanted: Callable[[Case], bool], stage_of: type[Stage] = Stage
) -> None:
    """Compare `who` with the recording `name`; skip where there is none."""
    if name not in SHIPPED:
        pytest.skip(f"there is no recording of shimmy {name}")
    recording = SHIPPED[name]
    results = list(verify.check(who, recording, wanted, stage_of=stage_of))
    assert any(result.verdict == "same" for result in results)
    comparison = Comparison(who, "fake" if who.is_fake else "real", recording, results)
    if comparison.differs:
        pytest.fail("\n".join(lines(comparison, everything=False)), pytrace=False)
