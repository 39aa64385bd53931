"""A recorded answer in the pieces in which it leaves, worked out before anybody waits for it."""

from __future__ import annotations

import re

from fake_shimmy.script.timed_answer import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fake_shimmy.script.timed_answer import TimedAnswer

_TEXT = re.compile(
    rb'"(?:content|text|response|token|reasoning_content|arguments|partial_json)"\s*:\s*"(?!")'
)
"""A member that is a text with something in it. In a text that quotes one, quotes are escaped."""


class Piece:
    """A chunk with its framing; ``is_last`` where no token follows."""

    __slots__ = ("data", "is_last", "is_token", "moment")

    def __init__(self, moment: float, data: bytes, is_token: bool) -> None:
        self.moment = moment
        self.data = data
        self.is_token = is_token
        self.is_last = False


class Turn:
    """A further ``message`` of the client over a WebSocket, for which the pieces of an answer
    wait that come ``after`` so many; at that ``moment`` when it was recorded."""

    __slots__ = ("after", "message", "moment")

    def __init__(self, message: object, after: int, moment: float) -> None:
        self.message = message
        self.after = after
        self.moment = moment


class Playable:
    """``answer`` and its pieces; ``turns`` in their order.

    Over a WebSocket the server may speak first: ``before`` so many pieces come a message, and all
    of them if the client says nothing (``is_asked`` is false)."""

    __slots__ = ("answer", "before", "is_asked", "pieces", "turns")

    def __init__(
        self,
        answer: TimedAnswer,
        turns: Sequence[Turn] = (),
        before: int = 0,
        *,
        is_asked: bool = True,
    ) -> None:
        self.answer = answer
        self.turns = turns
        self.before = before
        self.is_asked = is_asked
        self.pieces = [
            Piece(chunk.moment, answer.framed(chunk), bool(chunk.data) and _is_token(chunk.data))
            for chunk in answer.chunks
        ]
        for piece in reversed(self.pieces):
            if piece.is_token:
                piece.is_last = True
                break


def _is_token(data: bytes) -> bool:
    """Whether a chunk tells a piece of text, and not what is around it."""
    if _TEXT.search(data) is not None:
        return True
    # Where events are JSON, the text would have been found.
    return any(content[:1] not in b"{[" for content in events(data))
