"""What every route needs: the state of one server, and the making of answers.

Strategy: no sockets, clock or randomness of its own; time and random bytes come in through the
constructor. Routes are functions that get this object, a request's head and, where the real one
reads it, the body; they return steps. Seen on 2.5.0 CPU-only unless a route says otherwise.
"""

from __future__ import annotations

import time

from fake_shimmy.api import routes
from fake_shimmy.rust import tracing
from fake_shimmy.wire import answers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fake_shimmy.api.routes import BodyHandler
    from fake_shimmy.api.watching import Client, Director, Exchange, Responded
    from fake_shimmy.models.engine import Engine
    from fake_shimmy.models.registry import Registry
    from fake_shimmy.models.scan import DiscoveredModel
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.rust.backtrace import Panic
    from fake_shimmy.rust.tracing import Tracer
    from fake_shimmy.serde.structs import RejectedError
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Steps

MAX_BODY = 2 * 1024 * 1024
"""Longest request body in bytes."""

_DAYS = "MonTueWedThuFriSatSun"
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_TEXT = b"\r\ncontent-type: text/plain; charset=utf-8\r\n"
_JSON = b"\r\ncontent-type: application/json\r\n"


class App:
    """The answers of one server, which is that ``build`` of ``release``.

    ``clock`` gives Unix nanoseconds, ``entropy`` n random bytes, ``search`` the models that are
    in the folders now. ``cores`` and ``memory`` (KiB) are what ``/diag`` tells of the machine.
    ``environ`` decides on backtraces and pretended GPUs. ``director`` follows a script.
    """

    def __init__(
        self,
        release: Release,
        build: Build,
        registry: Registry,
        engine: Engine,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        search: Callable[[], list[DiscoveredModel]],
        cores: int,
        memory: int,
        tracer: Tracer,
        environ: Mapping[str, str],
        director: Director | None = None,
    ) -> None:
        self.release = release
        self.build = build
        self.registry = registry
        self.engine = engine
        self.search = search
        self.cores = cores
        self.memory = memory
        self.tracer = tracer
        self.environ = environ
        self.director = director
        self.exchange: Exchange | None = None
        """What is known of the request being answered, where a director wants to know."""
        self.names = registry.names()
        """The names of all models, sorted."""
        self._clock = clock
        self._entropy = entropy
        self._date_second = -1
        self._date = b""
        self._has_panicked = False

    def respond(self, head: Head, client: Client) -> Responded:
        """The answer to ``head``, or the handler that needs the body first."""
        if self.director is None:
            return routes.respond(self, head)
        return self.director.respond(self, head, client, routes.respond)

    def handle(self, handler: BodyHandler, head: Head, body: bytes) -> Steps:
        """The answer of ``handler`` to ``body``, which may be a message of a WebSocket."""
        if self.exchange is None:
            return handler(self, head, body)
        return self.exchange.answer(self, handler, head, body)

    def seen_by(self, exchange: Exchange) -> App:
        """This application for one request, with what its script changes."""
        # Or every request would work the date out.
        self.date()
        view = object.__new__(App)
        view.__dict__.update(self.__dict__)
        view.exchange = exchange
        view.engine = exchange.engine(self.engine)
        return view

    def rejected(self, head: Head, error: RejectedError) -> Steps:
        """The answer to a body that no request could be read from."""
        return (self.text(head, error.status, error.text.encode()),)

    def no_json(self, head: Head) -> Steps:
        """The answer to a body that is not called JSON."""
        body = b"Expected request with `Content-Type: application/json`"
        return (self.text(head, b"415 Unsupported Media Type", body),)

    def too_large(self, head: Head) -> Steps:
        """The answer to a body over the limit."""
        body = b"Failed to buffer the request body: length limit exceeded"
        return (self.text(head, b"413 Payload Too Large", body),)

    def broken_body(self, head: Head) -> Steps:
        """The answer to a body whose framing is wrong, or that ends too early."""
        body = b"Failed to buffer the request body: error reading a body from connection"
        return (self.text(head, b"400 Bad Request", body),)

    def answer(self, head: Head, status: bytes, body: bytes, allow: bytes = b"") -> bytes:
        """A whole answer; see :func:`answers.answer`."""
        return answers.answer(head, status, body, self.date(), allow)

    def text(self, head: Head, status: bytes, body: bytes) -> bytes:
        """A plain-text answer."""
        return answers.answer(head, status + _TEXT, body, self.date())

    def json(self, head: Head, body: bytes, status: bytes = b"200 OK") -> bytes:
        """A JSON answer."""
        return answers.answer(head, status + _JSON, body, self.date())

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

    def event(self, level: int, target: str, message: str) -> None:
        """Log an event. That may block, and then the whole server does, as the real one."""
        self.tracer.event(level, target, message)

    def failed(self, head: Head, status: bytes, target: str, message: str) -> Steps:
        """The bare answer to a request that failed, after ``message`` was logged."""
        self.event(tracing.ERROR, target, message)
        return (self.answer(head, status + b"\r\n", b""),)

    def panicked(self, panic: Panic) -> None:
        """Report what ended the work on one connection; only the first report has the advice."""
        import os

        from fake_shimmy.rust import backtrace, console

        thread, version = self.release.worker_thread, self.release.version
        report = backtrace.report(self.environ, panic, thread, os.getpid(), version)
        before, _, last = report.rpartition("\n")
        is_repeated = self._has_panicked and last.startswith("note: run with")
        console.err(before if is_repeated else report)
        self._has_panicked = True

    def seconds(self) -> int:
        """Unix time in whole seconds."""
        return self._clock() // 1_000_000_000

    def identifier(self) -> str:
        """32 hex digits of a random (version 4) UUID."""
        digits = self._entropy(16).hex()
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:12]}4{digits[13:16]}{variant}{digits[17:]}"

    def timestamp(self) -> str:
        """The time as JSON bodies tell it."""
        return _rfc3339(self._clock())


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
