"""The recordings of one session, and what became of them.

Strategy: recordings with the same request are given out in their order, each once. Cassettes are
apart: a request is answered from the one that its test process has named last.
"""

from __future__ import annotations

from collections import deque

from fake_shimmy.script.same_request import Sameness
from fake_shimmy.script.timed_answer import read_recording
from fake_shimmy.stage.playable import Playable, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fake_shimmy.script.timed_answer import AskedRequest, Recording

SHOWN = 20
"""How many requests without a recording are told."""


class Replay:
    """``rules`` says which requests are the same, see :class:`Sameness`; ``speed`` 0 is at once, 1
    as recorded. Raises ``ValueError``."""

    def __init__(self, rules: dict[str, list[str]], speed: float) -> None:
        self._sameness = Sameness(**rules)
        self.speed = speed
        self.current = ""
        """The name of the cassette in use."""
        self._recordings: dict[str, list[Recording]] = {}
        self._playable: dict[str, list[Playable]] = {}
        self._waiting: dict[str, dict[str, deque[int]]] = {}
        self._opened: dict[tuple[str, str], int] = {}
        """How many WebSockets a client has opened at a path."""
        self._used: dict[str, list[int]] = {}
        self._missed: list[dict[str, Any]] = []

    def load(self, name: str, documents: list[Any]) -> None:
        """Have the recordings of a cassette, none of which was used; raises ``ScriptError``."""
        recordings = [read_recording(document) for document in documents]
        waiting: dict[str, deque[int]] = {}
        self._opened = {key: count for key, count in self._opened.items() if key[0] != name}
        for number, recording in enumerate(recordings):
            if not _is_asked(recording):
                continue
            identity = self._sameness.identity(recording.request)
            waiting.setdefault(identity, deque()).append(number)
        self._recordings[name], self._waiting[name] = recordings, waiting
        self._playable[name] = [
            Playable(
                recording.answer,
                self._turns(recording.request),
                recording.request.before,
                is_asked=_is_asked(recording),
            )
            for recording in recordings
        ]
        self._used[name] = []

    def use(self, name: str) -> None:
        """Answer from this cassette; one that was not loaded has nothing in it."""
        self.current = name

    def find(self, asked: AskedRequest) -> Playable | None:
        """The recorded answer to a request, which is thereby used; None is noted as missed."""
        name = self.current
        numbers = self._waiting.get(name, {}).get(self._sameness.identity(asked))
        if not numbers:
            self.miss(asked)
            return None
        number = numbers.popleft()
        self._used[name].append(number)
        return self._playable[name][number]

    def miss(self, asked: AskedRequest) -> None:
        """Note a request that has no recording."""
        if len(self._missed) < SHOWN:
            self._missed.append({"cassette": self.current, "request": asked.document()})

    def is_said(self, value: object, turn: Turn) -> bool:
        """Whether a further message over a WebSocket is the recorded one."""
        return bool(self._sameness.message(value) == turn.message)

    def open(self, target: str) -> Playable | None:
        """What is recorded of the next WebSocket that is opened there: it accepts, and the server
        may speak first. Which answer the client gets is up to its first message."""
        name = self.current
        numbers = [
            number
            for number, recording in enumerate(self._recordings.get(name, ()))
            if recording.answer.framing == "frames" and recording.request.path == target
        ]
        count = self._opened.get((name, target), 0)
        self._opened[name, target] = count + 1
        playable = self._playable.get(name, [])
        if count < len(numbers):
            number = numbers[count]
            if not playable[number].is_asked:
                self._used[name].append(number)
            return playable[number]
        # One that is opened once more may still say what another did not.
        return next((playable[each] for each in numbers if playable[each].is_asked), None)

    def report(self) -> dict[str, Any]:
        """What was used since the last time, by cassette, and what was missed."""
        used, missed = self._used, self._missed
        self._used = {name: [] for name in used}
        self._missed = []
        return {"used": used, "missed": missed}

    def _turns(self, request: AskedRequest) -> list[Turn]:
        later = self._sameness.later_messages(request)
        # Older recordings do not say where the messages stood.
        return list(map(Turn, later, request.after, request.moments))


def _is_asked(recording: Recording) -> bool:
    """Whether the client said something; over a WebSocket it need not."""
    return recording.answer.framing != "frames" or bool(recording.request.messages)
