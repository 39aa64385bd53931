"""The plugin's markers; test_plugin_gpu has more of those for GPUs."""

from __future__ import annotations

import pytest

from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

# Markers


MARKED = """
import pytest

@pytest.mark.shimmy_real
def test_real(shimmy_server):
    assert shimmy_server.mode != "fake"

@pytest.mark.shimmy_fake
def test_fake(shimmy_server):
    assert shimmy_server.mode == "fake"

@pytest.mark.shimmy_gpu("cuda")
def test_gpu(shimmy_server):
    assert False, "nothing here uses it"
"""


def test_unmet_markers_skip_with_the_reason_and_the_way_out(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(MARKED)
    result = run("-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*needs a real shimmy, and this run uses the bundled fake; run it with "
            "--shimmy-path=EXECUTABLE*",
            "SKIPPED*needs a server that uses cuda*--shimmy-gpu=BACKEND*",
        ]
    )


def test_required_markers_fail_instead_of_being_skipped(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(MARKED)
    result = run("--shimmy-require=real", "--shimmy-require=gpu")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines("*needs a real shimmy*(required by --shimmy-require)*")


@pytest.mark.shimmy_real
def test_markers_for_the_fake_are_unmet_on_the_real_executable(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(MARKED)
    run(*real_arguments).assert_outcomes(passed=1, skipped=2)
