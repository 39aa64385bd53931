"""A fake that is controlled from outside, for tests that share one."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions
from pytest_shimmy.launch.hermetic import HERMETIC
from tests.support.manager_events import LONG


@contextlib.contextmanager
def controlled_fake(home: Path, release: str | None = None) -> Iterator[tuple[str, str]]:
    """Its URL, and the token of its control. Its home is `home`, its model ``tiny``."""
    token = secrets.token_hex(16)
    model = home / "tiny.gguf"
    model.write_bytes(contents())
    env = {**HERMETIC, "HOME": str(home), "FAKE_SHIMMY_CONTROL": token, "FAKE_SHIMMY_SCRIPT": None}
    options = ShimmyProcessOptions(model_path=model, env=env, cwd=home, fake_version=release)
    with ShimmyProcessManager() as manager:
        manager.start(options)
        manager.ensure_ready(LONG)
        yield f"http://127.0.0.1:{manager.port}", token
