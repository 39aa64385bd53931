"""What the tests of `ShimmyProcessManager` share: hearing its events, asking its server."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any, get_args

import pytest

from pytest_shimmy import ShimmyError, ShimmyProcessManager, ShimmyProcessOptions, events

LONG = 60.0

Step = list[object]
Pretend = Callable[..., ShimmyProcessOptions]
Raised = list[BaseException | None]


class Recorder:
    """Everything a manager says, in order, but for its server's output."""

    def __init__(self, manager: ShimmyProcessManager) -> None:
        self.events: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        for name in get_args(events.EventName):
            manager.on(name, lambda payload, name=name: self._hear(name, payload))

    def _hear(self, name: str, payload: object) -> None:
        with self._changed:
            self.events.append((name, payload))
            self._changed.notify_all()

    def names(self) -> list[str]:
        """The states that it went through: without output and the ends of processes."""
        other = (events.Output, events.Exited)
        return [name for name, payload in self.events if not isinstance(payload, other)]

    def text(self, stream: str) -> str:
        return "".join(payload.text for name, payload in self.events if name == stream)

    def wait_for(self, what: str, count: int = 1) -> Any:
        """Wait until `what` was said `count` times; returns the last one's payload."""

        def heard() -> list[Any]:
            return [payload for name, payload in self.events if name == what]

        return self.wait_until(lambda: len(heard()) >= count and heard())[count - 1]

    def wait_until(self, condition: Callable[[], Any]) -> Any:
        with self._changed:
            result = self._changed.wait_for(condition, LONG)
        assert result, self.events
        return result


def ask(manager: ShimmyProcessManager, method: str, path: str, body: object = None) -> int:
    """The status that the server answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", manager.port or 0, timeout=LONG)
    try:
        connection.request(
            method, path, json.dumps(body), {"content-type": "application/json"} if body else {}
        )
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def pid_of(manager: ShimmyProcessManager) -> int:
    pid = manager.pid
    assert pid is not None
    return pid


def failure(manager: ShimmyProcessManager, options: ShimmyProcessOptions) -> ShimmyError:
    """What the start ends with."""
    manager.start(options)
    with pytest.raises(ShimmyError) as caught:
        manager.ensure_ready(LONG)
    assert manager.state == "failed"
    assert manager.error is caught.value
    assert manager.pid is None
    return caught.value


def failure_in_time(
    manager: ShimmyProcessManager,
    options: ShimmyProcessOptions,
    far_enough: Callable[[ShimmyError], bool],
) -> ShimmyError:
    """What the start ends with at the first time limit that lets the server come as far as the
    test needs it: on a loaded machine, half a second may end before the server has begun.
    """
    for seconds in (0.5, 2, 8, 32):
        limited = ShimmyProcessOptions(**{**options.to_json(), "health_timeout": seconds})
        error = failure(manager, limited)
        if far_enough(error):
            break
    return error


def wait_until(condition: Callable[[], object]) -> None:
    """For what tells nobody that it has happened."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, condition
        threading.Event().wait(0.01)
