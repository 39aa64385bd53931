"""The figures of a run: how many, how long, how distributed."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from operator import sub
from typing import Any

from .reader import Exchange, moments

BINS_PER_DECADE = 4
"""Of the distributions, whose axis is logarithmic."""

SHORTEST = 1e-5
"""Seconds; what is shorter is in one bin with it."""


def figures(
    tests: Sequence[dict[str, Any]],
    exchanges: Sequence[Exchange],
    retries: int,
    servers: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The figures that a report begins with. Times are in seconds."""
    packed = [each for exchange in exchanges if (each := exchange.packed_moments())]
    first = moments(b"".join([each[:4] for each in packed]))
    later = moments(b"".join([each[4:] for each in packed]))
    earlier = moments(b"".join([each[:-4] for each in packed]))
    events = Counter(event["what"] for server in servers for event in server["events"])
    return {
        "tests": dict(Counter(test["outcome"] for test in tests)),
        "modes": dict(
            Counter(test["mode"] for test in tests if test["mode"] and test["outcome"] != "skipped")
        ),
        "requests": len(exchanges),
        "failed_requests": sum(exchange.is_failed for exchange in exchanges),
        "retries": retries,
        "tokens": sum(exchange.tokens for exchange in exchanges),
        "waited": round(sum(test["waited"] for test in tests), 3),
        "restarts": events["restarting"],
        "first_token": distribution(first),
        "between_tokens": distribution(list(map(sub, later, earlier))),
    }


def distribution(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, 95th percentile and a histogram; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    lowest, highest = _bin(ordered[0]), _bin(ordered[-1])
    # What is below the lowest edge is in the lowest bin.
    begins = [0, *(bisect_left(ordered, _edge(each)) for each in range(lowest + 1, highest + 1))]
    return {
        "count": len(ordered),
        "median": _quantile(ordered, 0.5),
        "p95": _quantile(ordered, 0.95),
        "histogram": [
            [float(f"{_edge(number):.3g}"), end - begin]
            for number, (begin, end) in enumerate(pairwise([*begins, len(ordered)]), lowest)
        ],
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 6)


def _bin(value: float) -> int:
    return math.floor(math.log10(max(value, SHORTEST)) * BINS_PER_DECADE)


def _edge(number: int) -> float:
    return 10 ** (number / BINS_PER_DECADE)
