"""Fixtures for tests that run pytest itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory for this test alone, so that what is left in it is this test's."""
    directory = tmp_path / "runtime"
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def run(pytester: pytest.Pytester, runtime_dir: Path) -> Callable[..., pytest.RunResult]:
    """Run pytest on pytester's files, in a process of its own."""
    assert not runtime_dir.exists()

    def run(*arguments: str | Path) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    return run
