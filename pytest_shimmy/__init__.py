"""Pytest fixtures and a process harness for the shimmy LLM server.

Public names are loaded when they are first used: the plugin is part of every pytest run, and most
of those never start a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from .accel.detector import AccelDetector
    from .accel.readback import ServerGpu
    from .accel.result import AccelDetectorResult, Evidence, Finding
    from .defaults import ShimmyProcessDefaults
    from .errors import (
        ShimmyError,
        ShimmyErrorCode,
        ShimmyErrorJson,
        ShimmyUsageError,
        is_shimmy_error_json,
    )
    from .fake_control.client_report import ClientReport, Watch
    from .fake_control.fake import FakeShimmy, Rule
    from .fake_control.journal import RecordedRequest
    from .models.registry import ModelRegistry
    from .models.summary import ShimmyModelSummary
    from .options import ShimmyProcessOptions
    from .plugin.factory import MakeShimmyServer
    from .server import ShimmyServer
    from .setting_types import SettingChanges
    from .settings import BadSettingError, Settings
    from .streams import limited
    from .supervisor.manager import ShimmyProcessManager

_HOMES = {
    "AccelDetector": "accel.detector",
    "AccelDetectorResult": "accel.result",
    "BadSettingError": "settings",
    "ClientReport": "fake_control.client_report",
    "Evidence": "accel.result",
    "FakeShimmy": "fake_control.fake",
    "Finding": "accel.result",
    "MakeShimmyServer": "plugin.factory",
    "ModelRegistry": "models.registry",
    "RecordedRequest": "fake_control.journal",
    "Rule": "fake_control.fake",
    "ServerGpu": "accel.readback",
    "SettingChanges": "setting_types",
    "Settings": "settings",
    "ShimmyError": "errors",
    "ShimmyErrorCode": "errors",
    "ShimmyErrorJson": "errors",
    "ShimmyModelSummary": "models.summary",
    "ShimmyProcessDefaults": "defaults",
    "ShimmyProcessManager": "supervisor.manager",
    "ShimmyProcessOptions": "options",
    "ShimmyServer": "server",
    "ShimmyUsageError": "errors",
    "Watch": "fake_control.client_report",
    "is_shimmy_error_json": "errors",
    "limited": "streams",
}

__all__ = [
    "AccelDetector",
    "AccelDetectorResult",
    "BadSettingError",
    "ClientReport",
    "Evidence",
    "FakeShimmy",
    "Finding",
    "MakeShimmyServer",
    "ModelRegistry",
    "RecordedRequest",
    "Rule",
    "ServerGpu",
    "SettingChanges",
    "Settings",
    "ShimmyError",
    "ShimmyErrorCode",
    "ShimmyErrorJson",
    "ShimmyModelSummary",
    "ShimmyProcessDefaults",
    "ShimmyProcessManager",
    "ShimmyProcessOptions",
    "ShimmyServer",
    "ShimmyUsageError",
    "Watch",
    "is_shimmy_error_json",
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
