"""The programs that are started for measurements: helpers of ours, and the fake."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytest_shimmy.executable.identify import bundled_fake

from .bench import PATIENCE, Bench, running

HERE = Path(__file__).resolve().parent
NO_AIMOCK = "no llmock on the PATH (npm install --global @copilotkit/aimock)"
NO_VIDAIMOCK = "no vidaimock on the PATH (cargo install vidaimock)"
BARE = [sys.executable, "-I", "-S"]
"""An interpreter that loads nothing of its own accord."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def delayed_server(directory: Path) -> Path:
    """An executable that is ``delayed_server.py``."""
    path = directory / "delayed-server"
    if not path.exists():
        # Not a "#!python" line: systems limit its length and its arguments.
        command = shlex.join([*BARE, str(HERE / "delayed_server.py")])
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)
    return path


def fake_command(bench: Bench, port: int) -> list[str]:
    """The bundled fake as the plugin starts it."""
    bind = f"127.0.0.1:{port}"
    return [*bundled_fake().command, "serve", "--bind", bind, "--model-path", str(bench.gguf)]


def scripted(bench: Bench, tokens: int, per_token: float = 0.0) -> dict[str, str]:
    """Environment in which the fake answers with so many tokens, `per_token` seconds apart."""
    path = bench.home / f"script-{tokens}-{per_token:g}.json"
    words = [f"word{number} " for number in range(tokens)]
    latency = {"first_token": per_token, "per_token": per_token}
    path.write_text(json.dumps({"latency": latency, "rules": [{"reply": words}]}))
    return {**hermetic(bench), "FAKE_SHIMMY_SCRIPT": str(path)}


def real_command(bench: Bench, port: int) -> list[str]:
    """The real executable; `real_environment` shows it our tiny model only."""
    assert bench.shimmy_path is not None
    bind = f"127.0.0.1:{port}"
    return [bench.shimmy_path, "serve", "--bind", bind, "--model-dirs", str(bench.models)]


def hermetic(bench: Bench) -> dict[str, str]:
    """Environment in which no server finds models of the person who runs this."""
    return {"HOME": str(bench.home)}


@contextlib.contextmanager
def serving(
    bench: Bench, command: Callable[[int], Sequence[str]], env: dict[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Port and process id of a running server, which `command` of a port starts."""
    port = free_port()
    with running(command(port), env or hermetic(bench), bench.home) as process:
        await_health(process, port)
        yield port, process.pid


def cpu_seconds(pid: int) -> float | None:
    """What the threads of a process have used; None where the system does not say (not Linux)."""
    used = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            used += int((thread / "schedstat").read_text().split()[0])
    except OSError:
        return None
    return used / 1e9


def used_seconds(pid: int) -> float:
    """`cpu_seconds` of a server; of the clock where the system does not say."""
    used = cpu_seconds(pid)
    return time.perf_counter() if used is None else used


HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"


def await_health(process: subprocess.Popen[bytes], port: int, pause: float = 0.0005) -> None:
    """Return at the first 200 on ``/health``. Raises `RuntimeError` when the process ends."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as peer:
                peer.sendall(HEALTH_REQUEST)
                if peer.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(pause)
    raise RuntimeError(f"{process.args!r} was not healthy after {PATIENCE:g} s")


def await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the port can be connected to. Raises `RuntimeError`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen")
        time.sleep(0.01)
