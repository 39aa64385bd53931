"""The peers behind one face each. Imported by name at run time: none of them has to be there."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .bench import PATIENCE, running

MIRAKURU = "mirakuru"
XPROCESS = "pytest-xprocess"


def mirakuru(command: Sequence[str], port: int, env: dict[str, str], cwd: Path) -> Any:
    """mirakuru's executor for an HTTP server, with its own defaults, not started yet."""
    return importlib.import_module("mirakuru").HTTPExecutor(
        list(command),
        f"http://127.0.0.1:{port}/health",
        method="GET",
        timeout=PATIENCE,
        cwd=str(cwd),
        envvars=env,
    )


class XProcess:
    """pytest-xprocess for one server, with its own defaults; outside of pytest."""

    def __init__(self, directory: Path) -> None:
        module = importlib.import_module("xprocess")
        self._starter = module.ProcessStarter
        root = importlib.import_module("py").path.local(str(directory))
        silent = SimpleNamespace(debug=lambda *_: None)
        self._xprocess = module.XProcess(SimpleNamespace(), root, silent)

    def start(
        self, command: Sequence[str], port: int, env: dict[str, str], pattern: str | None = None
    ) -> None:
        """Wait for `pattern` in the log; without one, for an answer on ``/health``."""
        members: dict[str, Any] = {
            "args": list(command),
            "env": {**os.environ, **env},
            "timeout": PATIENCE,
        }
        if pattern is not None:
            members["pattern"] = pattern
        else:
            members["startup_check"] = lambda _: is_healthy(port)
        self._xprocess.ensure("server", type("Starter", (self._starter,), members), restart=True)

    def stop(self) -> None:
        self._xprocess.getinfo("server").terminate()
        # What the plugin does at the end of a run: close its files and reap the child.
        for resource in self._xprocess.resources:
            resource.release()
            if resource.popen is not None:
                resource.popen.wait(PATIENCE)
        self._xprocess.resources.clear()


@contextlib.contextmanager
def polled(
    command: Sequence[str], port: int, env: dict[str, str], cwd: Path, pause: float = 0.01
) -> Iterator[subprocess.Popen[bytes]]:
    """What most test suites have: Popen, and a loop that asks ``/health`` every 10 ms."""
    with running(command, env, cwd) as process:
        deadline = time.monotonic() + PATIENCE
        while not is_healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command!r} did not become healthy")
            time.sleep(pause)
        yield process


def is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
