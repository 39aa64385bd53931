"""An application that owns its sidecar, right as it stands; and bugs that can be planted in it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from typing import Any

from pytest_shimmy.strategies import Sidecar

START_TIMEOUT = 5.0
BUGS = (
    "it trusts whoever listens",
    "it waits for a sidecar that has exited",
    "it leaves a sidecar when it stops",
    "it hides that it has no answer",
    "it does not restart its sidecar",
)


LEFT: list[subprocess.Popen[bytes]] = []
"""What applications have left."""


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill them, and wait for them."""
    for process in processes:
        process.kill()
        process.wait()


class Application:
    """Starts the sidecar, asks it, and stops it; ``bug`` is one of `BUGS`."""

    def __init__(self, sidecar: Sidecar, bug: str | None = None) -> None:
        self._sidecar = sidecar
        self._bug = bug
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        executable, port, model = self._sidecar
        bind = f"127.0.0.1:{port}"
        if self._bug != "it trusts whoever listens":
            # Raises where somebody else listens, who may well be a shimmy.
            socket.create_server(("127.0.0.1", port)).close()
        command = [str(executable), "serve", "--bind", bind, "--model-path", str(model)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            is_patient = self._bug == "it waits for a sidecar that has exited"
            if process.poll() is not None and not is_patient:
                raise RuntimeError("the sidecar has exited")
            if self._is_healthy():
                return
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError("the sidecar is not healthy")
            time.sleep(0.01)

    def _is_healthy(self) -> bool:
        try:
            status, _ = self._exchange("GET", "/health", b"")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200

    def ask(self) -> str:
        try:
            if self._processes and self._processes[-1].poll() is not None:
                if self._bug == "it does not restart its sidecar":
                    raise RuntimeError("no sidecar")
                self.start()
            elif not self._processes:
                raise RuntimeError("no sidecar")
            messages = [{"role": "user", "content": "x"}]
            asked = json.dumps({"model": "tiny", "messages": messages, "stream": False}).encode()
            status, body = self._exchange("POST", "/v1/chat/completions", asked)
            if status != 200:
                raise RuntimeError(f"status {status}")
            answer: Any = json.loads(body)
            return str(answer["choices"][0]["message"]["content"])
        except Exception:
            if self._bug == "it hides that it has no answer":
                return ""
            raise

    def stop(self) -> None:
        if self._bug == "it leaves a sidecar when it stops":
            LEFT.extend(self._processes)
        else:
            end(self._processes)
        self._processes.clear()

    def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._sidecar.port, timeout=2)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        finally:
            connection.close()
