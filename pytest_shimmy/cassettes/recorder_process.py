"""The recorder's process, as the keeper holds it."""

from __future__ import annotations

import contextlib
import json
import secrets
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..executable.dialect import API_KEY, HARNESS_KEY
from ..executable.python import python_command
from ..network.addresses import authority


class RecorderAddress(NamedTuple):
    """Where a recorder listens, and what it wants to be told before it is asked."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"RecorderAddress({self.url!r})"


class RecorderProcess:
    """A recorder on a port of its own. It ends with this process, however that ends.

    Raises `ShimmyError` (``CONTROL_FAILED``) if it cannot be started.
    """

    def __init__(
        self, host: str, log: Path, server_key: str | None = None, *, knows_keys: bool = False
    ) -> None:
        token = secrets.token_hex(16)
        spec = {
            "host": host,
            "token": token,
            "harness_key": HARNESS_KEY,
            "own_keys": [API_KEY, HARNESS_KEY],
            "server_key": server_key,
            "knows_keys": knows_keys,
        }
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                python_command(
                    "pytest_shimmy.cassettes.recorder_program", "pytest_shimmy", "fake_shimmy"
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=log.parent,
                start_new_session=sys.platform != "win32",
            )
        self._log = log
        try:
            self._tell(spec)
            port: int = self._answer()["port"]
        except BaseException:
            self.stop()
            raise
        self.address = RecorderAddress(f"http://{authority(host, port)}", token)

    def use(self, upstream: str) -> None:
        """The server is at this address from now on. Raises `ShimmyError`."""
        self._tell({"upstream": upstream})
        self._answer()

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _tell(self, message: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died: the next question finds out
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        timeout = ShimmyProcessDefaults.keeper_timeout
        line = b""
        # What it says is short, so a line that has begun is there.
        if sys.platform == "win32" or select.select([self._process.stdout], [], [], timeout)[0]:
            line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()
            raise ShimmyError(
                ShimmyErrorCode.CONTROL_FAILED,
                "the recorder, the small proxy in front of the server, did not start; it said:\n"
                f"{said or '(nothing)'}\nInterpreter: {sys.executable}",
            ) from None
        return answer
