"""Pytest fixtures and a process harness for the shimmy LLM server.

Public names are loaded when they are first used: the plugin is part of every pytest run, and most
of those never start a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from .accel.detector import AccelDetector
    from .accel.result import AccelDetectorResult
    from .defaults import ShimmyProcessDefaults
    from .errors import ShimmyError, ShimmyErrorCode
    from .fake_control.fake import FakeShimmy
    from .models.registry import ModelRegistry
    from .models.summary import ShimmyModelSummary
    from .options import ShimmyProcessOptions
    from .server import ShimmyServer
    from .settings import Settings
    from .streams import limited
    from .supervisor.manager import ShimmyProcessManager

_HOMES = {
    "AccelDetector": "accel.detector",
    "AccelDetectorResult": "accel.result",
    "FakeShimmy": "fake_control.fake",
    "ModelRegistry": "models.registry",
    "Settings": "settings",
    "ShimmyError": "errors",
    "ShimmyErrorCode": "errors",
    "ShimmyModelSummary": "models.summary",
    "ShimmyProcessDefaults": "defaults",
    "ShimmyProcessManager": "supervisor.manager",
    "ShimmyProcessOptions": "options",
    "ShimmyServer": "server",
    "limited": "streams",
}

__all__ = [
    "AccelDetector",
    "AccelDetectorResult",
    "FakeShimmy",
    "ModelRegistry",
    "Settings",
    "ShimmyError",
    "ShimmyErrorCode",
    "ShimmyModelSummary",
    "ShimmyProcessDefaults",
    "ShimmyProcessManager",
    "ShimmyProcessOptions",
    "ShimmyServer",
    "limited",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make ``-p pytest_shimmy`` the same as ``-p shimmy``."""
    from .plugin import pytest_addoption

    pytest_addoption(pluginmanager)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
