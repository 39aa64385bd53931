"""The line to a fake's remote control: JSON questions over connections that are kept open."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import ShimmyError, ShimmyErrorCode, is_ours
from ..options import CONTROL_TOKEN
from ..supervisor.health import CONTROL_ROUTE

__tracebackhide__ = is_ours

TIMEOUT = 30.0
"""Seconds for an answer; a question that waits has its own on top."""

NO_SESSION = "no_session"
"""The refusal of a question about a session that was not opened, or is closed."""

NEVER = 10**14
"""A record's number that no journal reaches."""


class Control:
    """Asks one fake. Thread-safe, and survives a fork of the process."""

    who = "fake"
    """What is asked, for errors."""
    route = CONTROL_ROUTE
    header = "x-fake-shimmy-control"
    """The header with the token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._idle: list[http.client.HTTPConnection] = []
        self._pid = os.getpid()

    def ask(self, op: str, *, patience: float = 0.0, **members: Any) -> dict[str, Any]:
        """The answer to one question. Raises `ShimmyError` (``CONTROL_FAILED``)."""
        # Escapes keep lone surrogates whole, which UTF-8 would not take.
        question = json.dumps({"op": op, **members}).encode()
        connection, is_fresh = self._connection()
        try:
            try:
                status, body = self._exchange(connection, question, patience)
            except (http.client.RemoteDisconnected, ConnectionError):
                connection.close()
                if is_fresh:
                    raise
                # It was kept open across a restart of the server.
                connection = self._connect()
                status, body = self._exchange(connection, question, patience)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ShimmyError(
                ShimmyErrorCode.CONTROL_FAILED,
                f"the {self.who} at {self._url} cannot be asked: {error or type(error).__name__}.\n"
                "Has it ended, or was it told to refuse connections?",
                {"url": self._url, "op": op},
            ) from error
        self._idle.append(connection)
        return self._judge(op, status, body)

    def close(self) -> None:
        """Close what is kept open; it opens again when asked."""
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        if self._pid != os.getpid():
            # A forked child and its parent must not talk over the same connections.
            self._pid = os.getpid()
            self.close()
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._connect(), True

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)

    def _exchange(
        self, connection: http.client.HTTPConnection, question: bytes, patience: float
    ) -> tuple[int, bytes]:
        if connection.sock is not None:
            connection.sock.settimeout(TIMEOUT + patience)
        else:
            connection.timeout = TIMEOUT + patience
        headers = {"content-type": "application/json", self.header: self._token}
        connection.request("POST", self.route, question, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read()

    def _judge(self, op: str, status: int, body: bytes) -> dict[str, Any]:
        try:
            document: Any = json.loads(body)
        except ValueError:
            document = None
        if status == 200 and isinstance(document, dict):
            return document
        if status == 400 and isinstance(document, Mapping):
            raise refused(str(document.get("error")), str(document.get("code")))
        raise ShimmyError(
            ShimmyErrorCode.CONTROL_FAILED,
            f"the server at {self._url} has no remote control, or not for us: it answered "
            f"{status}.\n{self._wanted()}",
            {"url": self._url, "op": op, "status": status},
        )

    def _wanted(self) -> str:
        return f"It must be a bundled fake that was started with {CONTROL_TOKEN}."


def refused(reason: str, code: str = "refused") -> ShimmyError:
    """The error for what a fake cannot be told to do; `code` is that of the fake's refusal."""
    return ShimmyError(ShimmyErrorCode.CONTROL_FAILED, reason, {"refusal": code})
