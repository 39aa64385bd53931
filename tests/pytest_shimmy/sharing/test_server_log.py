"""A server's log is read from its end, and one that is gone is an error that says so."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.sharing.server_log import part_of_log


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.integers(0, 20), st.none() | st.integers(0, 20))
def test_the_newest_part_is_read(tmp_path: Path, text: str, offset: int, limit: int | None) -> None:
    path = tmp_path / "server.log"
    data = text.encode()
    path.write_bytes(data)
    log, left_out = part_of_log(str(path), len(data), offset, limit)
    whole = data[offset:]
    kept = whole if limit is None else whole[max(0, len(whole) - limit) :]
    assert left_out == len(whole) - len(kept)
    if left_out:
        assert kept.decode("utf-8", "ignore").endswith(log)
        assert len(kept) - len(log.encode()) < 4, "of a character that is cut"
    else:
        assert log == kept.decode("utf-8", "replace")


def test_what_is_left_out_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with open(path, "wb") as log:
        log.truncate(1 << 32)
    tracemalloc.start()
    try:
        text, left_out = part_of_log(str(path), 1 << 32, 0, 16 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert (len(text), left_out) == (16 * 1024, (1 << 32) - 16 * 1024)


def test_a_log_that_something_has_removed_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "server.log")
    with pytest.raises(ShimmyError, match="cleaner of temporary files") as caught:
        part_of_log(path, 0, 0)
    assert caught.value.code is ShimmyErrorCode.CONTROL_FAILED
