"""The machine of states on applications that own a sidecar: a right one, and ones with a bug."""

from __future__ import annotations

import os

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from pytest_shimmy.strategies import SidecarMachine
from tests.support.sidecar_application import BUGS, LEFT, Application, end

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SidecarMachine needs a POSIX shell"),
]
FEW = hypothesis.settings(
    max_examples=10,
    stateful_step_count=6,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[hypothesis.Phase.generate],  # to shrink would only make it longer
)
PATIENCE = {"it waits for a sidecar that has exited": 2.0, "it leaves a sidecar when it stops": 5.0}
COMPLAINTS = {
    "it trusts whoever listens": "the application said",
    "it waits for a sidecar that has exited": "start took|a question took",
    "it leaves a sidecar when it stops": "its sidecar runs on",
    "it hides that it has no answer": "the application said ''",
    "it does not restart its sidecar": "no sidecar",
}


def machine(bug: str | None) -> type[SidecarMachine]:
    class Machine(SidecarMachine):
        restarts = True
        patience = PATIENCE.get(bug or "", 10.0)

        def __init__(self) -> None:
            super().__init__()
            self.application = Application(self.sidecar, bug)

        def start_application(self) -> None:
            self.application.start()

        def ask(self) -> str:
            return self.application.ask()

        def stop_application(self) -> None:
            self.application.stop()

    return Machine


def test_an_application_that_is_right_passes() -> None:
    run_state_machine_as_test(machine(None), settings=FEW)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    try:
        with pytest.raises(Exception, match=COMPLAINTS[bug]):
            run_state_machine_as_test(machine(bug), settings=FEW)  # type: ignore[no-untyped-call]
    finally:
        end(LEFT)
        LEFT.clear()
