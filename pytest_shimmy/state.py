"""What the plugin keeps in pytest's config between its hooks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from .settings import Settings

if TYPE_CHECKING:
    from .harness import Harness

SETTINGS = pytest.StashKey[Settings]()
HARNESS = pytest.StashKey["Harness"]()
VERSION = pytest.StashKey[str | None]()
COUNTS = pytest.StashKey[Counter[str]]()


def settings_of(config: pytest.Config) -> Settings:
    """The run's settings."""
    return config.stash[SETTINGS]


def harness_of(config: pytest.Config) -> Harness:
    """This process's harness, made (and its modules loaded) at the first call."""
    harness = config.stash.get(HARNESS, None)
    if harness is None:
        from .harness import Harness

        worker = getattr(config, "workerinput", None)
        harness = config.stash[HARNESS] = (
            Harness(None, None)
            if worker is None
            else Harness(worker["workerid"], worker.get("shimmy"))
        )
    return harness
