"""What a session would run and why, as JSON values: what ``pytest-shimmy doctor`` finds.

Strategy: every part is asked the way a session asks it, by itself, so that one that fails is a
problem in the list and hides none of the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import runtime_dir
from ..accel.detector import AccelDetector
from ..accel.result import FOUND, NOT_FOUND, AccelDetectorResult, Finding
from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.dialect import (
    ADAPTER_OF,
    READS_ACCESS,
    access_problems,
    askable,
    gpu_arguments,
    numbers,
)
from ..executable.identify import locate
from ..launch.target import Target, Targets
from ..models.summary import ShimmyModelSummary
from ..server import attach, choose_model
from ..settings import Settings, unknown_variables
from ..supervisor import ports
from . import runtime_state
from .model_preview import offered

Json = dict[str, Any]


class Findings:
    """What is found out, a part at a time; `to_json` is its documented shape."""

    def __init__(self, settings: Settings | None, config_file: Path | None) -> None:
        self._config_file = config_file
        self.problems: list[str] = []
        """What keeps a session from starting, each with what to do."""
        self.warnings: list[str] = unknown_variables(os.environ)
        """What does not, but may surprise."""
        self._parts: Json = dict.fromkeys(("server", "gpu", "models", "ports", "runtime"))
        self._settings: Json = {}
        if settings is not None:
            self._settings = {
                name: {"value": _plain(settings.shown()[name]), "from": source}
                for name, source in settings.sources.items()
            }
            self._look(settings)

    def to_json(self) -> Json:
        """The findings as JSON values. A part that could not be looked at is None."""
        return {
            "pytest_shimmy": version("pytest-shimmy"),
            "can_start": not self.problems,
            "config_file": None if self._config_file is None else str(self._config_file),
            "settings": self._settings,
            **self._parts,
            "warnings": self.warnings,
            "problems": self.problems,
        }

    def _look(self, settings: Settings) -> None:
        with self._problems():
            self._parts["ports"] = self._ports(settings)
        with self._problems():
            self._parts["runtime"] = _runtime()
        if settings.mode == "attached":
            with self._problems():
                self._attached(settings)
            return
        found = AccelDetector().detect()
        self._parts["gpu"] = _gpu(found)
        with self._problems():
            targets = Targets()
            target = self._executable(settings, targets)
            self._access(settings, target.executable.version)
            for gpu in settings.gpu:
                with self._problems():
                    self._backend(targets.of(settings._replace(gpu=(gpu,))), found)
            self._models(target)

    def _access(self, settings: Settings, release: str) -> None:
        """Whether the server would take its key and its origins."""
        key, env = settings.server_key(), dict(settings.env)
        self.problems += access_problems(release, key, env.get("SHIMMY_ALLOWED_ORIGINS"))
        if key is not None and numbers(release) < READS_ACCESS:
            self.warnings.append(
                f"shimmy {release} knows no keys: it answers everybody.\n"
                "From 2.6.5 on it asks for the key that is set."
            )

    def _attached(self, settings: Settings) -> None:
        server = self._parts["server"] = _server(settings)
        attached = attach(settings)
        server["version"] = attached.version
        ids = attached.models()
        entries = [_named(name) for name in ids]
        models: Json = {"found": entries, "default": None, "searched": None}
        self._parts["models"] = models
        try:
            chosen = choose_model(settings, ids, attached.version)
        except ShimmyError as error:
            self.warnings.append(str(error))
            return
        why = settings.sources.get("model")
        reason = f"{why} says so" if why else "a session takes it where none is set"
        models["default"] = {"id": chosen, "reason": reason}
        for entry in entries:
            entry["is_default"] = entry["id"] == chosen

    def _executable(self, settings: Settings, targets: Targets) -> Target:
        server = self._parts["server"] = _server(settings)
        if settings.path is not None:
            server["path"] = str(locate(settings.path))
        target = targets.of(settings)
        executable = target.executable
        server["version"] = executable.version
        build = executable.build()
        server["build"] = {
            "engine": build.engine,
            "compiled_in": list(build.backends),
            "line": build.line,
        }
        server["gpu_modes"] = list(askable(executable.version, build, executable.system))
        return target

    def _backend(self, target: Target, found: AccelDetectorResult) -> None:
        """Whether that one of the backends to ask for can be asked for, and is there."""
        executable, gpu = target.executable, target.gpu
        build = executable.build()
        gpu_arguments(executable.version, build, gpu, executable.system)
        if executable.is_fake:
            return
        backend = gpu
        if build.engine == "airframe":
            backend = ADAPTER_OF.get(sys.platform, gpu)
        elif gpu in ("auto", "cpu"):
            return
        there = found.backends.get(backend)
        if there is not None and there.state != FOUND:
            self.warnings.append(
                f"the executable would use {backend}, and on this machine {_absent(there)}.\n"
                + (
                    "The server starts, but may not answer: this build generates on a GPU or on a "
                    "software renderer (Mesa's) only. --shimmy-tiny-model tries it out. A build "
                    "without the feature airframe, or the bundled fake, needs none."
                    if build.engine == "airframe"
                    else "It would silently use the processor. Leave --shimmy-gpu out, or set "
                    "--shimmy-require=gpu to have tests say so."
                )
            )

    def _models(self, target: Target) -> None:
        settings, release = target.settings, target.executable.version
        seen = offered(target, where=True)
        default = None if seen.default is None else seen.default._asdict()
        self._parts["models"] = {
            "found": [summary(model) for model in seen.models],
            "default": default,
            "searched": None if seen.searched is None else list(map(str, seen.searched)),
        }
        if seen.default is None:
            why = ShimmyError(
                ShimmyErrorCode.NO_MODELS,
                "the executable finds no model.\nPut one into a directory that it searches, or "
                "name it: --shimmy-models-dir=DIR, --shimmy-model=FILE. Or have a tiny one "
                "generated: --shimmy-tiny-model.",
            )
            # 1.x starts all the same (seen on 1.8.1), 2.x does not (seen on 2.5.0).
            (self.warnings if release.startswith("1.") else self.problems).append(str(why))
            return
        chosen = [model for model in seen.models if model.is_default]
        if not chosen:
            names = ", ".join(repr(model.id) for model in seen.models[:10]) or "none"
            self.warnings.append(
                f"there is no model {seen.default.id!r}, which {seen.default.reason}. "
                f"There are: {names}.\nNames are exact. Choose one (--shimmy-model), or add a "
                "directory that has it (--shimmy-models-dir)."
            )
            if not seen.models and settings.mode == "real" and not release.startswith("1."):
                self.problems.append(
                    "[NO_MODELS] the executable finds no model at all, and does not start then.\n"
                    "Add a directory that has one: --shimmy-models-dir."
                )
        elif target.executable.build().engine == "airframe" and _panics(
            target.executable.version, chosen[0]
        ):
            self.warnings.append(
                f"this build cannot load {chosen[0].path}: it is no GGUF, or is cut short, "
                "and the server closes the connection of every request that names it.\n"
                "Use a whole GGUF file or --shimmy-tiny-model, or a build without the feature "
                "airframe for SafeTensors."
            )
        elif (
            settings.mode == "real"
            and target.executable.build().engine == "adapter"
            and str(chosen[0].path).lower().endswith(".gguf")
        ):
            self.warnings.append(
                f"this build cannot load {chosen[0].path}: it reads SafeTensors only.\n"
                "Use a default build, or a model of that format."
            )

    def _ports(self, settings: Settings) -> Json:
        held = runtime_state.leases()
        every = ShimmyProcessDefaults.port_range
        answer: Json = {
            "first": every.start,
            "last": every.stop - 1,
            "wanted": settings.port,
            "leased": [lease._asdict() for lease in held],
        }
        if settings.mode == "attached":
            return answer
        try:
            with ports.lease(settings.port) as lease:
                if settings.port not in (None, lease.port):
                    self.warnings.append(
                        f"port {settings.port} is taken now; a session would take {lease.port}.\n"
                        "End what holds it, or leave --shimmy-port out."
                    )
        except ShimmyError as error:
            self.problems.append(str(error))
        return answer

    @contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except ShimmyError as error:
            self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f"{error}\nCheck the file or directory, and its permissions.")


def _absent(backend: Finding) -> str:
    """That it was not found; the part about GPUs has the evidence."""
    if backend.state == NOT_FOUND:
        return f"{backend.backend} was not found"
    return f"it could not be told whether there is {backend.backend}"


def _panics(release: str, model: ShimmyModelSummary) -> bool:
    """Whether looking the model up makes that release panic (seen on 2.6.5; read in the source of
    2.6.1)."""
    from fake_shimmy.models import airframe_header
    from fake_shimmy.releases import NEWEST, RELEASES

    engine = RELEASES.get(release, RELEASES[NEWEST]).airframe
    if numbers(release) < (2, 6, 1) or model.path is None or engine is None:
        return False
    header = airframe_header.read(str(model.path), engine)
    return header is not None and header.panic is not None


def summary(model: ShimmyModelSummary) -> Json:
    """A model as JSON values."""
    fields = {name: getattr(model, name) for name in ShimmyModelSummary.__dataclass_fields__}
    return fields | {"path": None if model.path is None else str(model.path)}


def _named(name: str) -> Json:
    """A model of which only its id is known."""
    unknown = dict.fromkeys(ShimmyModelSummary.__dataclass_fields__)
    return unknown | {"id": name, "is_default": False}


def _server(settings: Settings) -> Json:
    return {
        "mode": settings.mode,
        "url": settings.shown()["url"],
        "path": settings.path,
        "version": None,
        "build": None,
        "gpu_modes": None,
    }


def _gpu(found: AccelDetectorResult) -> Json:
    return {
        "recommended": found.recommended,
        "reason": found.reason,
        "backends": {
            name: {
                "state": backend.state,
                "devices": list(backend.devices),
                "driver": backend.driver,
                "evidence": list(map(str, backend.evidence)),
            }
            for name, backend in found.backends.items()
        },
    }


def _runtime() -> Json:
    logs = runtime_state.kept_logs()
    return {
        "directory": str(runtime_dir.runtime_dir()),
        "left_behind": list(map(str, runtime_state.left_behind())),
        "kept_logs": {
            "directory": str(logs.directory),
            "count": logs.files,
            "bytes": logs.size,
        },
    }


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
