"""The control route: what a test says to the fake, in JSON.

Strategy: a table of operations. Each reads all of its members before it changes anything, so what
is refused has changed nothing.
"""

from __future__ import annotations

import json
import time

from fake_shimmy.script import rules
from fake_shimmy.script.matching import differences
from fake_shimmy.script.shapes import ScriptError
from fake_shimmy.wire.steps import Pause, Refuse, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.script.rules import When
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.session import Session
    from fake_shimmy.stage.sessions import Sessions
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

    Message: TypeAlias = dict[str, Any]

LONGEST_WAIT = 3600.0
"""Seconds."""


class RefusedError(Exception):
    """A message that cannot be meant; the text says why, ``code`` says it to a program."""

    code = "refused"


class NoSessionError(RefusedError):
    """A message about a session that was not opened, or is closed."""

    code = "no_session"


def respond(sessions: Sessions, context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer the control request with ``body``."""
    try:
        message = json.loads(body)
        if not isinstance(message, dict):
            raise RefusedError("a control request is an object")
        operation = _OPERATIONS.get(str(message.get("op")))
        if operation is None:
            raise RefusedError(f"op is one of: {', '.join(_OPERATIONS)}")
        return _answered(context, head, operation(sessions, message))
    except (ScriptError, RefusedError, ValueError, RecursionError) as error:
        code = error.code if isinstance(error, RefusedError) else RefusedError.code
        refusal = _json({"error": str(error), "code": code})
        return (context.json(head, refusal, b"400 Bad Request"),)


def _answered(context: Context, head: Head, steps: Iterator[Step | Message]) -> Iterator[Step]:
    for step in steps:
        yield context.json(head, _json(step)) if isinstance(step, dict) else step


def _json(message: Message) -> bytes:
    return json.dumps(message).encode()


def _open(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    key, script = _key(message), rules.read(message.get("script", {}))
    session = sessions.open(key, script)
    return _after_the_others(
        lambda: {"ok": True, "seed": session.seed, "stray_count": sessions.stray_count}
    )


def _add(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    session, rule = _session(sessions, message), rules.read_rule(message.get("rule"))
    return iter(({"ok": True, "id": session.add(rule)},))


def _remove(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    session, ident = _session(sessions, message), message.get("id")
    if type(ident) is not int or not session.remove(ident):
        raise RefusedError(f"there is no rule {ident!r} to remove")
    return iter(({"ok": True},))


def _configure(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    session, document = _session(sessions, message), message.get("script")
    script = rules.read(document)
    assert isinstance(document, dict)
    session.configure(script, set(document))
    return iter(({"ok": True},))


def _journal(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    session, after = _session(sessions, message), _number(message, "after", 0)
    return _after_the_others(lambda: _state(sessions, session, after))


def _after_the_others(tell: Callable[[], Message]) -> Iterator[Step | Message]:
    # Sockets that are ready together are served in any order: the others first, so that a request
    # that has come by now is counted, and a client that has left is seen to have left.
    yield Pause(0)
    yield tell()


def _wait(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    session, after = _session(sessions, message), _number(message, "after", 0)
    when = rules.read_when(message.get("when", {}))
    count, seconds = _number(message, "count", 1), _number(message, "seconds", 5.0)
    is_finished = message.get("finished", True) is not False
    return _waited(sessions, session, when, after, count, min(seconds, LONGEST_WAIT), is_finished)


def _waited(
    sessions: Sessions,
    session: Session,
    when: When,
    after: float,
    count: float,
    seconds: float,
    is_finished: bool,
) -> Iterator[Step | Message]:
    deadline = time.monotonic() + seconds
    yield Pause(0)
    while True:
        found = sum(
            not (is_finished and record.ended is None) and not differences(when, record.request)
            for record in session.journal.after(after)
        )
        left = deadline - time.monotonic()
        if found >= count or left <= 0:
            yield {**_state(sessions, session, after), "timed_out": found < count}
            return
        yield Wait(session.journal.subscribe, left)


def _close(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    sessions.close(_key(message))
    return iter(({"ok": True},))


def _refuse(sessions: Sessions, message: Message) -> Iterator[Step | Message]:  # noqa: ARG001
    seconds = min(_number(message, "seconds", LONGEST_WAIT), LONGEST_WAIT)
    return iter((Refuse(seconds), {"ok": True}))


def _accept(sessions: Sessions, message: Message) -> Iterator[Step | Message]:  # noqa: ARG001
    return iter((Refuse(0), {"ok": True}))


def _totals(sessions: Sessions, message: Message) -> Iterator[Step | Message]:  # noqa: ARG001
    return _after_the_others(lambda: {"requests": sessions.request_count})


def _replay(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    """Answer the session's requests from recordings from now on."""
    from fake_shimmy.stage.replay import Replay

    session = _session(sessions, message)
    rules = message.get("rules", {})
    if not isinstance(rules, dict) or not rules.keys() <= _RULES:
        raise RefusedError(f"rules are an object with: {', '.join(sorted(_RULES))}")
    session.replay = Replay(rules, _number(message, "speed", 0.0))
    return iter(({"ok": True},))


def _cassette(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    """Load a cassette, where there are exchanges, and use it."""
    replay, name = _replay_of(sessions, message), message.get("name")
    if not isinstance(name, str):
        raise RefusedError("name is a string")
    exchanges = message.get("exchanges")
    if isinstance(exchanges, list):
        replay.load(name, exchanges)
    replay.use(name)
    return iter(({"ok": True},))


def _replayed(sessions: Sessions, message: Message) -> Iterator[Step | Message]:
    return _after_the_others(_replay_of(sessions, message).report)


def _replay_of(sessions: Sessions, message: Message) -> Replay:
    replay = _session(sessions, message).replay
    if replay is None:
        raise RefusedError("this session replays nothing")
    return replay


_RULES = {"ignore", "varying", "secret", "secrets"}

_OPERATIONS: dict[str, Callable[[Sessions, Message], Iterator[Step | Message]]] = {
    "open": _open,
    "add": _add,
    "remove": _remove,
    "configure": _configure,
    "journal": _journal,
    "wait": _wait,
    "close": _close,
    "refuse": _refuse,
    "accept": _accept,
    "totals": _totals,
    "replay": _replay,
    "cassette": _cassette,
    "replayed": _replayed,
}


def _state(sessions: Sessions, session: Session, after: float) -> Message:
    return {
        "records": [record.document() for record in session.journal.after(after)],
        "dropped": session.journal.dropped,
        "stray": list(sessions.strays),
        "stray_count": sessions.stray_count,
        "rules": [state.document() for state in session.rules],
        "seed": session.seed,
        "is_random": session.is_random,
    }


def _key(message: Message) -> str:
    key = message.get("session")
    if not isinstance(key, str) or "/" in key or not key.isascii():
        raise RefusedError("session is a string without a slash")
    return key


def _session(sessions: Sessions, message: Message) -> Session:
    key = _key(message)
    session = sessions.by_key.get(key)
    if session is None:
        raise NoSessionError("there is no such session: open it first")
    return session


def _number(message: Message, name: str, default: float) -> float:
    value = message.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise RefusedError(f"{name} is a number of at least 0")
    return value
