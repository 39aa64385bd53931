"""The sessions of one server, and the keys that tell them apart.

Strategy: every request belongs to the session of its API key; a path that begins with ``/~KEY/``
says the key for code that cannot. What has no session of its own belongs to the anonymous one.
"""

from __future__ import annotations

from collections import deque

from fake_shimmy.script.rules import Script
from fake_shimmy.stage.known_head import know
from fake_shimmy.stage.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.stage.exchange_log import ExchangeLog
    from fake_shimmy.stage.known_head import KnownHead
    from fake_shimmy.stage.message_file import MessageFile
    from fake_shimmy.wire.head import Head

ANONYMOUS = ""
HARNESS_KEY = "shimmy-harness"
"""The API key of pytest-shimmy's own questions, which are not counted."""

OWN_KEYS = "shimmy-"
"""What the keys of pytest-shimmy's test processes begin with, whether a session is open or not."""

MAX_SESSIONS = 1024
"""Sessions at once; the oldest is dropped for the next."""

MAX_FILES = 128
"""Sessions at once that have a file of messages."""

STRAYS = 20
"""How many requests without a session of their own are remembered."""


class Sessions:
    """The sessions by key. ``base`` is the server's own script, if it has one; ``log`` takes every
    exchange of all of them. Requests with ``server_key``, which tells nobody apart, belong to the
    only open session."""

    def __init__(
        self, base: Script | None, log: ExchangeLog | None = None, server_key: str | None = None
    ) -> None:
        self._server_key = server_key
        self.base = Script() if base is None else base
        self._log = log
        self.by_key = {ANONYMOUS: Session(self.base, self.base, ANONYMOUS, log)}
        self.files: dict[str, MessageFile] = {}
        """The files with further messages, by the keys of their sessions."""
        # Questions of the harness are no part of what a test asked.
        self._harness = Session(self.base, self.base)
        self.strays: deque[dict[str, str]] = deque(maxlen=STRAYS)
        self.stray_count = 0
        self.request_count = 0
        """Requests of all sessions, for good: each head that was understood, but for the harness's
        own, control requests, health checks without a session, and those a scripted life fails."""

    def open(self, key: str, script: Script, number: int | None = None) -> Session:
        """A fresh session for ``key``, which is called by that number in memory that is shared."""
        file = self.files.get(key)
        shared = None if file is None or number is None else file.shared
        session = Session(self.base, script, key, self._log, shared)
        if shared is not None and number is not None:
            shared.open(session, number)
        session.strays_before = self.stray_count
        before = self.by_key.pop(key, None)
        if before is not None:
            # What was recorded is no script: a test that begins anew still has it.
            session.replay = before.replay
        self.by_key[key] = session
        while len(self.by_key) > MAX_SESSIONS:
            oldest = next(name for name in self.by_key if name != ANONYMOUS)
            del self.by_key[oldest]
        return session

    def follow(self, key: str, file: MessageFile | None) -> None:
        """Take messages about that session from ``file`` as well, and from no other."""
        before = self.files.pop(key, None)
        if before is not None:
            before.close()
        if file is not None:
            self.files[key] = file

    def catch_up(self, key: str) -> None:
        """Obey what was written about the session for ``key``."""
        file = self.files.get(key)
        if file is not None:
            file.catch_up()

    def close(self, key: str) -> None:
        """Forget a session; the anonymous one begins anew."""
        session = self.by_key.get(key)
        if key == ANONYMOUS or (session is not None and session.replay is not None):
            self.open(key, self.base)
        else:
            self.by_key.pop(key, None)

    def of(self, head: Head) -> tuple[Session, KnownHead]:
        """The session of a request, which is counted, and its head without a key in the path."""
        known = know(head)
        if known.path_key:
            session = self._find(known.path_key)
            if session is None and known.path_key.startswith(OWN_KEYS):
                session = self.by_key[ANONYMOUS]  # a test of ours that scripts nothing
            if session is not None:
                self.request_count += 1
                return session, known.bare
        if self.files:
            self.catch_up(known.key)
        session = self.by_key.get(known.key) if known.key else None
        if session is None:
            session = self._without_own(known)
        elif known.key != HARNESS_KEY:
            self.request_count += 1
        return session, known

    def _without_own(self, known: KnownHead) -> Session:
        """The session of a request whose key, if it has one, is none of a session's."""
        # Which sessions are open matters from here on.
        for file in self.files.values():
            file.catch_up()
        if known.key == HARNESS_KEY:
            return self._harness
        if known.key and known.key == self._server_key and len(self.by_key) == 2:
            self.request_count += 1
            return next(each for name, each in self.by_key.items() if name != ANONYMOUS)
        is_health = known.path == "/health"
        if not is_health:
            self.request_count += 1
        if len(self.by_key) == 1:
            return self.by_key[ANONYMOUS]
        replaying = [each for each in self.by_key.values() if each.replay is not None]
        # As where it was recorded: one test process alone gets what has no key.
        if len(replaying) == 1:
            return replaying[0]
        if not is_health:
            self.stray_count += 1
            self.strays.append({"method": known.method, "path": known.path, "key": known.key})
        return self.by_key[ANONYMOUS]

    def _find(self, key: str) -> Session | None:
        if self.files:
            self.catch_up(key)
        return self.by_key.get(key)
