"""The pytest plugin: hooks, fixtures, markers, and what a person reads in a run.

The only folder that knows pytest. `hooks` delegates at once and loads little, because it is part of
every pytest run; what a test needs is loaded when a test asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make ``-p pytest_shimmy.plugin`` the same as ``-p shimmy``, with or without autoloading."""
    # Under the entry point's name, which then finds it there instead of registering it twice.
    if not pluginmanager.has_plugin("shimmy"):
        from . import entry

        pluginmanager.register(entry, "shimmy")
