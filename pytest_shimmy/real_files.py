"""The real file system, for what we do while a test has a pretended one (pyfakefs)."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def real_files() -> AbstractContextManager[object]:
    """Put pyfakefs aside, if a test uses it: servers, their logs and locks are real."""
    pyfakefs: Any = sys.modules.get("pyfakefs.fake_filesystem_unittest")
    patcher = pyfakefs and getattr(pyfakefs.Patcher, "PATCHER", None)
    if not patcher or not patcher.is_patching:
        return nullcontext()
    paused: AbstractContextManager[object] = pyfakefs.Pause(patcher)
    return paused
