"""The line to a fake's remote control: JSON questions over connections that are kept open."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ShimmyError, ShimmyErrorCode, is_ours, misused
from ..network import http
from ..network.http import Answer, Connection, Patience
from ..network.questions import in_words
from ..network.route import route_to
from ..options import CONTROL_TOKEN
from ..supervisor.health import CONTROL_ROUTE

__tracebackhide__ = is_ours

TIMEOUT = 30.0
"""Seconds for an answer; a question that waits has its own on top."""

MAX_JOURNAL = 1 << 30
"""Bytes of an answer: a journal has every body that the fake was sent."""

NO_SESSION = "no_session"
"""The refusal of a question about a session that was not opened, or is closed."""

NEVER = 10**14
"""A record's number that no journal reaches."""


class Line(Connection):
    """A connection, on which answers come in the order of the questions."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises `OSError`."""
        route = route_to(url)
        super().__init__(route, TIMEOUT)
        self._begin = http.head(route, "POST", path, headers)
        self.owed = 0
        """How many answers nobody has read yet."""

    def tell(self, body: bytes, patience: Patience) -> None:
        """Ask, and do not wait. That the connection has ended is said when the answer is read."""
        self.owed += 1
        with contextlib.suppress(ConnectionError):
            self.send(http.request(self._begin, body), patience)

    def newest_answer(self, patience: Patience) -> Answer:
        """The answer to what was asked last."""
        while True:
            answer = self.receive(patience, MAX_JOURNAL)
            self.owed -= 1
            if not self.owed:
                return answer


class Control:
    """Asks one fake. Thread-safe, and survives a fork of the process."""

    who = "fake"
    """What is asked, for errors."""
    route = CONTROL_ROUTE
    header = "x-fake-shimmy-control"
    """The header with the token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self.token = token
        self._idle: list[Line] = []
        self._pid = os.getpid()

    def ask(self, op: str, *, patience: float = 0.0, **members: Any) -> dict[str, Any]:
        """The answer to one question.

        Raises `ShimmyError` (``CONTROL_FAILED``), and `ShimmyUsageError` for an invalid
        question.
        """
        return self._asked(op, members, patience)()

    def begin(self, op: str, **members: Any) -> Callable[[], dict[str, Any]]:
        """Ask, and do not wait; calling the result does, and returns and raises what `ask` does."""
        return self._asked(op, members)

    def tell(self, op: str, **members: Any) -> None:
        """Say what nobody needs an answer to; `settle` waits until it is done. A fake that has
        ended is not told."""
        line = self._idle_line()
        if line is None:
            with contextlib.suppress(ShimmyError):
                self.ask(op, **members)
            return
        with contextlib.suppress(OSError):
            self._send(line, _question(op, members))
            self._give_back(line)

    def settle(self) -> None:
        """Wait until all that was told is done, or the fake has ended."""
        lines = []
        while (line := self._idle_line()) is not None:
            lines.append(line)
        for line in lines:
            with contextlib.suppress(OSError):
                if line.owed:
                    self._newest(line)
                else:
                    self._give_back(line)

    def close(self) -> None:
        """Close what is kept open; it opens again when asked."""
        while self._idle:
            self._idle.pop().close()

    def _idle_line(self) -> Line | None:
        if self._pid != os.getpid():
            # A forked child and its parent must not talk over the same connections.
            self._pid = os.getpid()
            self.close()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _asked(
        self, op: str, members: Mapping[str, Any], patience: float = 0.0
    ) -> Callable[[], dict[str, Any]]:
        question = _question(op, members)
        line = self._idle_line()
        try:
            if line is not None:
                self._send(line, question)
        except OSError as error:
            raise self._unreachable(op, error) from error

        def answer() -> dict[str, Any]:
            newest = None
            try:
                if line is not None:
                    # It may have been kept open across a restart of the server.
                    with contextlib.suppress(ConnectionError):
                        newest = self._newest(line, patience)
                if newest is None:
                    headers = {"content-type": "application/json", self.header: self.token}
                    new = Line(self._url, self.route, headers)
                    self._send(new, question)
                    newest = self._newest(new, patience)
            except OSError as error:
                raise self._unreachable(op, error) from error
            return self._judge(op, newest)

        return answer

    def _send(self, line: Line, question: bytes) -> None:
        try:
            line.tell(question, Patience(TIMEOUT))
        except BaseException:
            line.close()
            raise

    def _newest(self, line: Line, patience: float = 0.0) -> Answer:
        try:
            answer = line.newest_answer(Patience(TIMEOUT + patience))
        except BaseException:  # an interrupted test has left its answer behind
            line.close()
            raise
        self._give_back(line)
        return answer

    def _give_back(self, line: Line) -> None:
        """Keep it open for the next question, unless something went wrong with it."""
        if line.is_reusable:
            self._idle.append(line)
        else:
            line.close()

    def _unreachable(self, op: str, error: OSError) -> ShimmyError:
        return ShimmyError(
            ShimmyErrorCode.CONTROL_FAILED,
            f"the {self.who} at {self._url} cannot be reached: {in_words(error)}.\n"
            "Has it ended, or was it told to refuse connections?",
            {"url": self._url, "op": op},
        )

    def _judge(self, op: str, answer: Answer) -> dict[str, Any]:
        status = answer.status
        try:
            document = answer.json()
        except ValueError:
            document = None
        if status == 200 and isinstance(document, dict):
            return document
        if status == 400 and isinstance(document, Mapping):
            if document.get("code") != NO_SESSION:
                raise misused(str(document.get("error")))
            raise refused(str(document.get("error")), NO_SESSION)
        raise ShimmyError(
            ShimmyErrorCode.CONTROL_FAILED,
            f"the server at {self._url} has no remote control, or not for this run: it answered "
            f"{status}.\n{self._wanted()}",
            {"url": self._url, "op": op, "status": status},
        )

    def _wanted(self) -> str:
        return f"It must be a bundled fake that was started with {CONTROL_TOKEN}."


def _question(op: str, members: Mapping[str, Any]) -> bytes:
    # Escapes keep lone surrogates whole, which UTF-8 would not take.
    return json.dumps({"op": op, **members}).encode()


def refused(reason: str, code: str = "refused") -> ShimmyError:
    """The error for what a fake cannot do any more; `code` is that of its refusal."""
    return ShimmyError(ShimmyErrorCode.CONTROL_FAILED, reason, {"refusal": code})
