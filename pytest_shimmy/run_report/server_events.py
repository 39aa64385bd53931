"""The life of a server, written down by the process that owns it."""

from __future__ import annotations

import time
from pathlib import Path

from ..accel.readback import read_back
from ..executable.dialect import UNKNOWN_BUILD
from ..executable.executable import Executable
from ..network.addresses import authority
from ..options import ShimmyProcessOptions
from ..supervisor.manager import ShimmyProcessManager
from .parts import BACKEND, SERVER, Part

LOG_READ = 4 * 1024 * 1024
"""Bytes; in a longer log the backend is not looked for."""


class ServerEvents:
    """Writes to the file at `path` what becomes of the server that `options` describe; it is
    what `executable` says, where that is known."""

    def __init__(
        self, path: str, options: ShimmyProcessOptions, executable: Executable | None = None
    ) -> None:
        place = Path(path)
        self._part = Part(str(place.parent), place.stem)
        self._options = options
        self._executable = executable
        self._mode = "fake" if options.shimmy_path is None else "real"

    def follow(self, manager: ShimmyProcessManager) -> None:
        """Write a line for each change of its state."""
        manager.on(
            "starting", lambda event: self._write("starting", f"pid {event.pid}", event.port)
        )
        manager.on(
            "ready",
            lambda event: self._write(
                "ready", f"after {event.elapsed:.3f} s", event.port, version=event.version
            ),
        )
        manager.on(
            "restarting",
            lambda event: self._write(
                "restarting",
                "asked for" if event.crash is None else f"crash: {event.crash.exit}",
            ),
        )
        manager.on("stopped", lambda event: self._write("stopped", str(event.exit)))
        manager.on("error", lambda event: self._write("error", str(event.error)))

    def recorded(self, recorder: str, upstream: str | None) -> None:
        """A recorder stands before it at this address; `upstream` is that of an attached one."""
        if upstream is not None:
            self._mode = "attached"
        self._write("recorded", f"by the recorder at {recorder}", recorder=recorder)

    def tell_backend(self, version: str) -> None:
        """Write which backend the log shows: without an answer, and if there was one."""
        log_path = Path(str(self._options.log_path))
        try:
            if log_path.stat().st_size > LOG_READ:
                return
            log = log_path.read_bytes().decode("utf-8", "replace")
        except OSError:
            return
        build = UNKNOWN_BUILD if self._executable is None else self._executable.known_build
        proved, answered = (
            read_back("auto", version, build=build, log=log, answered=answered).in_use
            for answered in (False, True)
        )
        self._part.write(BACKEND, proved=proved, answered=answered)

    def _write(
        self, event: str, text: str, port: int | None = None, version: str = "", recorder: str = ""
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
        )
