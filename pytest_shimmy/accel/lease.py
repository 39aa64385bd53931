"""A GPU has one owner: the servers of workers that do not share one take turns.

Two servers that load a model into one GPU run out of its memory, and say so in a generation long
after. So the process that starts a server of its own for the GPU holds a locked file meanwhile,
which the kernel frees with its holder. The file is never deleted (see `ports`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..process.file_lock import FileLock, LockedError
from ..runtime_dir import subdir

VISIBLE = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
)
"""Variables that show a server some of the GPUs. Who sees others does not wait."""


class GpuLease:
    """The right to use the GPUs that `environ` shows, until `release` or process exit."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        shown = "\n".join(f"{name}={environ.get(name)}" for name in VISIBLE)
        path = subdir("locks") / f"gpu-{hashlib.sha256(shown.encode()).hexdigest()[:8]}.lock"
        self._lock = FileLock(path)
        self._holder = path.with_suffix(".holder")

    def acquire(self, owner: str, waiting: Callable[[str], None] | None = None) -> None:
        """Wait for the lease, as `owner`, a name for people; `waiting` hears of whom we wait for.

        Raises `ShimmyError` (``LOCK_TIMEOUT``) after `ShimmyProcessDefaults.gpu_timeout`.
        """
        deadline = time.monotonic() + ShimmyProcessDefaults.gpu_timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                self._lock.acquire(min(left, 3.0))
            except LockedError:
                if not left:
                    raise self._timed_out() from None
                if waiting is not None:
                    waiting(f"waiting for the GPU, which {self._who()} holds")
            else:
                break
        with contextlib.suppress(OSError):  # it only makes a message better
            self._holder.write_text(f"{owner} (process {os.getpid()})", "utf-8")

    def release(self) -> None:
        self._lock.release()

    def _who(self) -> str:
        try:
            return self._holder.read_text("utf-8") or "another process"
        except OSError:
            return "another process"

    def _timed_out(self) -> ShimmyError:
        seconds = ShimmyProcessDefaults.gpu_timeout
        return ShimmyError(
            ShimmyErrorCode.LOCK_TIMEOUT,
            f"the GPU was not free within {seconds:g} s: {self._who()} holds {self._lock.path}"
            ".\nWith one server per worker, the workers take turns on a GPU. Let them share a "
            "server (--shimmy-scope=run), or show each another GPU (CUDA_VISIBLE_DEVICES).",
            {"lock": self._lock.path, "timeout": seconds},
        )
