"""The life of a server, written down by the process that owns it."""

from __future__ import annotations

import time
from pathlib import Path

from ..network.addresses import authority
from ..options import ShimmyProcessOptions
from ..supervisor.manager import ShimmyProcessManager
from .parts import SERVER, Part


class ServerEvents:
    """Writes to the file at `path` what becomes of the server that `options` describe."""

    def __init__(self, path: str, options: ShimmyProcessOptions) -> None:
        place = Path(path)
        self._part = Part(str(place.parent), place.stem)
        self._mode = "fake" if options.shimmy_path is None else "real"
        self._host = options.host

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

    def _write(self, event: str, text: str, port: int | None = None, version: str = "") -> None:
        url = "" if port is None else f"http://{authority(self._host, port)}"
        self._part.write(
            SERVER,
            time=time.time(),
            event=event,
            text=text,
            url=url,
            version=version,
            mode=self._mode,
        )
