"""What `pytest-shimmy verify` says, as text and as JSON. Pure: results in, lines out.

Strategy: what many checks have in common is told once, as a change (see `changes`), the widest
first; so the text is about as long as the list of what a release changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from . import changes
from .changes import Change
from .differences import Edit
from .recordings import Recording
from .subject import Subject
from .verify import Result, summary

SHOWN_CHANGES = 20
"""Changes that are printed, unless all are asked for."""
SHOWN_LINES = 5
"""Lines of each of their texts."""
WIDTH = 80
"""Columns."""


class Comparison(NamedTuple):
    """One subject against one recording."""

    subject: Subject
    label: str
    """What the subject is, for a person."""
    recording: Recording
    results: Sequence[Result]
    others: Sequence[Recording] = ()
    """Recordings in which a change may be known."""

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return any(result.verdict == "differs" for result in self.results)

    @property
    def changes(self) -> list[Change]:
        """What the differences have in common."""
        others = [one for one in self.others if one.name != self.recording.name]
        return changes.changes(self.results, self.recording, others)


def title(label: str, subject: Subject, recording: Recording) -> str:
    """What is compared with what."""
    against = f"against the recording of shimmy {recording.name} ({recording.platform})"
    is_long = len(label) + len(against) >= WIDTH
    text = label + ("\n" if is_long else " ") + against
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
    if comparison.differs:
        yield from _changes(comparison.changes, everything)
    if everything:
        for result in results:
            if result.verdict == "differs":
                yield ""
                yield f"differs  {result.case.id}"
                yield from (f"  {line}" for line in result.note.split("\n"))
    reasons = Counter(r.note for r in results if r.verdict == "not applicable")
    if reasons:
        yield ""
    for reason, count in reasons.items():
        yield f"not applicable: {count} ({reason})"


def _changes(found: Sequence[Change], everything: bool) -> Iterator[str]:
    """Each change once, and how many checks show it."""
    shown = found if everything else found[:SHOWN_CHANGES]
    for number, change in enumerate(shown, 1):
        yield ""
        yield f"change {number}: {_extent(change, number)}"
        yield from (f"  {line}" for line in _known(change))
        for part, edits in groupby(change.edits, lambda edit: edit.part):
            yield f"  {part}"
            yield from (f"    {row}" for row in _capped(edits, everything))
    if len(shown) < len(found):
        rest = found[len(shown) :]
        checks = {check for change in rest for check in change.checks}
        yield ""
        yield (
            f"more changes: {len(rest)}, in checks: {len(checks)} (--all prints them; -k chooses)"
        )
    yield ""
    yield from _new(found)


def _extent(change: Change, number: int) -> str:
    count = len(change.checks)
    if count == 1:
        return change.checks[0]
    but = "but this" if number == 1 else f"but changes 1 to {number}"
    some = "which" if change.explained == count else f"{change.explained:,} of which"
    return f"{count:,} checks" + (f", {some} differ in nothing {but}" if change.explained else "")


def _known(change: Change) -> Iterator[str]:
    if len(change.checks) > 1:
        yield f"such as {change.checks[0]}"
    yield f"as in {', '.join(change.known)}" if change.known else "new: in no other recording"


def _new(found: Sequence[Change]) -> Iterator[str]:
    new = sum(not change.known for change in found)
    checks = {check for change in found for check in change.checks}
    yield f"checks that differ: {len(checks):,}; changes: {len(found)}, of which new: {new}"


def _capped(edits: Iterable[Edit], everything: bool) -> Iterator[str]:
    """The edits in rows, of which so many stay for each side of each."""
    for edit in edits:
        for _, told in groupby(changes.lines(edit), lambda line: line[0]):
            rows = [row for line in told for row in _rows(line)]
            limit = len(rows) if everything else SHOWN_LINES
            yield from rows[:limit]
            if limit < len(rows):
                yield f"  … and {len(rows) - limit} (--all)"


def _rows(line: str) -> list[str]:
    """The line, cut where the terminal would."""
    width = WIDTH - 4
    return [
        line[:width],
        *(f"  {line[at : at + width - 2]}" for at in range(width, len(line), width - 2)),
    ]


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
                "changes": [_change_as_json(change) for change in comparison.changes],
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


def _change_as_json(change: Change) -> dict[str, Any]:
    return {
        "edits": [edit._asdict() for edit in change.edits],
        "checks": list(change.checks),
        "explained": change.explained,
        "known": list(change.known),
    }
