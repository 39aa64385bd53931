"""What a client sees through the recorder is what it sees without: the checks of ``verify``, done
to servers with and without one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pytest_shimmy.cassettes.recorder_control import RecorderControl
from pytest_shimmy.cassettes.recorder_process import RecorderProcess
from pytest_shimmy.contract import adapter, subject, verify
from pytest_shimmy.contract.case import Case, Exchange
from pytest_shimmy.contract.cases.all import all_cases
from pytest_shimmy.contract.environments import WORLDS
from pytest_shimmy.contract.observe import HOST, Stage
from pytest_shimmy.contract.subject import Subject

pytestmark = pytest.mark.slow

IMITATED = [
    subject.bundled_fake("2.6.5", "default", "airframe"),
    subject.bundled_fake("1.8.1", "default", "llama"),
]
"""The newest, and the oldest, which ends connections in other ways; those between are asked as real
ones."""
SHARES = range(4)
"""Workers take them side by side: together they take minutes."""
LOOKS = 3
"""Where a client hangs up, which of two ends comes first may be chance."""


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


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("fake", IMITATED, ids=lambda fake: fake.name)
def test_the_fake_is_seen_as_without(fake: Subject, share: int) -> None:
    fail_where_different(fake, share)


@pytest.mark.shimmy_real
@pytest.mark.parametrize("share", SHARES)
def test_the_real_one_is_seen_as_without(real_shimmy: Path, share: int) -> None:
    fail_where_different(subject.executable(real_shimmy), share)


def fail_where_different(who: Subject, share: int) -> None:
    no_adapter = adapter.why_none(who) if who.engine == "airframe" else ""

    def is_asked(case: Case) -> bool:
        needs = WORLDS[case.act.world].needs_adapter
        return isinstance(case.act, Exchange) and who.takes(case) and not (needs and no_adapter)

    cases = list(filter(is_asked, all_cases()))[share :: len(SHARES)]
    different = {case.id: (case, "") for case in cases}
    for _ in range(LOOKS):
        asked = [case for case, _ in different.values()]
        without = {case.id: seen for case, seen in verify.observe(who, asked)}
        for case, seen in verify.observe(who, asked, RecordedStage):
            note = verify.difference(without[case.id], seen)
            if note:
                different[case.id] = case, note
            else:
                del different[case.id]
    print(f"{who.name}: {len(cases)} exchanges, {len(different)} seen otherwise. {no_adapter}")
    assert cases
    if different:
        told = [f"{name}\n{note}" for name, (_, note) in different.items()]
        pytest.fail("\n\n".join(told), pytrace=False)
