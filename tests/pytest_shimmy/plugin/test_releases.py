"""The same suite on several releases of shimmy, each imitated by a fake of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_shimmy.executable.identify import bundled_fake
from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

TWO = ("--shimmy-fake-version=2.5.0", "--shimmy-fake-version=1.8.1")

VERSIONS = """
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_version(shimmy_server, n):
    with open("servers", "a") as servers:
        servers.write(f"{shimmy_server.pid} {shimmy_server.version}\\n")

def test_private(make_shimmy_server, request):
    release = request.node.name.rpartition("[")[2].rstrip("]")
    assert make_shimmy_server().version == release

def test_without(tmp_path):
    pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "n2"])
def test_tests_that_use_the_server_run_once_per_release(
    pytester: pytest.Pytester, run: Run, workers: list[str]
) -> None:
    pytester.makepyfile(VERSIONS)
    result = run(*TWO, "-v", *workers)
    result.assert_outcomes(passed=7)
    for name in ("[[]2.5.0-1]", "[[]1.8.1-2]", "private[[]2.5.0]", "private[[]1.8.1]", "without "):
        result.stdout.fnmatch_lines([f"*{name}*"])
    servers = set((pytester.path / "servers").read_text().splitlines())
    assert sorted(line.split()[1] for line in servers) == ["1.8.1", "2.5.0"]


def test_one_release_needs_no_id(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        "def test_version(shimmy_server, request):\n"
        "    assert shimmy_server.version == '1.8.1'\n"
        "    assert request.node.name == 'test_version'\n"
    )
    result = run("--shimmy-fake-version=1.8.1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["shimmy: bundled fake of shimmy 1.8.1, *"])


def test_a_release_that_no_real_one_has_with_the_backend_is_skipped_with_the_reason(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile("def test_version(shimmy_server): assert shimmy_server.version == '1.8.1'")
    arguments = (*TWO, "--shimmy-gpu=cpu", "-rs")
    result = run(*arguments)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * shimmy 2.5.0 cannot be told to use 'cpu'*"])
    result = run(*arguments, "--shimmy-require=gpu")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["shimmy 2.5.0 cannot be told to use 'cpu'*(required by *"])


def test_a_release_without_the_build_is_skipped_with_the_reason(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        "def test_build(shimmy_server):\n"
        "    assert shimmy_server.version == '2.5.0'\n"
        "    assert shimmy_server.gpu.in_use == 'cpu'\n"
    )
    result = run(*TWO, "--shimmy-fake-build=cpu-only", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * shimmy 1.8.1 has no build 'cpu-only'*"])


@pytest.mark.parametrize("build", ["default", "cpu-only", "cuda"])
def test_a_build_alone_means_the_newest_release_that_has_it(build: str) -> None:
    from fake_shimmy.releases import NEWEST, RELEASES

    version = bundled_fake(env={"FAKE_SHIMMY_BUILD": build}).version
    assert build in RELEASES[version].builds
    assert build not in RELEASES[NEWEST].builds or version == NEWEST


@pytest.mark.shimmy_real
def test_beside_a_real_executable_they_are_not_used_and_the_header_says_so(
    pytester: pytest.Pytester, run: Run, real_shimmy: Path, models_dir: Path
) -> None:
    pytester.makepyfile("def test_up(shimmy_server): assert shimmy_server.mode == 'real'")
    result = run(f"--shimmy-path={real_shimmy}", f"--shimmy-models-dir={models_dir}", *TWO)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["shimmy: not used, as this run has no fake: --shimmy-fake-version"]
    )
