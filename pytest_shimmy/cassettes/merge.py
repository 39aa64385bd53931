"""What a new recording changes in a stored one: as little as possible.

Strategy: exchanges with the same request belong together in their order. An answer that says what
the stored one says, apart from moments, ids and dates, leaves the stored one where and as it is.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence

from fake_shimmy.script.same_request import Sameness
from fake_shimmy.script.timed_answer import Recording, TimedAnswer

_VARYING_HEADERS = re.compile(
    r"^(date|age|server-timing|set-cookie|cf-ray|sec-websocket-accept|"
    r"[\w-]*(request-id|trace-?id|-ms)|x-ratelimit-[\w-]+|content-length)\s*:",
    re.IGNORECASE,
)
_VARYING_MEMBERS = re.compile(
    rb'"(id|created|created_at|request_id|system_fingerprint)"\s*:\s*("[^"]*"|[0-9.]+|null)'
)


def merged(
    stored: Sequence[Recording],
    recorded: Sequence[Recording],
    sameness: Sameness,
    *,
    keep: bool = False,
    only_missing: bool = False,
) -> list[Recording]:
    """The exchanges to write. `keep`: stored ones that were not asked for again stay;
    `only_missing`: stored ones stay whatever was answered now."""
    waiting: dict[tuple[int, str], deque[Recording]] = defaultdict(deque)
    for each in recorded:
        waiting[each.server, sameness.identity(each.request)].append(each)
    result: list[Recording] = []
    for old in stored:
        queue = waiting.get((old.server, sameness.identity(old.request)))
        if queue:
            new = queue.popleft()
            later = [sameness.later_messages(each.request) for each in (old, new)]
            is_same = later[0] == later[1] and is_alike(old.answer, new.answer)
            result.append(old if only_missing or is_same else new)
        elif keep or only_missing:
            result.append(old)
    taken = {id(each) for queue in waiting.values() for each in queue}
    return result + [each for each in recorded if id(each) in taken]


def is_alike(one: TimedAnswer, other: TimedAnswer) -> bool:
    """Whether two answers say the same, apart from moments, ids and dates."""
    if (one.framing, one.trailers) != (other.framing, other.trailers) or _head(one) != _head(other):
        return False
    if "left" in (one.end, other.end) and one.framing in ("chunked", "frames"):
        # Where a client leaves is a matter of the moment.
        shorter = min(len(one.chunks), len(other.chunks))
        return one.end == other.end and _chunks(one)[:shorter] == _chunks(other)[:shorter]
    if one.end != other.end:
        return False
    if one.framing in ("length", "close"):  # what is read at once is chance
        return _neutral(one.body) == _neutral(other.body)
    return _chunks(one) == _chunks(other)


def _chunks(answer: TimedAnswer) -> list[tuple[bytes, str]]:
    return [(_neutral(chunk.data), "" if chunk.data else chunk.marker) for chunk in answer.chunks]


def _neutral(data: bytes) -> bytes:
    return _VARYING_MEMBERS.sub(rb'"\1":0', data)


def _head(answer: TimedAnswer) -> list[str]:
    return [line for line in answer.head if not _VARYING_HEADERS.match(line)]
