"""What a client sees through the recorder is what was recorded without it: ``verify``'s checks."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import pytest

from pytest_shimmy.cassettes.recorder_control import RecorderControl
from pytest_shimmy.cassettes.recorder_process import RecorderProcess
from pytest_shimmy.contract import subject
from pytest_shimmy.contract.case import Case, Exchange
from pytest_shimmy.contract.observe import HOST, Stage
from pytest_shimmy.contract.subject import Subject
from tests.support.verified import fail_where_different

pytestmark = pytest.mark.slow

SHARES = 4
"""Workers take them side by side: together they take minutes."""
NEWEST = subject.bundled_fake("2.6.5", "default", "airframe")
OLDEST = subject.bundled_fake("1.8.1", "default", "llama")
"""Ends connections in other ways, which a quarter shows; those between are asked as real ones."""


class RecordedStage(Stage):
    """A stage whose clients find the recorder in front of the server."""

    def __enter__(self) -> RecordedStage:
        self._recorder_home = tempfile.TemporaryDirectory(prefix="shimmy-recorder-")
        self._log = Path(self._recorder_home.name, "recorder.log")
        self._recorder = RecorderProcess(HOST, self._log)
        self._control = RecorderControl(*self._recorder.address)
        self._control.open("the key of a test process")
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._control.close()
        self._recorder.stop()
        said = self._log.read_text(encoding="utf-8")
        self._recorder_home.cleanup()
        assert said == ""

    def address(self, port: int) -> tuple[str, int]:
        self._recorder.use(f"http://{HOST}:{port}")
        return HOST, int(self._recorder.address.url.rpartition(":")[2])


def is_asked(case: Case, share: int) -> bool:
    return isinstance(case.act, Exchange) and zlib.crc32(case.id.encode()) % SHARES == share


@pytest.mark.parametrize(
    ("fake", "share"),
    [*((NEWEST, share) for share in range(SHARES)), (OLDEST, 0)],
    ids=lambda value: value.name if isinstance(value, Subject) else None,
)
def test_the_fake_is_seen_as_without(fake: Subject, share: int) -> None:
    fail_where_different(fake, fake.name, lambda case: is_asked(case, share), RecordedStage)


@pytest.mark.shimmy_real
@pytest.mark.parametrize("share", range(SHARES))
def test_the_real_one_is_seen_as_without(real_shimmy: Path, share: int) -> None:
    real = subject.executable(real_shimmy)
    fail_where_different(real, real.name, lambda case: is_asked(case, share), RecordedStage)
