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
    for result in different if everything else different[:SHOWN_DIFFERENCES]:
        yield ""
        yield f"differs  {result.case.id}"
        difference = result.note.split("\n")
        shown = difference if everything else difference[:SHOWN_LINES]
        yield from (f"  {line}" for line in shown)
        if len(shown) < len(difference):
            yield f"  … {len(difference) - len(shown)} lines more (--all)"
    if not everything and len(different) > SHOWN_DIFFERENCES:
        yield ""
        yield f"differs  {len(different) - SHOWN_DIFFERENCES} more (--all):"
        yield from (f"  {result.case.id}" for result in different[SHOWN_DIFFERENCES:])
    reasons = Counter(r.note for r in results if r.verdict == "not applicable")
    if reasons:
        yield ""
    for reason, count in reasons.items():
        yield f"not applicable: {count} ({reason})"


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
