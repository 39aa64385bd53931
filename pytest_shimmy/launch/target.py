"""What would run for some settings, found out once and passed on.

An executable is asked for its version, and for its build where something depends on that. Both are
questions to a process, so whoever has asked hands the answer on: the controller to xdist's workers,
a test process to the keeper that starts the server.
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ShimmyError
from ..executable.dialect import gpu_arguments
from ..executable.executable import Executable
from ..executable.fake_profile import Pretence, pretence
from ..executable.identify import bundled_fake, identify
from ..settings import Settings


class Target(NamedTuple):
    """What would run for `settings`, which attach to no server."""

    settings: Settings
    executable: Executable

    @property
    def gpu(self) -> str:
        """The GPU backend that is asked for."""
        return self.settings.gpu[0]

    def may_use_gpu(self) -> bool:
        """Whether its server can occupy a GPU. Raises `ShimmyError`."""
        if self.executable.is_fake or self.gpu == "cpu":
            return False
        build = self.executable.build()
        return build.engine == "airframe" or bool(build.backends)


class Targets:
    """The targets of one run, as far as this process takes part in it: each executable is asked
    once. `known` is what `to_json` of another process gave."""

    def __init__(self, known: Sequence[Mapping[str, Any]] = ()) -> None:
        self._executables = {
            (each["which"], _items(each["executable"]["env"])): Executable.from_json(
                each["executable"]
            )
            for each in known
        }

    def of(self, settings: Settings) -> Target:
        """The target of `settings`. Raises `ShimmyError`, see `identify` and `bundled_fake`."""
        which, env = settings.path, dict(settings.env)
        if settings.path is None:
            which, machine = _pretence(settings)
            env = {**machine, **env}
        key = which, _items(env)
        if key not in self._executables:
            self._executables[key] = (
                bundled_fake(which, env) if settings.path is None else identify(settings.path, env)
            )
        executable = self._executables[key]
        if settings.gpu[0] != "auto":
            executable.build()  # here, and not by each process that is handed it
        return Target(settings, executable)

    def impossible(self, settings: Settings) -> str | None:
        """Why no real executable is what `settings` ask of the fake: that release, build and
        backend at once. None: there is one."""
        try:
            target = self.of(settings)
            executable = target.executable
            if target.gpu != "auto":
                gpu_arguments(executable.version, executable.build(), target.gpu, executable.system)
        except ShimmyError as error:
            return error.message.splitlines()[0]
        return None

    def to_json(self) -> list[dict[str, Any]]:
        """What is known, as JSON values."""
        return [
            {"which": which, "executable": executable.to_json()}
            for (which, _), executable in self._executables.items()
        ]


def imitated(settings: Settings) -> list[str]:
    """The releases that the fake imitates in a run with `settings`; starts no process."""
    found = []
    for release in settings.fake_version or (None,):
        for gpu in settings.gpu:
            one = settings._replace(gpu=(gpu,), fake_version=(release,) if release else ())
            which, machine = _pretence(one)
            found.append(which or bundled_fake(None, machine).version)
    return list(dict.fromkeys(found))


def _pretence(settings: Settings) -> Pretence:
    release = next(iter(settings.fake_version), None)
    return pretence(settings.gpu[0], release, os.environ, settings.fake_build)


def _items(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(env.items()))
