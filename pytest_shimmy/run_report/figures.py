"""The figures that a report begins with: how many, how long, how distributed.

`page.html` makes those of exchanges in the same way, when it has them as they were written.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .reader import Exchange

BINS_PER_DECADE = 4
"""Of the distributions, whose axis is logarithmic."""

SHORTEST = 1e-5
"""Seconds; what is shorter is in one bin with it."""


def figures(tests: Sequence[dict[str, Any]], servers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Those of tests and servers."""
    events = Counter(event["what"] for server in servers for event in server["events"])
    return {
        "tests": dict(Counter(test["outcome"] for test in tests)),
        "modes": dict(
            Counter(test["mode"] for test in tests if test["mode"] and test["outcome"] != "skipped")
        ),
        "waited": round(sum(test["waited"] for test in tests), 3),
        "restarts": events["restarting"],
    }


def figures_of_exchanges(
    exchanges: Sequence[Exchange], repeated: Sequence[int | None]
) -> dict[str, Any]:
    """Those of requests; `repeated` says of each which one it repeats. Times are in seconds."""
    moments = [found for exchange in exchanges if (found := exchange.moments())]
    between = [later - earlier for each in moments for earlier, later in pairwise(each)]
    return {
        "requests": len(exchanges),
        "failed_requests": sum(exchange.is_failed for exchange in exchanges),
        "retries": sum(each is not None for each in repeated),
        "tokens": sum(exchange.tokens for exchange in exchanges),
        "first_token": distribution([each[0] for each in moments]),
        "between_tokens": distribution(between),
    }


def distribution(values: Sequence[float]) -> dict[str, Any] | None:
    """Median, 95th percentile and a histogram; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    counts = Counter(map(_bin, ordered))
    return {
        "count": len(ordered),
        "median": _quantile(ordered, 0.5),
        "p95": _quantile(ordered, 0.95),
        "histogram": [
            [_edge(number), counts[number]] for number in range(min(counts), max(counts) + 1)
        ],
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)], 6)


def _bin(value: float) -> int:
    return math.floor(math.log10(max(value, SHORTEST)) * BINS_PER_DECADE)


def _edge(number: int) -> float:
    return float(f"{10 ** (number / BINS_PER_DECADE):.3g}")
