"""The models that a session's server would offer, and the one that it would use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..launch.hermetic import has_made_up_model
from ..launch.plan import plan
from ..launch.target import Target
from ..models.default_model import DefaultModel, default_model
from ..models.registry import ModelRegistry
from ..models.search_path import searched
from ..models.summary import ShimmyModelSummary
from ..runtime_dir import write_files


class Offered(NamedTuple):
    """What the executable of some settings offers."""

    models: list[ShimmyModelSummary]
    default: DefaultModel | None
    """What tests get that name no model; it may be set to one that is not there."""
    searched: list[Path] | None
    """None where the executable does not say."""


def offered(target: Target, *, where: bool = False) -> Offered:
    """Ask the executable as a session would; `where` it looks, too, if wanted.

    Raises `ShimmyError`.
    """
    settings = target.settings
    with _world(target) as (registry, env, served, cwd):
        found = registry.list_local()
        models = {model.id: model for model in found} | {model.id: model for model in served}
        names = [each.id for each in served] or list(models)
        default = default_model(names, registry.executable.version, phantom_is_real=True)
        if settings.model is not None:
            name = settings.model if settings.model_file is None else served[0].id
            default = DefaultModel(name, f"{settings.sources['model']} says so")
        elif served:
            why = settings.sources.get("tiny_model", "the fake has it where no models are set")
            default = DefaultModel(served[0].id, f"{why} says so" if settings.tiny_model else why)
        paths = None
        if where:
            paths = searched(registry.executable, registry.models_dir, env, cwd)
            if paths is not None and settings.mode == "fake":  # its own place has nothing else
                paths = [path for path in paths if not path.is_relative_to(cwd)]
    chosen = None if default is None else default.id
    found = [replace(models[name], is_default=name == chosen) for name in sorted(models)]
    return Offered(found, default, paths)


@contextmanager
def _world(
    target: Target,
) -> Iterator[tuple[ModelRegistry, dict[str, str], list[ShimmyModelSummary], Path]]:
    """Who is asked, in which environment, what it is given to serve, and where it starts."""
    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as directory:
        settings = target.settings
        planned = plan(target, Path(directory))
        write_files(planned.files)
        options = planned.options
        registry = ModelRegistry(
            options.shimmy_path,
            settings.models_dir,
            fake_version=options.fake_version,
            env=options.env,
            cwd=options.cwd,
            executable=target.executable,
        )
        env = options.environment(os.environ)
        file = None if options.model_path is None else Path(options.model_path)
        served = [] if file is None else [_served(file, own=has_made_up_model(settings))]
        yield registry, env, served, Path(options.cwd or Path.cwd())


def _served(file: Path, own: bool) -> ShimmyModelSummary:
    """What ``serve --model-path`` offers: registered by the stem of the file's name. Our `own`
    placeholder is made for each server, and has no lasting place."""
    return ShimmyModelSummary(
        id=file.stem,
        is_default=True,
        path=None if own else file,
        size_bytes=file.stat().st_size,
        parameters=None,
        quantization=None,
        source="registered",
    )
