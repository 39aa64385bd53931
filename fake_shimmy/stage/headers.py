"""Headers that a script gives to an answer, in place of those that are there."""

from __future__ import annotations

from itertools import chain

from fake_shimmy.wire.steps import Cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fake_shimmy.wire.steps import Step, Steps


def put_into(steps: Steps, headers: Mapping[str, str]) -> Steps:
    """``steps``, whose first bytes begin with a head, with these headers."""
    if not headers:
        return steps
    changed = _into_first(iter(steps), headers)
    if headers.get("connection", "").lower() == "close":
        changed = chain(changed, (Cut(),))
    return tuple(changed) if isinstance(steps, tuple) else changed


def _into_first(steps: Iterator[Step], headers: Mapping[str, str]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, bytes) and step:
            yield _with(step, headers)
            break
        yield step
    yield from steps


def _with(data: bytes, headers: Mapping[str, str]) -> bytes:
    head, separator, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].decode() not in headers]
    added = [f"{name}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join([status, *kept, *added]) + separator + rest
