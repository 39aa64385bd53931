"""What the client did: retries, pauses, hang-ups, and whether it noticed what went wrong.

Strategy: requests with the same method, path and body are attempts at one thing, until one of them
succeeds; what is asked again after that is a new call. Whether the code under test noticed a
truncated answer shows in a retry, or in an exception, for which it has to be watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .journal import RecordedRequest, count

Amount = int | range


@dataclass(frozen=True)
class Call:
    """One thing that the client wanted: its attempts, oldest first."""

    requests: tuple[RecordedRequest, ...]

    @property
    def retries(self) -> int:
        """How often it was retried."""
        return len(self.requests) - 1

    @property
    def pauses(self) -> tuple[float, ...]:
        """Seconds from the end of each attempt to the next one."""
        return tuple(
            max(0.0, after.started - before.started - (before.duration or 0.0))
            for before, after in pairwise(self.requests)
        )

    @property
    def succeeded(self) -> bool:
        """The last attempt was answered, and whole."""
        return _succeeded(self.requests[-1])

    def __str__(self) -> str:
        first = self.requests[0]
        steps = [_step(first)]
        for pause, request in zip(self.pauses, self.requests[1:], strict=True):
            steps.append(f"after {pause:.3f} s again: {_step(request)}")
        return f"{first.method} {first.path}: {'; '.join(steps)}"


@dataclass
class Watch:
    """The code under test while it ran under ``watch_client()``."""

    first: int
    """Number of its first request."""
    last: int | None = None
    """Number of its last request; None while it runs."""
    raised: BaseException | None = None
    """What came out of it."""
    has_noticed: bool = False
    """It reported the failure in a way of its own; see `noticed`."""
    report: ClientReport | None = None
    """Afterwards: what the client did meanwhile."""

    def noticed(self) -> None:
        """Say that the code under test did report the failure, in a way of its own."""
        self.has_noticed = True

    def covers(self, request: RecordedRequest) -> bool:
        """Whether it was this code that sent `request`."""
        return self.first <= request.id and (self.last is None or request.id <= self.last)

    @property
    def told(self) -> bool:
        """Whether the failure came out of it."""
        return self.raised is not None or self.has_noticed


@dataclass(frozen=True)
class ClientReport:
    """What the client did; as text, a verdict."""

    calls: tuple[Call, ...]
    """Each request with its retries, oldest first."""
    watches: Sequence[Watch] = field(default=(), repr=False)
    """The code that ran under ``watch_client()``."""

    @classmethod
    def of(cls, records: Iterable[RecordedRequest], watches: Sequence[Watch]) -> ClientReport:
        """The report over `records`, oldest first."""
        calls: list[list[RecordedRequest]] = []
        open_calls: dict[tuple[str, str, bytes], list[RecordedRequest]] = {}
        for record in records:
            what = (record.method, record.path, record.body)
            if what not in open_calls:
                open_calls[what] = []
                calls.append(open_calls[what])
            open_calls[what].append(record)
            if _succeeded(record):
                del open_calls[what]
        return cls(tuple(Call(tuple(call)) for call in calls), tuple(watches))

    @property
    def retries(self) -> int:
        """Number of retries, over all calls."""
        return sum(call.retries for call in self.calls)

    @property
    def pauses(self) -> tuple[float, ...]:
        """Seconds before each retry."""
        return tuple(pause for call in self.calls for pause in call.pauses)

    @property
    def hang_ups(self) -> tuple[RecordedRequest, ...]:
        """Requests whose client left before the answer's end."""
        return tuple(each for call in self.calls for each in call.requests if each.hung_up)

    @property
    def truncated(self) -> tuple[RecordedRequest, ...]:
        """Requests whose answer began, and ended too early."""
        return tuple(each for call in self.calls for each in call.requests if _is_truncated(each))

    @property
    def taken_as_whole(self) -> tuple[RecordedRequest, ...]:
        """Truncated answers that were not retried and raised nothing, as far as was watched."""
        return tuple(
            request
            for request in self._not_asked_again()
            for watch in self.watches
            if watch.covers(request) and watch.last is not None and not watch.told
        )

    @property
    def unwatched(self) -> tuple[RecordedRequest, ...]:
        """Truncated answers that were not retried, by code that was not watched."""
        return tuple(
            request
            for request in self._not_asked_again()
            if not any(watch.covers(request) and watch.last is not None for watch in self.watches)
        )

    def complaints(
        self,
        *,
        retries: Amount | None = None,
        min_pause: float | None = None,
        max_pause: float | None = None,
        hung_up_after: Amount | None = None,
        noticed_truncation: bool = False,
    ) -> list[str]:
        """What the client did not do as it should, a line each."""
        found = []
        if retries is not None and not _is_in(self.retries, retries):
            found.append(f"it made {_retries(self.retries)}, not {_amount(retries)}")
        pauses = self.pauses
        if min_pause is not None and pauses and min(pauses) < min_pause:
            found.append(f"it paused only {min(pauses):.3f} s before a retry, not {min_pause:g} s")
        if max_pause is not None and pauses and max(pauses) > max_pause:
            found.append(f"it paused {max(pauses):.3f} s before a retry, more than {max_pause:g} s")
        if hung_up_after is not None:
            found += self._hang_up_complaints(hung_up_after)
        if noticed_truncation:
            found += self._truncation_complaints()
        return found

    def __str__(self) -> str:
        if not self.calls:
            return "the client sent no request"
        lines = [str(call) for call in self.calls]
        lines.append(
            f"verdict: {count(len(self.calls), 'call')}, "
            f"{_retries(self.retries)}, "
            f"{count(len(self.hang_ups), 'hang-up')}, "
            f"{count(len(self.truncated), 'truncated answer')}"
        )
        lines += self._taken_as_whole_lines()
        lines += [f"a truncated answer was not retried: {each.text()}" for each in self.unwatched]
        return "\n".join(lines)

    def _not_asked_again(self) -> list[RecordedRequest]:
        return [call.requests[-1] for call in self.calls if _is_truncated(call.requests[-1])]

    def _hang_up_complaints(self, wanted: Amount) -> list[str]:
        seen = [request.tokens_sent for request in self.hang_ups]
        if any(_is_in(tokens, wanted) for tokens in seen):
            return []
        if not seen:
            tokens = "token" if wanted == 1 else "tokens"
            return [f"it never hung up; it should have after {_amount(wanted)} {tokens}"]
        when = ", ".join(map(str, seen))
        return [f"it hung up after {when} tokens, not after {_amount(wanted)}"]

    def _taken_as_whole_lines(self) -> list[str]:
        return [
            f"it took a truncated answer for a whole one: {each.text()}"
            for each in self.taken_as_whole
        ]

    def _truncation_complaints(self) -> list[str]:
        if not self.truncated:
            return ["no answer was truncated, so there was nothing to notice"]
        found = self._taken_as_whole_lines()
        found += [
            f"a truncated answer was not retried, and whether anything was raised is not "
            f"known: {each.text()}\nRun the code under test inside `with "
            "shimmy_fake.watch_client():`"
            for each in self.unwatched
        ]
        return found


def _succeeded(request: RecordedRequest) -> bool:
    status = request.status
    return request.ended == "complete" and status is not None and status < 400


def _is_truncated(request: RecordedRequest) -> bool:
    # Before the first byte there is nothing that could be taken for an answer.
    return request.ended == "cut" and request.bytes_sent > 0


def _step(request: RecordedRequest) -> str:
    if request.hung_up:
        return f"hung up after {count(request.tokens_sent, 'token')}"
    if _is_truncated(request):
        return f"cut after {count(request.tokens_sent, 'token')}"
    if request.ended == "cut":
        return "cut before the answer"
    if request.in_flight:
        return f"in flight, {count(request.tokens_sent, 'token')} so far"
    tokens = f", {count(request.tokens_sent, 'token')}" if request.tokens_sent else ""
    return f"{request.status}{tokens}"


def _is_in(number: int, wanted: Amount) -> bool:
    return number in wanted if isinstance(wanted, range) else number == wanted


def _amount(wanted: Amount) -> str:
    if isinstance(wanted, range):
        return f"{wanted.start} to {wanted.stop - 1}"
    return str(wanted)


def _retries(number: int) -> str:
    return "1 retry" if number == 1 else f"{number} retries"
