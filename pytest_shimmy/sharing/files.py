"""The files of keepers: how to join one, the logs that are kept, and what killed ones leave."""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import contextlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from ..process.file_lock import FileLock, LockedError
from . import sockets

KEPT_LOGS = 20
"""How many logs of failed runs are kept; older ones are removed."""
KEPT_DAYS = 14
"""After how many days a kept log is removed."""
KEPT_SIZE = 64 * 1024 * 1024
"""How many bytes of one log are kept: its newest."""


class RendezvousFile(NamedTuple):
    """``keeper.json``: how to join. It appears when the keeper listens, whole or not at all."""

    address: sockets.Address
    token: str

    @staticmethod
    def path(directory: Path) -> Path:
        return directory / "keeper.json"


def announce(directory: Path, rendezvous: RendezvousFile) -> None:
    """Write a keeper's ``keeper.json``. Raises `OSError`."""
    path = RendezvousFile.path(directory)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(rendezvous._asdict()))
    draft.replace(path)


def read_rendezvous(directory: Path) -> RendezvousFile | None:
    """None where there is no such file: the keeper was killed, or has not got so far."""
    try:
        data = json.loads(RendezvousFile.path(directory).read_bytes())
        return RendezvousFile(sockets.to_address(data["address"]), str(data["token"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remove(directory: Path) -> None:
    """Remove a keeper's directory, as far as that is possible."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove what killed keepers left in `directory`; the holder of a lock is alive."""
    for lock_file in directory.glob("*.lock"):
        lock = FileLock(lock_file)
        with contextlib.suppress(LockedError, OSError), lock.acquire():
            remove(lock_file.with_suffix(""))
            lock_file.unlink(missing_ok=True)


def keep_log(log: Path, logs: Path, name: str) -> Path:
    """Move `log` to the directory `logs`, and remove what is too much there.

    Returns its new place. Raises `OSError`.
    """
    logs.mkdir(mode=0o700, exist_ok=True)
    kept = logs / f"{name}.log"
    if log.stat().st_size > KEPT_SIZE:
        _copy_newest(log, kept)
    else:
        log.replace(kept)
    by_age = sorted(_modified(path) for path in logs.iterdir())
    outdated = time.time() - KEPT_DAYS * 24 * 3600
    for index, (modified, path) in enumerate(by_age):
        if path != kept and (index < len(by_age) - KEPT_LOGS or modified < outdated):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return kept


def _copy_newest(log: Path, kept: Path) -> None:
    import shutil

    size = log.stat().st_size
    with open(log, "rb") as source, open(kept, "wb") as target:
        target.write(b"[%d bytes were left out here]\n" % (size - KEPT_SIZE))
        source.seek(-KEPT_SIZE, os.SEEK_END)
        shutil.copyfileobj(source, target)


def _modified(path: Path) -> tuple[float, Path]:
    try:
        return path.stat().st_mtime, path
    except OSError:  # another keeper has just removed it
        return 0.0, path
