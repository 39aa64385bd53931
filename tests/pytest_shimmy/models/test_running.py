"""A model that comes while a server runs: the server offers it when `ensure_default` returns."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_shimmy import (
    ModelRegistry,
    ShimmyError,
    ShimmyErrorCode,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from pytest_shimmy.models.downloads import from_url
from tests.programs.fileserver import FileServer
from tests.support.manager_events import LONG, Recorder

TINY = bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}"

Sidecar = tuple[ModelRegistry, ShimmyProcessOptions]


@pytest.fixture(autouse=True)
def _own_runtime_dir(runtime_dir: Path) -> None:
    """Nobody else's locks."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A directory with one model, ``first``."""
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "first.safetensors").write_bytes(TINY)
    return directory


@pytest.fixture(params=["2.5.0", "1.8.1", pytest.param("real", marks=pytest.mark.shimmy_real)])
def sidecar(request: pytest.FixtureRequest, models: Path) -> Sidecar:
    """What a host has: a registry, and the options of its server."""
    what: dict[str, Any] = {"fake_version": request.param}
    if request.param == "real":
        what = {"shimmy_path": request.getfixturevalue("real_shimmy")}
    what["models_dir"] = models
    return ModelRegistry(**what), ShimmyProcessOptions(**what)


def download(model_id: str, target: Path) -> None:
    (target / f"{model_id}.safetensors").write_bytes(TINY)


def must_not_be_called(_model_id: str, _target: Path) -> None:
    pytest.fail("it is there")


def offered(manager: ShimmyProcessManager) -> set[str]:
    answer = requests.get(f"{manager.url}/v1/models", timeout=LONG).json()
    return {model["id"] for model in answer["data"]} - {"phi3-lora"}


@pytest.mark.slow
def test_a_running_server_offers_what_was_downloaded(
    manager: ShimmyProcessManager, recorder: Recorder, sidecar: Sidecar
) -> None:
    registry, options = sidecar
    manager.start(options)
    manager.ensure_ready(LONG)
    url = manager.url
    assert offered(manager) == {"first"}
    assert registry.ensure_default("late", download, manager=manager).id == "late"
    assert manager.state == "ready"
    assert manager.url == url
    assert offered(manager) == {"first", "late"}
    assert recorder.names() == ["starting", "ready", "restarting", "starting", "ready"]
    assert (manager.restarts, manager.crashes) == (0, ())


def test_a_model_that_somebody_else_has_brought_is_offered_too(
    manager: ShimmyProcessManager, sidecar: Sidecar, models: Path
) -> None:
    registry, options = sidecar
    manager.start(options)
    manager.ensure_ready(LONG)
    download("late", models)
    registry.ensure_default("late", must_not_be_called, manager=manager)
    assert offered(manager) == {"first", "late"}


def test_a_server_that_offers_it_is_not_restarted(
    manager: ShimmyProcessManager, recorder: Recorder, sidecar: Sidecar
) -> None:
    registry, options = sidecar
    manager.start(options)
    registry.ensure_default("first", must_not_be_called, manager=manager)
    assert manager.state == "ready"
    assert recorder.names() == ["starting", "ready"]


def test_a_server_that_found_no_model_is_started_with_this_one(
    manager: ShimmyProcessManager, recorder: Recorder, sidecar: Sidecar, models: Path
) -> None:
    registry, options = sidecar
    if registry.executable.version.startswith("1."):
        pytest.skip("1.x starts without a model")
    (models / "first.safetensors").unlink()
    manager.start(options)
    registry.ensure_default("late", download, manager=manager)
    assert offered(manager) == {"late"}
    assert recorder.names()[-1] == "ready"


def test_a_server_that_nobody_has_started_is_left_alone(
    manager: ShimmyProcessManager, sidecar: Sidecar
) -> None:
    registry, _ = sidecar
    registry.ensure_default("late", download, manager=manager)
    assert (manager.state, manager.pid) == ("idle", None)


def test_a_server_that_was_stopped_stays_so(
    manager: ShimmyProcessManager, recorder: Recorder, sidecar: Sidecar
) -> None:
    registry, options = sidecar
    manager.start(options)
    manager.stop()
    heard = len(recorder.names())
    registry.ensure_default("late", download, manager=manager)
    assert manager.state == "idle"
    assert len(recorder.names()) == heard


def test_a_server_that_searches_elsewhere_is_told(
    manager: ShimmyProcessManager, models: Path, models_dir: Path
) -> None:
    manager.start(ShimmyProcessOptions(models_dir=models_dir))
    with pytest.raises(ShimmyError) as caught:
        ModelRegistry(models_dir=models).ensure_default("late", download, manager=manager)
    assert caught.value.code is ShimmyErrorCode.MODEL_NOT_FOUND
    assert caught.value.details["available"] == ["tiny"]
    assert str(models / "late.safetensors") in caught.value.message
    assert manager.state == "ready"


def test_a_start_that_fails_for_another_reason_is_said(
    manager: ShimmyProcessManager, models: Path
) -> None:
    manager.start(ShimmyProcessOptions(models_dir=models, args=["--no-such-flag"]))
    with pytest.raises(ShimmyError) as caught:
        ModelRegistry(models_dir=models).ensure_default("late", download, manager=manager)
    assert caught.value.code is ShimmyErrorCode.START_FAILED
    assert (models / "late.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a POSIX script")
def test_a_server_that_is_no_shimmy_in_its_list_of_models_is_said(
    manager: ShimmyProcessManager,
    pretend: Callable[..., ShimmyProcessOptions],
    models: Path,
) -> None:
    manager.start(pretend(["serve"]))
    with pytest.raises(ShimmyError) as caught:
        ModelRegistry(models_dir=models).ensure_default("late", download, manager=manager)
    assert caught.value.code is ShimmyErrorCode.HEALTHCHECK_FAILED
    assert f"{manager.url}/v1/models" in caught.value.message


@pytest.mark.shimmy_real
def test_a_real_one_answers_with_a_model_that_came_from_a_url(
    manager: ShimmyProcessManager, real_shimmy: Path, models: Path
) -> None:
    registry = ModelRegistry(real_shimmy, models)
    if registry.probe("first", LONG).exit.code != 0:
        pytest.skip("this build loads no SafeTensors")
    manager.start(ShimmyProcessOptions(shimmy_path=real_shimmy, models_dir=models))
    manager.ensure_ready(LONG)
    with FileServer(TINY) as files:
        url = f"{files.base}/late.safetensors"
        registry.ensure_default("late", from_url(url, sha256=files.sha256), manager=manager)
    question = {"role": "user", "content": "Hello"}
    body = {"model": "late", "messages": [question], "max_tokens": 2, "stream": False}
    answer = requests.post(f"{manager.url}/v1/chat/completions", json=body, timeout=LONG)
    assert answer.json()["choices"][0]["message"]["content"]
