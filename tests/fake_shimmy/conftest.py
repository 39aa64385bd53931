"""Executables that claim to be shimmy: the fake always, the real one where asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fake_shimmy.releases import RELEASES
from tests.support.fake_process import TOY_MODEL, USUAL, Running, Shimmy, drained, measurement
from tests.support.staged_server import staged_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def shimmy(tmp_path: Path) -> Shimmy:
    """The fake as a CPU-only build, in an empty folder."""
    return Shimmy([sys.executable, "-m", "fake_shimmy"], tmp_path, "cpu-only")


@pytest.fixture
def pair(real_shimmy: Path, tmp_path: Path) -> tuple[Shimmy, Shimmy]:
    """The real one and the fake that pretends the same build, in the same folder."""
    real = Shimmy([str(real_shimmy)], tmp_path, "")
    version = real.run("--version")[1].removeprefix("shimmy ").strip()
    if version not in RELEASES:
        pytest.skip(f"imitated are {', '.join(RELEASES)}, this is {version!r}")
    real.release = version
    build = "cpu-only" if "Airframe Engine: Disabled" in real.run("gpu-info")[1] else "default"
    return real, Shimmy([sys.executable, "-m", "fake_shimmy"], tmp_path, build, version)


@pytest.fixture
def make_shimmy(tmp_path: Path) -> Callable[..., Any]:
    """The fake as another build, or any other executable."""

    def make(
        build: str = "default", command: list[str] | None = None, release: str = USUAL
    ) -> Shimmy:
        return Shimmy(command or [sys.executable, "-m", "fake_shimmy"], tmp_path, build, release)

    return make


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A fake CPU-only server with the models ``tiny`` (loads) and ``base-7b`` (does not)."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    (folder / "models" / "tiny.safetensors").write_bytes(TOY_MODEL)
    (folder / "models" / "Base-7B.gguf").write_bytes(b"GGUF")
    fake = Shimmy([sys.executable, "-m", "fake_shimmy"], folder, "cpu-only")
    with fake.serve(**measurement()) as running, drained(running):
        yield running


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose sessions are scripted by the tests."""
    folder = tmp_path_factory.mktemp("stage")
    fake = Shimmy([sys.executable, "-m", "fake_shimmy"], folder, "default")
    with staged_server(fake, **measurement()) as found, drained(found.running):
        yield found


@pytest.fixture
def session(stage: Any) -> Any:
    """A new session of that server."""
    return stage.session()
