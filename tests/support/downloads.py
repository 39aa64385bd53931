"""What the tests of download handlers share."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode

FETCHER = Path(__file__).parents[1] / "programs" / "fetcher.py"

CONTENT = random.Random(0).randbytes(1_000_000)
HALF = len(CONTENT) // 2


class Fetch(Protocol):
    """Downloads from this test's file server; returns where the file is."""

    def __call__(self, url: str = ..., **how: Any) -> Path: ...


def own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither proxies nor certificates of the person who runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def refusal(fetch: Fetch, **how: Any) -> ShimmyError:
    with pytest.raises(ShimmyError) as caught:
        fetch(**how)
    assert caught.value.code is ShimmyErrorCode.DOWNLOAD_FAILED
    return caught.value


def left_in(target: Path) -> list[str]:
    return sorted(path.name for path in target.iterdir())


def run_fetcher(url: str, target: Path) -> subprocess.Popen[str]:
    """Download in another process, which prints how far it is."""
    return subprocess.Popen(
        [sys.executable, str(FETCHER), "url", url, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_bytes(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while int(process.stdout.readline()) == 0:
        pass
