"""From a request to steps, without sockets, clock or randomness of its own.

Strategy: a table of routes; a handler gets the request's head (and body, where the real one has a
body extractor) and returns steps. Time and random bytes come in through the constructor. Seen on
2.5.0 CPU-only unless a handler says otherwise.
"""

from __future__ import annotations

import time

from fake_shimmy import chat, http1, payloads
from fake_shimmy.registry import shuffled
from fake_shimmy.steps import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from fake_shimmy.engine import Engine
    from fake_shimmy.http1 import Head
    from fake_shimmy.registry import Registry
    from fake_shimmy.scan import DiscoveredModel
    from fake_shimmy.steps import Steps

    GetHandler: TypeAlias = Callable[[Head], Steps]
    BodyHandler: TypeAlias = Callable[[Head, bytes], Steps]

MAX_BODY = 2 * 1024 * 1024
"""Longest request body in bytes."""

_DAYS = "MonTueWedThuFriSatSun"
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_TEXT = b"\r\ncontent-type: text/plain; charset=utf-8\r\n"
_JSON = b"\r\ncontent-type: application/json\r\n"


class App:
    """One server's answers.

    ``clock`` gives Unix nanoseconds, ``entropy`` n random bytes, ``search`` the models that are
    in the folders now. ``cores`` and ``memory`` (KiB) are what ``/diag`` tells of the machine.
    """

    def __init__(
        self,
        version: str,
        registry: Registry,
        engine: Engine,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        search: Callable[[], list[DiscoveredModel]],
        cores: int,
        memory: int,
    ) -> None:
        self._search = search
        self._cores = cores
        self._memory = memory
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
            b"/api/models": self._api_models,
            b"/api/tools": lambda head: (self.json(head, b'{"tools":[]}'),),
            b"/diag": self._diag,
            b"/metrics": self._not_imitated,
            b"/ws/generate": self._not_imitated,
        }
        # These have no body extractor: whatever is sent along is not looked at.
        self._bare_posts: dict[bytes, GetHandler] = {
            b"/api/models/discover": self._discover,
            b"/api/generate": self._not_imitated,
            b"/v1/completions": self._not_imitated,
            b"/v1/messages": self._not_imitated,
            b"/api/workflows/execute": self._not_imitated,
        }
        self._posts: dict[bytes, BodyHandler] = {
            b"/v1/chat/completions": self._chat,
        }

    def respond(self, head: Head) -> tuple[Steps | None, BodyHandler | None]:
        """The answer to ``head``, or the handler that needs the body first."""
        path = head.path
        get = self._gets.get(path)
        post = self._posts.get(path)
        bare_post = self._bare_posts.get(path)
        if get is None and post is None and path.startswith(b"/api/"):
            get, bare_post = self._with_parameter(path, bare_post)
        if head.method == b"OPTIONS":
            allow = b"GET,HEAD" if get else b"POST" if post or bare_post else b""
            return (self.answer(head, b"200 OK\r\n", b"", allow),), None
        if get is not None:
            if head.method in (b"GET", b"HEAD"):
                return get(head), None
            return (self._not_allowed(head, b"GET,HEAD"),), None
        if post is None and bare_post is None:
            return (self.answer(head, b"404 Not Found\r\n", b""),), None
        if head.method != b"POST":
            return (self._not_allowed(head, b"POST"),), None
        if bare_post is not None:
            return bare_post(head), None
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
            day = _DAYS[3 * moment.tm_wday :][:3]
            month = _MONTHS[3 * moment.tm_mon - 3 :][:3]
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

    def _api_models(self, head: Head) -> Steps:
        registry = self.registry
        rows = [
            payloads.api_model(name, None, None, None, "registered")
            for name in shuffled(registry.registered)
        ]
        rows += [
            payloads.api_model(
                model.name, model.size_bytes, model.model_type, model.parameter_count, "discovered"
            )
            for model in shuffled(registry.discovered.values())
        ]
        return (self.json(head, f'{{"models":[{",".join(rows)}]}}'.encode()),)

    def _discover(self, head: Head) -> Steps:
        """A fresh search, which changes nothing but this answer."""
        return (self.json(head, payloads.discovered(self._search())),)

    def _diag(self, head: Head) -> Steps:
        body = f'{{"os":"linux","cores":{self._cores},"mem_total_mb":{self._memory}}}'
        return (self.json(head, body.encode()),)

    def _with_parameter(
        self, path: bytes, bare_post: GetHandler | None
    ) -> tuple[GetHandler | None, GetHandler | None]:
        """The GET and POST handlers of the routes that have a name in the middle."""
        parts = path.split(b"/")
        # An empty name is a name to the real router.
        if len(parts) != 5:
            return None, bare_post
        kind, name, action = parts[2], parts[3], parts[4]
        if kind == b"models" and action == b"status":
            return lambda head: self._model_action(head, name, payloads.model_status), None
        if kind == b"models" and action in (b"load", b"unload"):
            verb = action.decode()
            return None, lambda head: self._model_action(
                head, name, lambda model: payloads.model_request(model, verb)
            )
        if kind == b"tools" and action == b"execute":
            return None, self._not_imitated
        return None, bare_post

    def _model_action(self, head: Head, name: bytes, body: Callable[[str], bytes]) -> Steps:
        try:
            model = _percent_decoded(name).decode()
        except UnicodeDecodeError:
            text = b"Invalid URL: Invalid UTF-8 in `name`"
            return (self.text(head, b"400 Bad Request", text),)
        return (self.json(head, body(model)),)

    def _not_imitated(self, head: Head) -> Steps:
        text = b"fake-shimmy: %b %b is not imitated yet\n" % (head.method, head.path)
        return (self.text(head, b"501 Not Implemented", text),)

    def _chat(self, head: Head, body: bytes) -> Steps:
        return chat.respond(self, head, body)


def _percent_decoded(text: bytes) -> bytes:
    first, *pieces = text.split(b"%")
    decoded = first
    for piece in pieces:
        code = piece[:2]
        if len(code) == 2 and not code.translate(None, b"0123456789abcdefABCDEF"):
            decoded += bytes((int(code, 16),)) + piece[2:]
        else:
            decoded += b"%" + piece
    return decoded


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
    return subtype == b"json" or (suffix == b"json" and bool(subtype or not plus))


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
