"""The figures of a run: how many, how long, how distributed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .reader import Exchange

BINS_PER_DECADE = 4
"""Of the distributions, whose axis is logarithmic."""


def figures(
    tests: Sequence[dict[str, Any]],
    exchanges: Sequence[Exchange],
    retries: int,
    servers: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The figures that a report begins with. Times are in seconds."""
    first = [exchange.moments[0] // 100 for exchange in exchanges if exchange.moments]
    between = [
        (later - earlier) // 100
        for exchange in exchanges
        for earlier, later in pairwise(exchange.moments)
    ]
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
        "between_tokens": distribution(between),
    }


def distribution(values: Sequence[int]) -> dict[str, Any] | None:
    """Median, 95th percentile and a histogram of tenths of milliseconds; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    counts: Counter[int] = Counter()
    for value, count in Counter(ordered).items():  # many are alike
        counts[_bin(value / 1e4)] += count
    lowest, highest = min(counts), max(counts)
    return {
        "count": len(ordered),
        "median": _quantile(ordered, 0.5) / 1e4,
        "p95": _quantile(ordered, 0.95) / 1e4,
        "histogram": [
            [_edge(number), counts.get(number, 0)] for number in range(lowest, highest + 1)
        ],
    }


def _quantile(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _bin(value: float) -> int:
    return math.floor(math.log10(max(value, 1e-5)) * BINS_PER_DECADE)


def _edge(number: int) -> float:
    return float(f"{10 ** (number / BINS_PER_DECADE):.3g}")
