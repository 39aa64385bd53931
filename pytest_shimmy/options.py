"""What a server is started with: one frozen record, also in JSON for the keeper."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from . import masking
from .defaults import ShimmyProcessDefaults
from .errors import is_ours, misused
from .setting_types import GpuMode, StrPath

__tracebackhide__ = is_ours

RestartsCounted = Literal["for_life", "since_ready"]

CONTROL_TOKEN = "FAKE_SHIMMY_CONTROL"
"""The variable that gives the fake a remote control, and the token that it asks for."""
EXCHANGES = "FAKE_SHIMMY_EXCHANGES"
"""The variable that names the file for every exchange of the fake."""
SCRIPT = "FAKE_SHIMMY_SCRIPT"
"""The variable that names the fake's base script."""


class ShimmyProcessOptions:
    """How to start a server. Everything has a default; times are seconds.

    Values are normalised on construction (paths to `str`, sequences to tuples), so two records
    that mean the same are equal.
    """

    # No dataclass: every keeper would load `dataclasses`, and all that this needs, for it.

    shimmy_path: str | None
    """The executable: a path, or a bare name looked up on PATH. None: the bundled fake."""
    fake_version: str | None
    """The release that the bundled fake imitates. None: the newest that it imitates."""
    preferred_port: int | None
    """First port to try; the next free one is taken. None: any port of the default range."""
    port_attempts: int | None
    """How many ports to try, from `preferred_port` up; with 1, that one or none. None: as many as
    it takes to find a free one, and `ShimmyProcessDefaults.port_attempts` that others take in the
    moment before the server does."""
    host: str
    """IP address to listen on; shimmy takes no names (seen on 2.5.0)."""
    models_dir: tuple[str, ...]
    """Directories to search for models, besides those that shimmy always searches."""
    model_path: str | None
    """A model file to serve under its own name, as ``serve --model-path`` does."""
    args: tuple[str, ...]
    """Further arguments for ``serve``, without the word and what is an option here."""
    gpu_mode: GpuMode
    """The backend to ask for; one that the release cannot be asked for is an error."""
    health_timeout: float | None
    """From spawn to healthy. None: 30 s for the fake, 120 s for a real executable."""
    env: Mapping[str, str | None]
    """Further environment, on top of this process's own; None removes a variable."""
    max_restarts: int
    """Automatic restarts after unexpected exits; 0 means none."""
    restarts_counted: RestartsCounted
    """What of them is limited. ``for_life``: all since `ShimmyProcessManager.start`;
    ``since_ready``: those in a row that did not bring the server back, so that one that comes back
    and dies again is started for ever. The pause between them grows with the same count."""
    retry_first_start: bool
    """A first start that fails is tried again, too, within `max_restarts`. The default is to fail
    at once: what fails at first mostly fails always."""
    cwd: str | None
    """Working directory; shimmy searches ``./models`` in it. None: this process's own."""
    log_path: str | None
    """File that gets all output, appended. None: a temporary file, removed on `stop`."""

    def __init__(
        self,
        *,
        shimmy_path: StrPath | None = None,
        fake_version: str | None = None,
        preferred_port: int | None = None,
        port_attempts: int | None = None,
        host: str = ShimmyProcessDefaults.bind_host,
        models_dir: StrPath | Sequence[StrPath] = (),
        model_path: StrPath | None = None,
        args: Sequence[str] = (),
        gpu_mode: GpuMode = "auto",
        health_timeout: float | None = None,
        env: Mapping[str, str | None] = MappingProxyType({}),
        max_restarts: int = ShimmyProcessDefaults.max_restarts,
        restarts_counted: RestartsCounted = "for_life",
        retry_first_start: bool = False,
        cwd: StrPath | None = None,
        log_path: StrPath | None = None,
    ) -> None:
        if isinstance(args, str):
            raise TypeError(f"args is one text, {args!r}: give a list of arguments")
        dirs = (models_dir,) if isinstance(models_dir, str | os.PathLike) else models_dir
        vars(self).update(
            shimmy_path=_path(shimmy_path),
            fake_version=fake_version,
            preferred_port=preferred_port,
            port_attempts=port_attempts,
            host=host,
            models_dir=tuple(os.fspath(path) for path in dirs),
            model_path=_path(model_path),
            args=tuple(args),
            gpu_mode=gpu_mode,
            health_timeout=health_timeout,
            env=dict(env),
            max_restarts=max_restarts,
            restarts_counted=restarts_counted,
            retry_first_start=retry_first_start,
            cwd=_path(cwd),
            log_path=_path(log_path),
        )
        masking.hide(masking.secrets_of(self.env))
        self._check()

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"ShimmyProcessOptions is frozen: {name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShimmyProcessOptions) and vars(other) == vars(self)

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in vars(self).items() if name != "env")
        return f"ShimmyProcessOptions({', '.join(shown)})"

    def _check(self) -> None:
        if self.preferred_port is not None and not 1 <= self.preferred_port <= 65535:
            raise misused(f"preferred_port {self.preferred_port} is not in 1..65535")
        if self.port_attempts is not None and self.port_attempts < 1:
            raise misused(f"port_attempts {self.port_attempts} is not 1 or more")
        if self.max_restarts < 0:
            raise misused(f"max_restarts {self.max_restarts} is negative")
        for name, allowed in (("restarts_counted", RestartsCounted), ("gpu_mode", GpuMode)):
            if (word := getattr(self, name)) not in (words := get_args(allowed)):
                raise misused(f"{name} {word!r} is not one of: {', '.join(words)}")
        for path in self.models_dir:
            if ";" in path:
                raise misused(f"models_dir {path!r}: shimmy takes ';' as a separator")
        if self.health_timeout is not None and not self.health_timeout > 0:
            raise misused(f"health_timeout {self.health_timeout} is not positive")
        told: dict[str, object] = {
            "--model-path": self.model_path,
            "--model-dirs": self.models_dir,
            "--gpu-backend": self.gpu_mode != "auto",
        }
        if reason := conflict(self.args, [flag for flag, value in told.items() if value]):
            raise misused(f"args {list(self.args)}: {reason}")

    @property
    def start_timeout(self) -> float:
        """`health_timeout`, or the default for the kind of executable."""
        if self.health_timeout is not None:
            return self.health_timeout
        if self.shimmy_path is None:
            return ShimmyProcessDefaults.start_timeout_fake
        return ShimmyProcessDefaults.start_timeout_real

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with `env` applied."""
        merged = {**base, **self.env}
        return {name: value for name, value in merged.items() if value is not None}

    @property
    def working_directory(self) -> Path | None:
        """`cwd` as a path."""
        return None if self.cwd is None else Path(self.cwd)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; ``ShimmyProcessOptions(**data)`` is the way back."""
        return dict(vars(self))


def _path(value: StrPath | None) -> str | None:
    return None if value is None else os.fspath(value)


SAID_BY = {
    "--bind": "host and preferred_port (--shimmy-port)",
    "--model-path": "model_path (--shimmy-model)",
    "--model-dirs": "models_dir (--shimmy-models-dir)",
    "--gpu-backend": "gpu_mode (--shimmy-gpu)",
}
"""Options of ``serve``, and ours that say them; shimmy takes each once (seen on 2.6.5)."""


def conflict(args: Sequence[str], told: Sequence[str] = ()) -> str | None:
    """Why `args` cannot follow ``serve --bind …`` and the flags in `told`; None where they can."""
    if args and args[0] == "serve":
        return "'serve' is there already: leave it out"
    for flag in ("--bind", *told):
        if any(word == flag or word.startswith(f"{flag}=") for word in args):
            return f"{flag} is there already: say it by {SAID_BY[flag]}"
    return None
