"""What `pytest-shimmy verify` says, as text and as JSON. Pure: results in, lines out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .recordings import Recording
from .subject import Subject
from .verify import Result, summary

SHOWN_DIFFERENCES = 10
"""Differences printed in full length, unless all are asked for."""
SHOWN_LINES = 24
"""Lines of each."""
SHOWN_NAMES = 40
"""Names of further checks that differ."""
COMMON = 10
"""Checks in which the same line must differ to be told on its own."""


class Comparison(NamedTuple):
    """One subject against one recording."""

    subject: Subject
    label: str
    """What the subject is, for a person."""
    recording: Recording
    results: Sequence[Result]

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return any(result.verdict == "differs" for result in self.results)


def title(label: str, subject: Subject, recording: Recording) -> str:
    """What is compared with what."""
    text = f"{label} against the recording of shimmy {recording.name} ({recording.platform})"
    if subject.name != recording.name:
        text += f"\nThere is no recording of {subject.name}; this is the nearest."
    return text


def lines(comparison: Comparison, everything: bool) -> Iterator[str]:
    """The table, the differences, and why some cases were left out."""
    results = comparison.results
    groups = list(dict.fromkeys(result.case.group for result in results))
    width = max(map(len, groups), default=5)
    yield f"{'group':{width}}  same  differs  not applicable"
    for group in groups:
        counts = summary([result for result in results if result.case.group == group])
        yield (
            f"{group:{width}}  {counts['same']:4}  {counts['differs'] or '':7}  "
            f"{counts['not applicable'] or ''}"
        ).rstrip()
    different = [result for result in results if result.verdict == "differs"]
    yield from _common(different)
    shown = different if everything else _unlike(different)[:SHOWN_DIFFERENCES]
    for result in shown:
        yield ""
        yield f"differs  {result.case.id}"
        difference = result.note.split("\n")
        limit = len(difference) if everything else SHOWN_LINES
        yield from (f"  {line}" for line in difference[:limit])
        if limit < len(difference):
            yield f"  … {len(difference) - limit} lines more (--all)"
    if len(shown) < len(different):
        yield ""
        yield f"differs  {len(different) - len(shown)} more (--all prints them; -k chooses):"
        names = [result.case.id for result in different if result not in shown]
        yield from (f"  {name}" for name in names[:SHOWN_NAMES])
        if len(names) > SHOWN_NAMES:
            yield f"  … and {len(names) - SHOWN_NAMES}"
    reasons = Counter(r.note for r in results if r.verdict == "not applicable")
    if reasons:
        yield ""
    for reason, count in reasons.items():
        yield f"not applicable: {count} ({reason})"


def _changed(result: Result) -> set[str]:
    """The lines of a difference that are on one side only."""
    return {line for line in result.note.split("\n") if line[:1] in "+-" and line.strip("+-")}


def _common(different: Sequence[Result]) -> Iterator[str]:
    """Lines that differ in many checks: one change of the product is in all of its answers."""
    counts = Counter(line for result in different for line in _changed(result))
    often = [(line, count) for line, count in counts.most_common(8) if count >= COMMON]
    if often:
        yield ""
        yield "differs in many checks:"
    for line, count in often:
        yield f"  {count:5} times  {line[:200]}"


def _unlike(different: Sequence[Result]) -> list[Result]:
    """The results that show a line which those before them do not."""
    seen: set[str] = set()
    chosen = []
    for result in different:
        changed = _changed(result)
        if not changed <= seen:
            seen |= changed
            chosen.append(result)
    return chosen


def closing(comparisons: Sequence[Comparison], seconds: float) -> str:
    """The last line."""
    counts = summary([result for one in comparisons for result in one.results])
    return (
        f"{counts.total()} checks in {seconds:.1f} s: {counts['same']} same, "
        f"{counts['differs']} differ, {counts['not applicable']} not applicable"
    )


def as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "differs": any(comparison.differs for comparison in comparisons),
        "comparisons": [
            {
                "subject": comparison.label,
                "release": comparison.subject.release,
                "build": comparison.subject.build,
                "recording": comparison.recording.name,
                "counts": dict(summary(comparison.results)),
                "checks": [
                    {
                        "group": result.case.group,
                        "name": result.case.name,
                        "verdict": result.verdict,
                        "note": result.note,
                    }
                    for result in comparison.results
                ],
            }
            for comparison in comparisons
        ],
    }
