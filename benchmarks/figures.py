"""What a measurement yields, and the statistics that go with it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple


class Target(NamedTuple):
    """What a figure must be: its median, or its ratio, at most or at least `limit`."""

    limit: float
    of_ratio: bool = False
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


class Figure(NamedTuple):
    """One measured quantity: all values of one subject in one unit."""

    name: str
    unit: str
    values: tuple[float, ...]
    ratio: float | None = None
    """To the subject named in `ratio_to`, measured in the same run."""
    ratio_to: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        value = self.ratio if self.target.of_ratio else self.median
        return None if value is None else self.target.is_met(value)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "ratio": self.ratio,
            "ratio_to": self.ratio_to or None,
            "target": None if self.target is None else self.target._asdict(),
            "target_met": self.is_met,
            "note": self.note or None,
        }


class Missing(NamedTuple):
    """A quantity that was not measured, and why."""

    name: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "not_measured": self.reason}


class Point(NamedTuple):
    number: int
    seconds: float
    megabytes: float | None


class Series(NamedTuple):
    """How time and memory grow with a number."""

    name: str
    points: tuple[Point, ...]
    clock: str
    """What the seconds are of."""
    weighed: str
    """Whose memory it is."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "points": [point._asdict() for point in self.points],
            "clock": self.clock,
            "weighed": self.weighed,
        }


Result = Figure | Missing | Series


def interleave(
    rounds: int, subjects: dict[str, Callable[[], float]], warm_up: int = 1
) -> dict[str, tuple[float, ...]]:
    """Measure all subjects in turn, `rounds` times: A B C, C B A, A B C, ...

    Whatever disturbs the machine for a while then disturbs all of them, and none of them always
    comes right after the same other one.
    """
    values: dict[str, list[float]] = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(-warm_up, rounds):
        for name in names:
            value = subjects[name]()
            if number >= 0:
                values[name].append(value)
        names.reverse()
    return {name: tuple(found) for name, found in values.items()}


def paired_ratio(values: Sequence[float], baseline: Sequence[float]) -> float:
    """Median of the ratios of values that were measured in the same round."""
    return statistics.median(
        value / base for value, base in zip(values, baseline, strict=True) if base
    )


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> tuple[float, ...]:
    """The differences of values that were measured in the same round."""
    return tuple(value - base for value, base in zip(values, baseline, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
