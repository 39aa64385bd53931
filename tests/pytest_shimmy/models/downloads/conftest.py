"""Fixtures for tests of download handlers: a file server that misbehaves as told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy.models import transfer
from pytest_shimmy.models.downloads import from_url
from tests.programs.fileserver import NAME, FileServer
from tests.support.downloads import CONTENT, Fetch, own_network


@pytest.fixture(autouse=True)
def _own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies, certificates or locks but the test's own, and no pause between attempts."""
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    own_network(monkeypatch)
    monkeypatch.setattr(transfer, "BACKOFF", 0)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer(CONTENT) as files:
        yield files


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def fetch(files: FileServer, target: Path) -> Fetch:
    def fetch(url: str = files.url, **how: Any) -> Path:
        from_url(url, **{"timeout": 10, **how})("any", target)
        return target / NAME

    return fetch
