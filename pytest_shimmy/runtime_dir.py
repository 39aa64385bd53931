"""Where processes of one user on one machine meet: a private directory with a fixed name.

It must not follow TMPDIR, which differs between runs (tox, CI, nested sessions) that still have
to see each other's port leases. `PYTEST_SHIMMY_RUNTIME_DIR` moves it for everybody at once.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import ShimmyError, ShimmyErrorCode

VARIABLE = "PYTEST_SHIMMY_RUNTIME_DIR"


def runtime_dir() -> Path:
    """The meeting place, made when missing.

    Raises `ShimmyError` (``LOCK_TIMEOUT``) when it cannot be made, or belongs to somebody else:
    then a lock in it would prove nothing.
    """
    path = _location()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat(follow_symlinks=False)
    except OSError as error:
        raise _unusable(path, str(error)) from error
    if not stat.S_ISDIR(info.st_mode):
        raise _unusable(path, "it is not a directory")
    if sys.platform != "win32" and info.st_uid != os.getuid():
        raise _unusable(path, f"it belongs to user {info.st_uid}")
    return path


def subdir(name: str) -> Path:
    """A directory of `runtime_dir`, made when missing."""
    path = runtime_dir() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _location() -> Path:
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()
        return Path(base) / "pytest-shimmy"
    base = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()
    return Path(base) / f"pytest-shimmy-{os.getuid()}"


def _unusable(path: Path, why: str) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.LOCK_TIMEOUT,
        f"cannot use {path} for port leases and locks: {why}.\n"
        f"Remove it, or set {VARIABLE} to a directory of your own.",
        {"path": str(path)},
    )


def write_files(files: Mapping[str, bytes]) -> None:
    """Make each file: path and content. Raises `OSError`."""
    for path, content in files.items():
        Path(path).write_bytes(content)
