"""One server: which release and build it imitates, on which machine, at what time.

Strategy: no clock or randomness of its own; they come in through the constructor. What is here is
the same for all requests. Seen on 2.5.0 CPU-only and 1.8.1.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fake_shimmy.api.access import Access
    from fake_shimmy.models.scan import DiscoveredModel
    from fake_shimmy.releases import Build, Release
    from fake_shimmy.rust.backtrace import Panic
    from fake_shimmy.rust.tracing import Tracer

_DAYS = "MonTueWedThuFriSatSun"
_VARIANTS = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
"""What a version 4 UUID has instead of a digit."""
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


class Server:
    """A server of that ``build`` of ``release``, which has models of these ``names``.

    ``clock`` gives Unix nanoseconds, ``entropy`` n random bytes, ``search`` the models that are
    in the folders now. ``cores`` and ``memory`` (KiB) are what ``/diag`` tells of the machine.
    ``environ`` decides on backtraces and pretended GPUs, ``access`` on who may ask.
    """

    def __init__(
        self,
        release: Release,
        build: Build,
        names: list[str],
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        search: Callable[[], list[DiscoveredModel]],
        cores: int,
        memory: int,
        tracer: Tracer,
        environ: Mapping[str, str],
        access: Access,
    ) -> None:
        self.release = release
        self.build = build
        self.names = names
        self.search = search
        self.cores = cores
        self.memory = memory
        self.tracer = tracer
        self.environ = environ
        self.access = access
        self._clock = clock
        self._entropy = entropy
        self._date_second = -1
        self._date = b""
        self._has_panicked = False

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

    def seconds(self) -> int:
        """Unix time in whole seconds."""
        return self._clock() // 1_000_000_000

    def timestamp(self) -> str:
        """The time as JSON bodies tell it."""
        return _rfc3339(self._clock())

    def identifier(self) -> str:
        """32 hex digits of a random (version 4) UUID."""
        digits = self._entropy(16).hex()
        return f"{digits[:12]}4{digits[13:16]}{_VARIANTS[digits[16]]}{digits[17:]}"

    def event(self, level: int, target: str, message: str) -> None:
        """Log an event. That may block, and then the whole server does, as the real one."""
        self.tracer.event(level, target, message)

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
