"""The control route: what a test says to the fake, in JSON.

Strategy: a table of operations. A message is read whole, by the table of its members, before
anything is done, so what is refused has changed nothing.
"""

from __future__ import annotations

import json
import time
from functools import partial

from fake_shimmy.script import rules, shapes
from fake_shimmy.script.matching import differences
from fake_shimmy.script.shapes import ScriptError
from fake_shimmy.stage import messages
from fake_shimmy.wire.steps import Pause, Refuse, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.script.rules import When
    from fake_shimmy.stage.replay import Replay
    from fake_shimmy.stage.session import Session
    from fake_shimmy.stage.sessions import Sessions
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

    Answer: TypeAlias = dict[str, Any]
    Operation: TypeAlias = Callable[[Sessions, Any], Iterator[Step | Answer]]

_encoded = json.JSONEncoder(check_circular=False).encode
"""Of plain values, which are no part of themselves."""


class RefusedError(Exception):
    """An invalid message; the text says why, ``code`` says it to a program."""

    code = "refused"


class NoSessionError(RefusedError):
    """A message about a session that was not opened, or is closed."""

    code = "no_session"


def respond(sessions: Sessions, context: Context, head: Head, body: bytes) -> Steps:
    """The steps that answer the control request with ``body``."""
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise RefusedError("a control request is an object")
        kind, answer = OPERATIONS.get(str(document.pop("op", None)), (None, None))
        if kind is None or answer is None:
            raise RefusedError(f"op is one of: {', '.join(OPERATIONS)}")
        message = shapes.of(kind).read(document, ())
        if isinstance(message, messages.OfSession):
            sessions.catch_up(message.session)
        return _answered(context, head, answer(sessions, message))
    except (ScriptError, RefusedError, ValueError, RecursionError) as error:
        code = error.code if isinstance(error, RefusedError) else RefusedError.code
        refusal = _json({"error": str(error), "code": code})
        return (context.json(head, refusal, b"400 Bad Request"),)


def _answered(context: Context, head: Head, steps: Iterator[Step | Answer]) -> Iterator[Step]:
    for step in steps:
        yield context.json(head, _json(step)) if isinstance(step, dict) else step


def _json(answer: Answer) -> bytes:
    return _encoded(answer).encode()


def _open(sessions: Sessions, message: messages.Open) -> Iterator[Step | Answer]:
    session = sessions.open(message.session, message.script or rules.Script(), message.number)

    def tell() -> Answer:
        session.strays_before = sessions.stray_count
        return {"ok": True, "seed": session.seed, "stray_count": sessions.stray_count}

    return _after_the_others(tell)


def _close(sessions: Sessions, message: messages.Close) -> Iterator[Step | Answer]:
    sessions.close(message.session)
    return iter(({"ok": True},))


def _add(sessions: Sessions, message: messages.Add) -> Iterator[Step | Answer]:
    return iter(({"ok": True, "id": _session(sessions, message).add(message.rule)},))


def _remove(sessions: Sessions, message: messages.Remove) -> Iterator[Step | Answer]:
    if not _session(sessions, message).remove(message.id):
        raise RefusedError(f"there is no rule {message.id} to remove")
    return iter(({"ok": True},))


def _configure(sessions: Sessions, message: messages.Configure) -> Iterator[Step | Answer]:
    _session(sessions, message).configure(*message.script)
    return iter(({"ok": True},))


def _journal(sessions: Sessions, message: messages.Journal) -> Iterator[Step | Answer]:
    session = _session(sessions, message)
    return _after_the_others(lambda: _state(sessions, session, message.after))


def _after_the_others(tell: Callable[[], Answer]) -> Iterator[Step | Answer]:
    # Sockets that are ready together are served in any order: the others first, so that a request
    # that has come by now is counted, and a client that has left is seen to have left.
    yield Pause(0)
    yield tell()


def _wait(sessions: Sessions, message: messages.Wait) -> Iterator[Step | Answer]:
    return _waited(sessions, _session(sessions, message), message, message.when or rules.When())


def _waited(
    sessions: Sessions, session: Session, message: messages.Wait, when: When
) -> Iterator[Step | Answer]:
    deadline = time.monotonic() + min(message.seconds, messages.LONGEST_WAIT)
    yield Pause(0)
    while True:
        found = sum(
            not (message.finished and record.ended is None)
            and not differences(when.conditions, record)
            for record in session.journal.after(message.after)
        )
        left = deadline - time.monotonic()
        if found >= message.count or left <= 0:
            is_late = found < message.count
            yield {**_state(sessions, session, message.after), "timed_out": is_late}
            return
        yield Wait(session.journal.subscribe, left)


def _refuse(_: Sessions, message: messages.Refuse) -> Iterator[Step | Answer]:
    return iter((Refuse(min(message.seconds, messages.LONGEST_WAIT)), {"ok": True}))


def _accept(_sessions: Sessions, _message: messages.Accept) -> Iterator[Step | Answer]:
    return iter((Refuse(0), {"ok": True}))


def _totals(sessions: Sessions, _: messages.Totals) -> Iterator[Step | Answer]:
    return _after_the_others(lambda: {"requests": sessions.request_count})


def _replay(sessions: Sessions, message: messages.Replay) -> Iterator[Step | Answer]:
    from fake_shimmy.stage.replay import Replay

    session, same = _session(sessions, message), message.rules or messages.SameRules()
    session.replay = Replay({name: getattr(same, name) for name in same.FIELDS}, message.speed)
    return iter(({"ok": True},))


def _cassette(sessions: Sessions, message: messages.Cassette) -> Iterator[Step | Answer]:
    replay = _replay_of(sessions, message)
    if message.exchanges is not None:
        replay.load(message.name, message.exchanges)
    replay.use(message.name)
    return iter(({"ok": True},))


def _replayed(sessions: Sessions, message: messages.Replayed) -> Iterator[Step | Answer]:
    return _after_the_others(_replay_of(sessions, message).report)


def _follow(sessions: Sessions, message: messages.Follow) -> Iterator[Step | Answer]:
    from fake_shimmy.stage.message_file import MessageFile
    from fake_shimmy.stage.sessions import MAX_FILES

    key, file, shared = message.session, None, None
    if message.file is not None:
        if len(sessions.files) >= MAX_FILES and key not in sessions.files:
            raise RefusedError(f"{MAX_FILES} sessions have a file of messages already")
        try:
            if message.shared is not None:
                from fake_shimmy.stage.shared_journal import SharedJournal

                shared = SharedJournal(message.shared)
            file = MessageFile(message.file, partial(_obey, sessions, key), shared)
        except OSError as error:
            path = error.filename or message.file
            raise RefusedError(f"{path} cannot be opened: {error.strerror}") from None
    sessions.follow(key, file)
    base = sessions.base
    return iter(({"ok": True, "seed": base.seed, "rules": len(base.rules)},))


IN_FILES = ("open", "add", "close")
"""The messages that a file may have."""


def _obey(sessions: Sessions, key: str, lines: Sequence[bytes]) -> str | None:
    """Do what the lines of a file say of the session for ``key``; why not, where one is refused."""
    try:
        found = [json.loads(line) for line in lines]
        begins = [at for at, each in enumerate(found) if each["op"] != "add"]
        # Nothing is left of what was said before a session was opened or closed.
        for document in found[begins[-1] if begins else 0 :]:
            op = document.pop("op")
            if op not in IN_FILES:
                raise RefusedError(f"op is one of: {', '.join(IN_FILES)}")
            kind, answer = OPERATIONS[op]
            answer(sessions, shapes.of(kind).read({**document, "session": key}, ()))
    except (ScriptError, RefusedError, ValueError, TypeError, KeyError, RecursionError) as error:
        return str(error)
    return None


def _replay_of(sessions: Sessions, message: messages.OfSession) -> Replay:
    replay = _session(sessions, message).replay
    if replay is None:
        raise RefusedError("this session replays nothing")
    return replay


OPERATIONS: dict[str, tuple[type[messages.Message], Operation]] = {
    "open": (messages.Open, _open),
    "add": (messages.Add, _add),
    "remove": (messages.Remove, _remove),
    "configure": (messages.Configure, _configure),
    "journal": (messages.Journal, _journal),
    "wait": (messages.Wait, _wait),
    "close": (messages.Close, _close),
    "refuse": (messages.Refuse, _refuse),
    "accept": (messages.Accept, _accept),
    "totals": (messages.Totals, _totals),
    "replay": (messages.Replay, _replay),
    "cassette": (messages.Cassette, _cassette),
    "replayed": (messages.Replayed, _replayed),
    "follow": (messages.Follow, _follow),
}
"""What each message is, and what is done, by its ``op``."""


def _state(sessions: Sessions, session: Session, after: float) -> Answer:
    return {
        "records": [record.document() for record in session.journal.after(after)],
        "dropped": session.journal.dropped,
        "stray": list(sessions.strays),
        "stray_count": sessions.stray_count,
        "stray_before": session.strays_before,
        "rules": [state.document() for state in session.rules],
        "seed": session.seed,
        "is_random": session.is_random,
    }


def _session(sessions: Sessions, message: messages.OfSession) -> Session:
    session = sessions.by_key.get(message.session)
    file = sessions.files.get(message.session)
    if file is not None and file.refusal is not None:
        raise RefusedError(f"in the file of messages: {file.refusal}")
    if session is None:
        raise NoSessionError("there is no such session: open it first")
    return session
