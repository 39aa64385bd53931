"""Find the executable and make sure that it is a shimmy; or stand in the bundled fake."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, lacks_resources, system_refused
from ..process import command
from .dialect import UNKNOWN_BUILD, Build, read_build
from .fake_profile import BUILD, RELEASE, system_of

_VERSION = r"^shimmy (\d+\.\d+\.\d+\S*)$"
"""All that ``shimmy --version`` prints on stdout (seen on 2.5.0)."""

ANSWER_LIMIT = 1 << 18
"""Bytes; ``gpu-info`` of a default build takes 1 KB (seen on 2.5.0)."""

INSTALL_HINT = "Install it with: cargo install shimmy --locked --bin shimmy"


def version_numbers(version: str) -> tuple[int, ...]:
    """Those of a version such as ``2.6.5``, to compare."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Executable:
    """Something that behaves as ``shimmy`` on its command line; its version was asked for."""

    command: tuple[str, ...]
    """What to put before shimmy's own arguments."""
    version: str
    is_fake: bool
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment in which it is that, on top of this process's own: it says which release,
    build and machine the fake imitates."""
    _builds: list[Build] = field(default_factory=list, repr=False, compare=False)
    """Its build, once it was asked for."""

    @property
    def name(self) -> str:
        """For messages: its path, or what it is."""
        return "the bundled fake" if self.is_fake else self.command[0]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version's numbers, to compare."""
        return version_numbers(self.version)

    @property
    def system(self) -> str:
        """The system, as in `sys.platform`, that it runs on or pretends to run on."""
        return system_of({**os.environ, **self.env}) if self.is_fake else sys.platform

    def build(self, cancelled: Callable[[], bool] = _never) -> Build:
        """What it was compiled with. Its ``gpu-info`` is asked once, which touches no GPU (seen on
        2.5.0 and 2.6.5). Raises `ShimmyError` when the system refuses to run it."""
        if not self._builds:
            answer = _ask([*self.command, "gpu-info"], self.env, cancelled)
            said = (answer.stdout + answer.stderr).decode("utf-8", "replace")
            self._builds.append(read_build(said))
        return self._builds[0]

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values."""
        return {
            "command": self.command,
            "version": self.version,
            "is_fake": self.is_fake,
            "env": dict(self.env),
            "builds": [tuple(build) for build in self._builds],
        }

    @property
    def known_build(self) -> Build:
        """The build, if it was asked for."""
        return self._builds[0] if self._builds else UNKNOWN_BUILD

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Executable:
        """The way back from `to_json`."""
        builds = [Build(engine, tuple(backends), line) for engine, backends, line in data["builds"]]
        return cls(
            tuple(data["command"]), data["version"], data["is_fake"], dict(data["env"]), builds
        )


def locate(path: str | os.PathLike[str]) -> Path:
    """The executable that `path` means: a path, or a bare name to be found on PATH.

    Raises `ShimmyError`: ``BINARY_NOT_FOUND``, ``BINARY_NOT_EXECUTABLE``.
    """
    text = os.fspath(path)
    if not text:
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"the path of the shimmy executable is empty.\n{INSTALL_HINT}",
            {"path": text},
        )
    if os.sep not in text and not (os.altsep and os.altsep in text):
        found = shutil.which(text)
        if found is None:
            looked = [*dict.fromkeys(filter(None, os.environ.get("PATH", "").split(os.pathsep)))]
            raise ShimmyError(
                ShimmyErrorCode.BINARY_NOT_FOUND,
                f"no executable {text!r} on PATH; looked in:\n"
                + "".join(f"  {directory}\n" for directory in looked)
                + f"{INSTALL_HINT}\nor give its path, or leave the path out to use the bundled "
                "fake.",
                {"path": text, "looked_in": looked},
            )
        return Path(found).absolute()
    candidate = Path(text)
    try:
        candidate = candidate.expanduser().absolute()
        mode = candidate.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error  # no such user, a null byte, a long name
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"no shimmy executable at {candidate}: {why}.\n{INSTALL_HINT}\n"
            "or leave the path out to use the bundled fake.",
            {"path": str(candidate)},
        ) from error
    if stat.S_ISDIR(mode):
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_EXECUTABLE,
            f"{candidate} is a directory.\nGive the path of the executable itself"
            + (f": {candidate / 'shimmy'}" if (candidate / "shimmy").is_file() else "."),
            {"path": str(candidate)},
        )
    if not os.access(candidate, os.X_OK):
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_EXECUTABLE,
            f"{candidate} is not executable (mode {stat.filemode(mode)}).\n"
            f"If it is a shimmy: chmod +x {candidate}",
            {"path": str(candidate)},
        )
    return candidate


def identify(
    path: str | os.PathLike[str],
    env: Mapping[str, str] = MappingProxyType({}),
    cancelled: Callable[[], bool] = _never,
) -> Executable:
    """Locate the executable and ask it for its version, with `env` on top of this process's own;
    a `cancelled()` question is given up.

    Raises `ShimmyError`: what `locate` raises, ``BINARY_NOT_EXECUTABLE`` when the system refuses
    to run it, ``BINARY_NOT_SHIMMY`` when it answers as something else or not at all.
    """
    executable = locate(path)
    answer = _ask([str(executable), "--version"], env, cancelled)
    match = re.match(_VERSION, answer.stdout.decode("utf-8", "replace").strip())
    if match is None or answer.exit.code != 0 or answer.cut is not None:
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_SHIMMY,
            f"{executable} is not a shimmy.\n{answer.told()}\n"
            "A shimmy answers 'shimmy 2.5.0', or another version. Check the path.",
            {"path": str(executable), **answer.details()},
        )
    return Executable((str(executable),), match[1], False, dict(env))


def bundled_fake(
    release: str | None = None, env: Mapping[str, str] = MappingProxyType({})
) -> Executable:
    """The bundled fake, imitating `release` (default: the newest one it imitates that has the
    build), with what `env` says of build and machine.

    Raises `ShimmyError` (``BINARY_NOT_FOUND``) for a release or build that it does not imitate.
    """
    from fake_shimmy.releases import NEWEST, RELEASES

    build = env.get(BUILD)
    having = [name for name, each in RELEASES.items() if build is None or build in each.builds]
    version = release or NEWEST
    if release is None and NEWEST not in having:
        version = max(having, key=version_numbers, default=NEWEST)
    if version not in RELEASES:
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"the bundled fake does not imitate shimmy {version}; it imitates: "
            f"{', '.join(RELEASES)}.",
            {"release": version, "imitated": list(RELEASES)},
        )
    if version not in having:
        builds = list(RELEASES[version].builds)
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"shimmy {version} has no build {build!r} that the bundled fake imitates; it imitates: "
            f"{', '.join(builds)}.",
            {"release": version, "build": build, "imitated": builds},
        )
    command = python_command("fake_shimmy.__main__", "fake_shimmy")
    return Executable(command, version, True, {**env, RELEASE: version})


def python_command(module: str, *packages: str) -> tuple[str, ...]:
    """A command that runs ``main()`` of a module of ours in a bare interpreter.

    Isolated and without ``site``: start-up hooks and variables of the user's environment
    (coverage, PYTHONPATH, a slow ``.pth`` file) neither change nor slow it. `packages` are what
    it imports beyond the standard library; their directories are handed over.
    """
    roots = dict.fromkeys(_root(package) for package in packages)
    boot = (
        f"import sys; sys.path[:0] = {list(roots)!r}; from {module} import main; sys.exit(main())"
    )
    return (sys.executable, "-I", "-S", "-c", boot)


def _root(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_FOUND,
            f"the Python package {package!r}, which pytest-shimmy needs, is not installed for "
            f"{sys.executable}.\nInstall pytest-shimmy again: pip install --force-reinstall "
            "pytest-shimmy",
            {"package": package},
        )
    return str(Path(next(iter(spec.submodule_search_locations))).absolute().parent)


def _ask(
    question: list[str], env: Mapping[str, str], cancelled: Callable[[], bool]
) -> command.Outcome:
    """What a question is answered that needs no model."""
    try:
        return command.run(
            question,
            env={**os.environ, **env},
            timeout=ShimmyProcessDefaults.version_timeout,
            limit=ANSWER_LIMIT,
            cancelled=cancelled,
        )
    except (OSError, ValueError, MemoryError) as error:
        if lacks_resources(error):
            raise system_refused(f"{question[0]} could not be started", error) from error
        raise ShimmyError(
            ShimmyErrorCode.BINARY_NOT_EXECUTABLE,
            f"{question[0]} cannot be executed: {getattr(error, 'strerror', None) or error}.\n"
            "Is it built for this machine (system and processor)?",
            {"path": question[0]},
        ) from error
