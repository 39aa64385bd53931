"""Where processes of one user on one machine meet: a private directory with a fixed name.

It must not follow TMPDIR, which differs between runs (tox, CI, nested sessions) that still have
to see each other's port leases. `PYTEST_SHIMMY_RUNTIME_DIR` moves it for everybody at once.

Its name in ``/tmp`` can be known, so another user may have taken it. Then the first of the other
places that is ours alone is used: all processes of a user come to the same one.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .defaults import RUNTIME_DIR_VARIABLE
from .errors import ShimmyError, ShimmyErrorCode, lacks_resources, system_refused

VARIABLE = RUNTIME_DIR_VARIABLE

NAME = "pytest-shimmy"
TMP = "/tmp"


def runtime_dir() -> Path:
    """The meeting place, made when missing.

    Raises `ShimmyError` (``LOCK_TIMEOUT``) where there is none that this user alone can write: a
    lock elsewhere would prove nothing.
    """
    refused: list[tuple[Path, str]] = []
    for path in _locations():
        why = _why_not(path)
        if why is None:
            return path
        refused.append((path, why))
    tried = "\n".join(f"  {path}: {why}" for path, why in refused)
    raise ShimmyError(
        ShimmyErrorCode.LOCK_TIMEOUT,
        f"there is no directory for port leases and locks; looked at:\n{tried}\n"
        f"Remove what is in the way, or set {VARIABLE} to a directory of your own.",
        {"paths": [str(path) for path, _ in refused]},
    )


def subdir(name: str) -> Path:
    """A directory of `runtime_dir`, made when missing. Raises `ShimmyError` (``LOCK_TIMEOUT``)."""
    path = runtime_dir() / name
    try:
        _make(path)
    except OSError as error:
        what = f"{path} cannot be used for port leases and locks"
        raise system_refused(what, error, ShimmyErrorCode.LOCK_TIMEOUT) from error
    return path


def _locations() -> Iterator[Path]:
    """Where it may be, in the order of preference."""
    if chosen := os.environ.get(VARIABLE):
        yield Path(chosen).absolute()
        return
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or _temporary()
        yield Path(base) / NAME
        return
    base = TMP if os.access(TMP, os.W_OK | os.X_OK) else _temporary()
    yield Path(base) / f"{NAME}-{os.getuid()}"
    if private := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(private) / NAME
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path.home() raises where there is none
    if home.is_absolute():
        yield home / ".cache" / NAME / "runtime"


def _temporary() -> str:
    import tempfile

    return tempfile.gettempdir()


def _why_not(path: Path) -> str | None:
    """Why `path` cannot be the meeting place; None when it can, and then it is there."""
    try:
        _make(path)
        info = path.stat(follow_symlinks=False)
    except OSError as error:
        if lacks_resources(error):  # another place would not help, and others would not find it
            what = f"{path} cannot be used for port leases and locks"
            raise system_refused(what, error, ShimmyErrorCode.LOCK_TIMEOUT) from error
        return error.strerror or str(error)
    if not stat.S_ISDIR(info.st_mode):
        return "it is not a directory"
    if sys.platform == "win32":
        return None
    if info.st_uid != os.getuid():
        return f"it belongs to user {info.st_uid}"
    if info.st_mode & 0o022:
        return f"other users may write in it ({stat.filemode(info.st_mode)}): chmod 700"
    effective = os.access in os.supports_effective_ids
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=effective):
        return f"it cannot be written ({stat.filemode(info.st_mode)})"
    return None


def _make(path: Path) -> None:
    """Make a directory for this user alone, whatever its umask; a no-op where it is there."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:  # another process was quicker; or it is no directory
        if not path.is_dir():
            raise
    else:
        if sys.platform != "win32":
            path.chmod(0o700)


def write_files(files: Mapping[str, bytes]) -> None:
    """Make each file: path and content. Raises `OSError`."""
    for path, content in files.items():
        Path(path).write_bytes(content)
