"""The life of a server, written down by the process that owns it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..accel.readback import read_back
from ..events import Ready, Restarting, Starting
from ..executable.dialect import UNKNOWN_BUILD, Build
from ..executable.executable import Executable
from ..network.addresses import authority
from ..options import ShimmyProcessOptions
from ..supervisor.manager import ShimmyProcessManager
from .parts import BACKEND, SERVER, Part

LINKED = ".log"
"""Of the other name that a server's log has while its owner runs, beside the owner's part."""

LOG_READ = 256 * 1024
"""Bytes of the log since the last start, in which a backend is looked for: a load comes early, and
to search megabytes takes long."""


def shown_backends(log: Path, begin: int, version: str, build: Build) -> dict[str, str | None]:
    """Which backend a server's `log` shows, whose last life begins at an offset: ``proved`` without
    an answer, and ``answered`` if there was one. Empty where it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(begin)
            text = file.read(LOG_READ).decode("utf-8", "replace")
    except OSError:
        return {}
    return {
        name: read_back("auto", version, build=build, log=text, answered=answered).in_use
        for name, answered in (("proved", False), ("answered", True))
    }


class ServerEvents:
    """Writes to the file at `path` what becomes of the server that `options` describe; it is
    what `executable` says, where that is known."""

    def __init__(
        self, path: str, options: ShimmyProcessOptions, executable: Executable | None = None
    ) -> None:
        place = Path(path)
        self._part = Part(str(place.parent), place.stem)
        self._options = options
        self._build = UNKNOWN_BUILD if executable is None else executable.known_build
        self._log = Path(str(options.log_path))
        self._begin = 0
        """Where in the log the server's last life begins."""
        self._link = place.with_suffix(LINKED)
        self._mode = "fake" if options.shimmy_path is None else "real"

    def follow(self, manager: ShimmyProcessManager) -> None:
        """Write a line for each change of its state."""
        manager.on("starting", self._starting)
        manager.on("ready", self._ready)
        manager.on("restarting", self._restarting)
        manager.on("stopped", lambda event: self._write("stopped", str(event.exit)))
        manager.on("error", lambda event: self._write("error", str(event.error)))

    def _starting(self, event: Starting) -> None:
        self._write("starting", f"pid {event.pid}", event.port)
        # Should this process be killed, the log is removed; only another name of it stays. Where
        # there can be none, on another disk, the user chose the place, and the log stays itself.
        with contextlib.suppress(OSError):
            try:
                os.link(self._log, self._link)
            except FileExistsError:
                pass
            except OSError:
                self._link.symlink_to(self._log)

    def _ready(self, event: Ready) -> None:
        text = f"after {event.elapsed:.3f} s"
        self._write("ready", text, event.port, version=event.version, build=self._build)

    def _restarting(self, event: Restarting) -> None:
        crash = event.crash
        self._write("restarting", "asked for" if crash is None else f"crash: {crash.exit}")
        with contextlib.suppress(OSError):
            self._begin = self._log.stat().st_size

    def recorded(self, recorder: str, upstream: str | None) -> None:
        """A recorder stands before it at this address; `upstream` is that of an attached one."""
        if upstream is not None:
            self._mode = "attached"
        self._write("recorded", f"by the recorder at {recorder}", recorder=recorder)

    def tell_backend(self, version: str) -> None:
        """Write which backend the log shows, which is over."""
        shown = shown_backends(self._log, self._begin, version, self._build)
        self._part.write(BACKEND, **shown)
        with contextlib.suppress(OSError):
            self._link.unlink(missing_ok=True)

    def _write(
        self,
        event: str,
        text: str,
        port: int | None = None,
        version: str = "",
        recorder: str = "",
        build: Build | None = None,
    ) -> None:
        url = "" if port is None else f"http://{authority(self._options.host, port)}"
        self._part.write(
            SERVER,
            time=time.time(),
            event=event,
            text=text,
            url=url,
            version=version,
            mode=self._mode,
            recorder=recorder,
            build=build,
            begin=self._begin,
        )
