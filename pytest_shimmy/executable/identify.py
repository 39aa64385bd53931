"""Find the executable and make sure that it is a shimmy; or stand in the bundled fake."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import ShimmyError, ShimmyErrorCode
from .executable import Executable, asked, never, version_numbers
from .fake_profile import BUILD, RELEASE
from .python import python_command

_VERSION = r"^shimmy (\d+\.\d+\.\d+\S*)$"
"""All that ``shimmy --version`` prints on stdout (seen on 2.5.0)."""

INSTALL_HINT = "Install it with: cargo install shimmy --locked --bin shimmy"


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
        import shutil  # the keeper does not look for a fake

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
    cancelled: Callable[[], bool] = never,
) -> Executable:
    """Locate the executable and ask it for its version, with `env` on top of this process's own;
    a `cancelled()` question is given up.

    Raises `ShimmyError`: what `locate` raises, ``BINARY_NOT_EXECUTABLE`` when the system refuses
    to run it, ``BINARY_NOT_SHIMMY`` when it answers as something else or not at all.
    """
    executable = locate(path)
    answer = asked([str(executable), "--version"], env, cancelled)
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
