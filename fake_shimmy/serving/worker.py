"""Work that takes long, done in a thread of its own, so that the loop never stands still.

Strategy: one thread takes tasks from a queue, one at a time, puts the results in another, and wakes
the loop, which hands them back. Loaded only when there is such work.
"""

from __future__ import annotations

import queue
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_shimmy.wire.steps import Steps


class Task:
    """``work``, whose result goes to ``done`` in the loop's own thread; it is not begun when it is
    no longer ``wanted``."""

    __slots__ = ("done", "result", "wanted", "work")

    def __init__(
        self,
        work: Callable[[], Steps],
        wanted: Callable[[], bool],
        done: Callable[[Steps | Exception], None],
    ) -> None:
        self.work = work
        self.wanted = wanted
        self.done = done
        self.result: Steps | Exception = ()


class Worker:
    """The thread and its two queues. ``wake_up`` is called there when a task is done."""

    def __init__(self, wake_up: Callable[[], None]) -> None:
        self._wake_up = wake_up
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._done: deque[Task] = deque()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, task: Task) -> None:
        """Do the task when all earlier ones are done."""
        self._tasks.put(task)

    def hand_back(self) -> None:
        """Give away the results of what was done since the last call."""
        for _ in range(len(self._done)):
            task = self._done.popleft()
            task.done(task.result)

    def _run(self) -> None:
        while True:
            task = self._tasks.get()
            if not task.wanted():
                continue
            try:
                task.result = task.work()
            except Exception as error:
                task.result = error
            self._done.append(task)
            self._wake_up()
