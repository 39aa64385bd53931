"""Requests as recordings are found by them, and the steps of a recorded answer.

Strategy: the steps have the marks of the model layer, so that latency and faults find the tokens of
a recorded stream as they find those of a scripted one. With timing of the script's, the recorded
pauses are not made. Over a WebSocket an answer waits where the client said more when it was
recorded, and goes on only if that is said again.
"""

from __future__ import annotations

import json
import time

from fake_shimmy.api.pending import PendingRequest
from fake_shimmy.script.same_request import read_body, read_json
from fake_shimmy.script.timed_answer import AskedRequest, stated_tokens
from fake_shimmy.wire.steps import END, TOKEN, Cut, Hang, Pause, Reset, Upgrade

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_shimmy.api.context import Context
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.script.timed_answer import TimedAnswer
    from fake_shimmy.stage.playable import Playable
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.scripted_request import ScriptedRequest
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

_MOST_TOKENS = 10**6
"""An answer that says it has so many is not believed."""


class RecordedBody(PendingRequest):
    """A request whose body is read whatever its path is; recorded servers take longer ones."""

    __slots__ = ("_answer",)

    limit = 1 << 30

    def __init__(self, context: Context, head: Head, answer: Callable[[bytes], Steps]) -> None:
        self.context = context
        self.head = head
        self._answer = answer

    def answer_with(self, engine: Engine, body: bytes) -> Steps:  # noqa: ARG002
        return self._answer(body)


def wants_socket(head: Head) -> bool:
    """Whether a request asks to become a WebSocket."""
    return (head.header(b"upgrade") or b"").lower() == b"websocket"


def target_of(head: Head) -> str:
    """The path with its query."""
    return (head.path + head.query).decode("latin-1")


def asked_by(request: ScriptedRequest, body: bytes) -> AskedRequest:
    """A request as recordings are found by it."""
    head = request.head
    if wants_socket(head) and body:
        member: dict[str, object] = {"messages": [_message(body)]}
    else:
        member = read_body(body)
    return AskedRequest(method=head.method.decode("latin-1"), path=target_of(head), **member)


def _message(body: bytes) -> object:
    """A message over a WebSocket as it is recorded."""
    text = body.decode("utf-8", "replace")
    value = read_json(text)
    return text if value is ... else value


def steps_of(
    request: ScriptedRequest, asked: AskedRequest, found: Playable, replay: Replay
) -> Steps:
    """The steps of a recorded answer to ``request``."""
    answer = found.answer
    request.recorded = answer
    begun = request.record.begun
    is_whole = answer.framing in ("none", "length") and answer.end == "complete"
    if is_whole and not replay.speed:
        count = stated_tokens(answer.body)
        request.total = count if count < _MOST_TOKENS else 0
        return (answer.raw(), *([Cut()] if _closes(answer) else []))
    return _timed(request, asked, found, replay, begun)


def _timed(
    request: ScriptedRequest,
    asked: AskedRequest,
    found: Playable,
    replay: Replay,
    begun: float,
    number: int = 0,
) -> Iterator[Step]:
    """The part of the answer that comes after that ``number`` of further messages."""
    answer, turns, speed = found.answer, found.turns, replay.speed
    start = turns[number - 1].after if number else found.before
    end = turns[number].after if number < len(turns) else len(found.pieces)
    has_pauses = bool(speed) and not request.is_timed
    if request.known.speaks_http and answer.framing != "frames":
        if has_pauses and (wait := _wait(begun, answer.at, speed)) > 0:
            yield Pause(wait)
        yield answer.raw_head()
    for piece in found.pieces[start:end]:
        if has_pauses and (wait := _wait(begun, piece.moment, speed)) > 0:
            yield Pause(wait)
        if piece.is_token:
            yield TOKEN
        yield piece.data
        if piece.is_last:
            yield END
    is_waiting = number < len(turns) or (answer.framing == "frames" and answer.end == "left")
    if is_waiting:
        from fake_shimmy.wire.websocket import MessageReader

        def go_on(body: bytes) -> Steps:
            return _further(request, asked, found, replay, number, _message(body))

        yield Upgrade(MessageReader().read, go_on)
    elif answer.end == "reset":
        yield Reset()
    elif answer.end == "left":
        yield Hang()
    elif answer.end == "closed" or answer.framing in ("close", "frames") or _closes(answer):
        yield Cut()


def _further(
    request: ScriptedRequest,
    asked: AskedRequest,
    found: Playable,
    replay: Replay,
    number: int,
    message: object,
) -> Steps:
    """The answer to a further message, which is the recorded one or none."""
    asked.messages.append(message)
    if number == len(found.turns) or not replay.is_said(message, found.turns[number]):
        replay.miss(asked)
        request.record.unmatched = True
        return _refused_message(f"no recording of {asked.path} goes on with this message")
    lag = found.turns[number].moment / 1000 / replay.speed if replay.speed else 0.0
    return _timed(request, asked, found, replay, time.monotonic() - lag, number + 1)


def _wait(begun: float, moment: float, speed: float) -> float:
    """Seconds until a recorded moment."""
    return begun + moment / 1000 / speed - time.monotonic()


def _closes(answer: TimedAnswer) -> bool:
    """Whether the server ended the connection after the answer."""
    return (answer.header("connection") or "").lower() == "close" or answer.framing == "close"


def unasked(request: ScriptedRequest, found: Playable, replay: Replay) -> Steps:
    """What a server says over a WebSocket to a client that says nothing."""
    request.recorded = found.answer
    asked = AskedRequest(method="GET", path=target_of(request.head), messages=[])
    return _timed(request, asked, found, replay, request.record.begun)


def spoken_first(found: Playable, replay: Replay) -> Iterator[Step]:
    """What a server says over a WebSocket before the client's first message."""
    moment = 0.0
    for piece in found.pieces[: found.before]:
        if replay.speed and piece.moment > moment:
            yield Pause((piece.moment - moment) / 1000 / replay.speed)
            moment = piece.moment
        yield piece.data


def accepting(answer: TimedAnswer, head: Head) -> bytes:
    """The recorded head that accepts a WebSocket, for this client."""
    from fake_shimmy.wire.websocket import accept_key

    # The one line that depends on what a client sent.
    lines = [
        f"{line.partition(':')[0]}: {accept_key(head).decode()}"
        if line.lower().startswith("sec-websocket-accept:")
        else line
        for line in answer.head
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def missed(request: ScriptedRequest, context: Context, asked: AskedRequest) -> Steps:
    """The answer to a request that was not recorded."""
    record = request.record
    record.unmatched = True
    text = (
        f"no recording answers {record.method} {target_of(request.head)}; "
        "the test's report shows the nearest"
    )
    error = {"code": "not_recorded", "message": text, "type": "invalid_request_error"}
    body = json.dumps({"error": error}).encode()
    if asked.messages is None:
        return (context.json(request.head, body, b"400 Bad Request"),)
    return _refused_message(text)


def _refused_message(text: str) -> Steps:
    from fake_shimmy.wire.websocket import text_frame

    return (text_frame(json.dumps({"error": text})), Cut())
