"""What would run is found out once, whoever needs to know."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from pytest_shimmy.executable.executable import Executable
from pytest_shimmy.executable.identify import bundled_fake
from pytest_shimmy.launch.target import Targets
from pytest_shimmy.settings import Settings
from tests.support.consumer_suite import Run

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the wrapper that counts is a shell script"
)

GPU_READ = """
import pytest

@pytest.mark.parametrize("n", range(4))
def test_gpu(shimmy_server, n):
    assert shimmy_server.gpu.in_use == "cpu"
"""


class Counted:
    """An executable that writes down what it was executed for."""

    def __init__(self, directory: Path, command: tuple[str, ...], env: str = "") -> None:
        self.path = directory / "shimmy"
        self._asked = directory / "asked"
        self.path.write_text(
            f'#!/bin/sh\necho "$1" >> {shlex.quote(str(self._asked))}\n'
            f'exec env {env} {shlex.join(command)} "$@"\n'
        )
        self.path.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return sorted(self._asked.read_text().split())


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.shimmy_real)])
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Counted:
    """A CPU-only build: the fake as what the plugin takes for a real one, or the real one."""
    if request.param == "stand-in":
        return Counted(tmp_path, bundled_fake().command, "FAKE_SHIMMY_BUILD=cpu-only")
    path: Path = request.getfixturevalue("real_shimmy")
    counted = Counted(tmp_path, (str(path),))
    if Executable((str(path),), "", False).build().engine != "adapter":
        pytest.skip("this build has a GPU engine, which cannot be asked for the processor")
    return counted


@pytest.fixture
def arguments(counted: Counted, models_dir: Path) -> list[str]:
    return [f"--shimmy-path={counted.path}", f"--shimmy-models-dir={models_dir}"]


@pytest.mark.slow
def test_a_run_with_one_server_asks_for_the_version_once(
    pytester: pytest.Pytester, run: Run, counted: Counted, arguments: list[str]
) -> None:
    pytester.makepyfile("def test_up(shimmy_server): assert shimmy_server.health()")
    run(*arguments).assert_outcomes(passed=1)
    assert counted.asked == ["--version", "serve"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "n2"])
@pytest.mark.parametrize("gpu", [[], ["--shimmy-gpu=cpu"]], ids=["auto", "cpu"])
def test_a_run_that_needs_the_build_asks_for_it_once(
    pytester: pytest.Pytester,
    run: Run,
    counted: Counted,
    arguments: list[str],
    gpu: list[str],
    workers: list[str],
) -> None:
    pytester.makepyfile(GPU_READ)
    run(*arguments, *gpu, *workers).assert_outcomes(passed=4)
    assert counted.asked == ["--version", "gpu-info", "serve"]


@pytest.mark.slow
def test_workers_with_a_server_each_ask_nothing_that_the_controller_knows(
    pytester: pytest.Pytester, run: Run, counted: Counted, arguments: list[str]
) -> None:
    pytester.makepyfile("def test_up(shimmy_server): assert shimmy_server.gpu.in_use == 'cpu'")
    run(*arguments, "--shimmy-scope=worker", "-n", "2", "--dist=each").assert_outcomes(passed=2)
    assert counted.asked == ["--version", "gpu-info", "serve", "serve"]


@pytest.mark.slow
def test_private_servers_run_what_is_known_already(
    pytester: pytest.Pytester, run: Run, counted: Counted, arguments: list[str]
) -> None:
    pytester.makepyfile(
        "def test_two(make_shimmy_server): make_shimmy_server(); make_shimmy_server()"
    )
    run(*arguments).assert_outcomes(passed=1)
    assert counted.asked == ["--version", "serve", "serve"]


def test_the_commands_ask_once(counted: Counted, models_dir: Path) -> None:
    targets = Targets()
    settings = Settings(path=str(counted.path), models_dir=(str(models_dir),))
    targets.of(settings).executable.build()
    targets.of(settings._replace(gpu=("cpu",))).executable.build()
    assert counted.asked == ["--version", "gpu-info"]


@pytest.mark.slow
def test_what_one_process_knows_another_need_not_ask(counted: Counted) -> None:
    settings = Settings(path=str(counted.path), gpu=("cpu",), env=(("SOME", "thing"),))
    targets = Targets()
    target = targets.of(settings)
    handed_on = Targets(targets.to_json()).of(settings)
    assert handed_on.executable.to_json() == target.executable.to_json()
    assert handed_on.executable.build() == target.executable.build()
    assert counted.asked == ["--version", "gpu-info"]


def test_another_environment_may_make_it_another_executable(counted: Counted) -> None:
    targets = Targets()
    targets.of(Settings(path=str(counted.path)))
    targets.of(Settings(path=str(counted.path), env=(("LD_LIBRARY_PATH", "/elsewhere"),)))
    assert counted.asked == ["--version", "--version"]


@pytest.mark.parametrize(
    ("gpu", "release", "engine"), [("cuda", "1.8.1", "llama"), ("metal", None, "airframe")]
)
def test_the_fake_is_what_can_be_asked_for_the_backend(
    gpu: str, release: str | None, engine: str
) -> None:
    target = Targets().of(Settings(gpu=(gpu,)))
    assert target.executable.is_fake
    assert release in (None, target.executable.version)
    assert target.executable.build().engine == engine
