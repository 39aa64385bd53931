"""From a request to steps, without sockets, clock or randomness of its own.

Strategy: a table of routes; a handler gets the request's head (and body, where the real one has a
body extractor) and returns steps. Time and random bytes come in through the constructor. Seen on
2.5.0 CPU-only unless a handler says otherwise.
"""

from __future__ import annotations

import time

from fake_shimmy import chat, http1, payloads
from fake_shimmy.steps import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.engine import Engine
    from fake_shimmy.http1 import Head
    from fake_shimmy.registry import Registry
    from fake_shimmy.steps import Steps

    GetHandler: TypeAlias = Callable[[Head], Steps]
    BodyHandler: TypeAlias = Callable[[Head, bytes], Steps]

MAX_BODY = 2 * 1024 * 1024
"""Longest request body in bytes."""

_TEXT = b"\r\ncontent-type: text/plain; charset=utf-8\r\n"
_JSON = b"\r\ncontent-type: application/json\r\n"


class App:
    """One server's answers. ``clock`` gives Unix nanoseconds, ``entropy`` n random bytes."""

    def __init__(
        self,
        version: str,
        registry: Registry,
        engine: Engine,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.version = version
        self.registry = registry
        self.engine = engine
        self._clock = clock
        self._entropy = entropy
        self._date_second = -1
        self._date = b""
        self._names = registry.names()
        self._gets: dict[bytes, GetHandler] = {
            b"/health": self._health,
            b"/v1/models": self._models,
            b"/api/tags": self._tags,
        }
        self._posts: dict[bytes, BodyHandler] = {
            b"/v1/chat/completions": self._chat,
        }

    def respond(self, head: Head) -> tuple[Steps | None, BodyHandler | None]:
        """The answer to ``head``, or the handler that needs the body first."""
        path = head.path
        get = self._gets.get(path)
        post = self._posts.get(path)
        if head.method == b"OPTIONS":
            allow = b"GET,HEAD" if get else b"POST" if post else b""
            return (self.answer(head, b"200 OK\r\n", b"", allow),), None
        if get is not None:
            if head.method in (b"GET", b"HEAD"):
                return get(head), None
            return (self._not_allowed(head, b"GET,HEAD"),), None
        if post is None:
            return (self.answer(head, b"404 Not Found\r\n", b""),), None
        if head.method != b"POST":
            return (self._not_allowed(head, b"POST"),), None
        if not _is_json(head.content_type):
            body = b"Expected request with `Content-Type: application/json`"
            return (self.text(head, b"415 Unsupported Media Type", body),), None
        return None, post

    def too_large(self, head: Head) -> Steps:
        """The answer to a body over the limit."""
        body = b"Failed to buffer the request body: length limit exceeded"
        return (self.text(head, b"413 Payload Too Large", body),)

    def broken_body(self, head: Head) -> Steps:
        """The answer to a body whose framing is wrong, or that ends too early."""
        body = b"Failed to buffer the request body: error reading a body from connection"
        return (self.text(head, b"400 Bad Request", body),)

    def answer(self, head: Head, status: bytes, body: bytes, allow: bytes = b"") -> bytes:
        """A whole answer; see :func:`http1.answer`."""
        return http1.answer(head, status, body, self.date(), allow)

    def text(self, head: Head, status: bytes, body: bytes) -> bytes:
        """A plain-text answer."""
        return http1.answer(head, status + _TEXT, body, self.date())

    def json(self, head: Head, body: bytes, status: bytes = b"200 OK") -> bytes:
        """A JSON answer."""
        return http1.answer(head, status + _JSON, body, self.date())

    def date(self) -> bytes:
        """The value of the ``date`` header."""
        second = self._clock() // 1_000_000_000
        if second != self._date_second:
            moment = time.gmtime(second)
            day = "Mon Tue Wed Thu Fri Sat Sun".split()[moment.tm_wday]
            month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[moment.tm_mon - 1]
            # Not strftime: that one speaks the locale's language.
            self._date = (
                f"{day}, {moment.tm_mday:02} {month} {moment.tm_year} "
                f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
            ).encode()
            self._date_second = second
        return self._date

    def log(self, target: str, message: str) -> Log:
        """An ERROR line as tracing-subscriber writes it."""
        now = self._clock()
        stamp = _calendar(now // 1_000_000_000)
        return Log(f"{stamp}.{now // 1000 % 1_000_000:06}Z ERROR {target}: {message}")

    def seconds(self) -> int:
        """Unix time in whole seconds."""
        return self._clock() // 1_000_000_000

    def identifier(self) -> str:
        """32 hex digits of a random (version 4) UUID."""
        digits = self._entropy(16).hex()
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:12]}4{digits[13:16]}{variant}{digits[17:]}"

    def _not_allowed(self, head: Head, allow: bytes) -> bytes:
        return self.answer(head, b"405 Method Not Allowed\r\n", b"", allow)

    def _health(self, head: Head) -> Steps:
        now = self._clock()
        registry = self.registry
        body = payloads.health(
            len(registry.discovered),
            len(registry.registered),
            len(self._names),
            _rfc3339(now),
            now // 1_000_000_000,
            self.version,
        )
        return (self.json(head, body),)

    def _models(self, head: Head) -> Steps:
        return (self.json(head, payloads.models(self._names, self.seconds())),)

    def _tags(self, head: Head) -> Steps:
        return (self.json(head, payloads.tags(self._names)),)

    def _chat(self, head: Head, body: bytes) -> Steps:
        return chat.respond(self, head, body)


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    kind = content_type.lower()
    if kind == b"application/json":
        return True
    import re

    token = rb"[-!#$%&'*+.^_`|~0-9a-z]"
    value = rb"(?:" + token + rb'*|"[ -~]+?" *)'
    parameters = rb"(?: *" + token + rb"+=" + value + rb"(?:;|$))*"
    match = re.fullmatch(rb"application/(" + token + rb"+)(?:; *" + parameters + rb")?", kind)
    if match is None:
        return False
    subtype, plus, suffix = match[1].rpartition(b"+")
    return suffix == b"json" and bool(subtype or not plus) or subtype == b"json"


def _calendar(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _rfc3339(now: int) -> str:
    fraction = now % 1_000_000_000
    if not fraction:
        digits = ""
    elif not fraction % 1_000_000:
        digits = f".{fraction // 1_000_000:03}"
    elif not fraction % 1000:
        digits = f".{fraction // 1000:06}"
    else:
        digits = f".{fraction:09}"
    return f"{_calendar(now // 1_000_000_000)}{digits}+00:00"
