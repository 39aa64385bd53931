"""Workers with a server each take turns on a GPU."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shlex
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessDefaults
from pytest_shimmy.accel.lease import GpuLease
from pytest_shimmy.executable.identify import bundled_fake
from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

TURNS = """
import pytest

@pytest.mark.parametrize("n", range(4))
def test_turn(shimmy_server, n):
    with open("turns", "a") as turns:
        turns.write(f"{shimmy_server.pid}\\n")
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """What the plugin takes for a real executable of a build with a GPU engine."""
    path = tmp_path / "shimmy"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(bundled_fake().command)} "$@"\n')
    path.chmod(0o755)
    return path


def arguments(executable: Path, pytester: pytest.Pytester) -> list[str]:
    model = pytester.path / "some.gguf"
    model.touch()
    return [f"--shimmy-path={executable}", f"--shimmy-model={model}", "-n", "2", "-p",
            "no:randomly"]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("scope", "servers", "changes"), [("worker", 2, 1), ("run", 1, 0)], ids=["worker", "run"]
)
def test_servers_of_workers_use_a_gpu_one_after_the_other(
    pytester: pytest.Pytester, run: Run, real: Path, scope: str, servers: int, changes: int
) -> None:
    pytester.makepyfile(TURNS)
    run(*arguments(real, pytester), f"--shimmy-scope={scope}").assert_outcomes(passed=4)
    turns = (pytester.path / "turns").read_text().split()
    assert len(set(turns)) == servers
    assert sum(a != b for a, b in itertools.pairwise(turns)) == changes


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_worker_that_waits_in_vain_says_who_has_the_gpu_and_what_to_do(
    pytester: pytest.Pytester, run: Run, real: Path, runtime_dir: Path
) -> None:
    pytester.makepyfile("def test_one(shimmy_server): pass")
    pytester.makeconftest(
        "from pytest_shimmy import ShimmyProcessDefaults\nShimmyProcessDefaults.gpu_timeout = 0.2"
    )
    lease = GpuLease(os.environ)
    lease.acquire("worker gw7")
    try:
        result = run(*arguments(real, pytester), "--shimmy-scope=worker")
    finally:
        lease.release()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"*the GPU was not free within 0.2 s: worker gw7 (process {os.getpid()}) holds *",
         "*--shimmy-scope=run*CUDA_VISIBLE_DEVICES*"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [["--shimmy-gpu=cpu"], ["--shimmy-fake"]],
    ids=["cpu", "fake"],
)
def test_what_occupies_no_gpu_waits_for_none(
    pytester: pytest.Pytester, run: Run, settings: list[str]
) -> None:
    pytester.makepyfile("def test_one(shimmy_server): pass")
    if "--shimmy-gpu=cpu" in settings:
        settings = [*settings, "--shimmy-fake-version=1.8.1"]
    lease = GpuLease(os.environ)
    lease.acquire("somebody else")
    try:
        run(*settings, "-n", "2", "--shimmy-scope=worker").assert_outcomes(passed=1)
    finally:
        lease.release()


def test_who_sees_another_gpu_does_not_wait(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "gpu_timeout", 0.1)
    first, other = ({"CUDA_VISIBLE_DEVICES": number} for number in "01")
    held = [GpuLease(first), GpuLease(other)]
    for lease in held:
        lease.acquire("a")
    with pytest.raises(ShimmyError) as caught:
        GpuLease(first).acquire("c")
    assert caught.value.code is ShimmyErrorCode.LOCK_TIMEOUT


def hold_and_die() -> None:
    lease = GpuLease({})
    lease.acquire("the one that dies")
    os._exit(1)


def test_a_lease_ends_with_its_holder(runtime_dir: Path) -> None:
    holder = multiprocessing.get_context("spawn").Process(target=hold_and_die)
    holder.start()
    holder.join()
    heard: list[str] = []
    lease = GpuLease({})
    lease.acquire("next", heard.append)
    assert not heard
    lease.release()
