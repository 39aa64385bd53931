"""From settings to what is started: the options, and the files that are made for them."""

from __future__ import annotations

import json
import os
import secrets
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .options import CONTROL_TOKEN, SCRIPT, ShimmyProcessOptions
from .pretence import pretence
from .settings import Settings

if TYPE_CHECKING:
    from .models.registry import ModelRegistry

PLACEHOLDER_ID = "placeholder"
"""Id of the model that the fake gets when nobody said which models it should have."""

PLACEHOLDER = (
    b"GGUF\x03\x00\x00\x00"
    + struct.pack("<QQ", 0, 1)
    + struct.pack("<Q20sIQ5s", 20, b"general.architecture", 8, 5, b"llama")
).decode("ascii")
"""A GGUF file, version 3, that only says what kind of model it would be."""

HERMETIC: Mapping[str, None] = dict.fromkeys(
    (
        "USERPROFILE",
        "OLLAMA_MODELS",
        "SHIMMY_BASE_GGUF",
        "SHIMMY_LORA_GGUF",
        "SHIMMY_MODEL_PATHS",
        "SHIMMY_BIND_ADDRESS",
    )
)
"""Variables that would show the fake the models of the person who runs it."""


class Plan(NamedTuple):
    """What to start, in a directory of its own."""

    options: ShimmyProcessOptions
    files: Mapping[str, str] = {}
    """Path and text of each file to make first."""
    log_kept_anyway: bool = False
    """The log is where the user wants it: neither moved nor removed."""


def plan(
    settings: Settings,
    directory: Path,
    script: Mapping[str, Any] | None = None,
    *,
    cwd: str | None = None,
) -> Plan:
    """What to start for `settings`, in `directory`, which is the plan's alone.

    `script` is for the fake. A real executable starts in `cwd` (default: the present directory),
    where it looks for ``./models``; the fake starts in `directory`.
    """
    log_path = directory / "server.log"
    if settings.log_dir is not None:
        now = time.strftime("%Y%m%d-%H%M%S")
        log_path = Path(settings.log_dir) / f"shimmy-{settings.mode}-{now}-{directory.name}.log"
    common: dict[str, Any] = {
        "preferred_port": settings.port,
        "models_dir": settings.models_dir,
        "model_path": settings.model_file,
        "args": settings.args,
        "gpu_mode": settings.gpu[0],
        "health_timeout": settings.start_timeout,
        "max_restarts": settings.max_restarts,
        "log_path": log_path,
    }
    kept_anyway = settings.log_dir is not None
    if settings.mode == "real":
        options = ShimmyProcessOptions(
            **common, shimmy_path=settings.path, env=dict(settings.env), cwd=cwd or Path.cwd()
        )
        return Plan(options, log_kept_anyway=kept_anyway)
    files = {}
    if has_placeholder(settings):
        placeholder = str(directory / placeholder_name(settings))
        files[placeholder] = PLACEHOLDER
        common["model_path"] = placeholder
    script_path = settings.fake_script
    if script is not None:
        script_path = str(directory / "script.json")
        files[script_path] = json.dumps(script)
    release, machine = pretence(settings.gpu[0], settings.fake_version, os.environ)
    env = {
        **hermetic(directory),
        **machine,
        SCRIPT: script_path,
        CONTROL_TOKEN: secrets.token_hex(16),
        **dict(settings.env),
    }
    options = ShimmyProcessOptions(**common, fake_version=release, env=env, cwd=directory)
    return Plan(options, files, kept_anyway)


def hermetic(home: Path) -> dict[str, str | None]:
    """The environment, on top of the user's, in which the fake finds nothing but what is in
    `home`."""
    return {**HERMETIC, "HOME": str(home)}


def has_placeholder(settings: Settings) -> bool:
    """Whether the fake gets a model that is made up."""
    return settings.mode == "fake" and settings.model_file is None and not settings.models_dir


def placeholder_name(settings: Settings) -> str:
    """Its file name: served by path, it keeps the exact name under which a test may ask for it."""
    named = settings.model is not None and "/" not in settings.model
    return f"{settings.model if named else PLACEHOLDER_ID}.gguf"


def registry(settings: Settings, home: Path, *, cwd: str | None = None) -> ModelRegistry:
    """The models of the executable that `settings` mean. The fake finds those in `home`, its own
    directory, where its placeholder is put; a real one those of the user, starting in `cwd`.
    """
    from .models.registry import OWN_DIRECTORY, ModelRegistry

    if settings.mode == "real":
        return ModelRegistry(
            settings.path, settings.models_dir, env=dict(settings.env), cwd=cwd or Path.cwd()
        )
    if has_placeholder(settings):
        own = home.joinpath(*OWN_DIRECTORY)
        own.mkdir(parents=True, exist_ok=True)
        (own / placeholder_name(settings)).write_text(PLACEHOLDER, encoding="ascii", newline="")
    release, machine = pretence(settings.gpu[0], settings.fake_version, os.environ)
    env = {**hermetic(home), **machine, **dict(settings.env)}
    return ModelRegistry(None, settings.models_dir, fake_version=release, env=env, cwd=home)
