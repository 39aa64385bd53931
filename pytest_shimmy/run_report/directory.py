"""Where the parts of a run are, made by the process that begins it."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from ..runtime_dir import subdir


def new_directory() -> Path:
    """A directory for the parts of a run that begins in this process. Directories of runs that
    were killed are removed. Raises `ShimmyError` where there can be none."""
    home = subdir("reports")
    for old in home.iterdir():
        pid = old.name.partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    directory = home / f"{os.getpid()}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    return directory


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
