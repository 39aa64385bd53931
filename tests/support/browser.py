"""A headless Chromium for tests that look at pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright import sync_api as playwright


@contextmanager
def chromium() -> Iterator[playwright.Browser]:
    """Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium; install it (Debian: apt install chromium)")
    with playwright.sync_playwright() as started:
        # Root needs it, and the pages are ours.
        yield started.chromium.launch(executable_path=path, args=["--no-sandbox"])
