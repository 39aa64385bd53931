"""Comparing a subject with a recording, and making a recording.

Strategy: cases of one world share a stage, and stages come one after the other; commands, which
share nothing, run side by side. Results come as they are known, so that progress can be shown.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from functools import cache
from itertools import groupby
from typing import Literal, NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from . import adapter, differences, normalise, recordings
from .case import Case, Command
from .cases.all import all_cases
from .differences import Edit, Observation, shown
from .environments import WORLDS
from .observe import Stage
from .recordings import Entry, Recording, digest
from .subject import Subject

FEW = 20
"""Differences that are looked at again; more are no chance."""
SECOND_LOOKS = 2
_METRICS = "routes: GET /metrics"
Verdict = Literal["same", "differs", "not applicable"]


class Result(NamedTuple):
    """What came of one case."""

    case: Case
    verdict: Verdict
    note: str = ""
    """The difference, or why it is not applicable."""
    edits: tuple[Edit, ...] = ()
    """The difference, piece by piece."""


def check(
    subject: Subject,
    recording: Recording,
    wanted: Callable[[Case], bool] = lambda _: True,
    instead: Recording | None = None,
    stage_of: type[Stage] = Stage,
) -> Iterator[Result]:
    """Compare `subject`, or what was recorded of it (`instead`), with `recording`, case by case."""
    asked = []
    no_adapter = cache(lambda: "" if instead else adapter.why_none(subject))
    for case in filter(wanted, all_cases()):
        reason = _why_not(case, subject, recording)
        if not reason and WORLDS[case.act.world].needs_adapter:
            reason = no_adapter()
        if instead is not None:
            reason = reason or _missing(case, instead)
        if reason:
            yield Result(case, "not applicable", reason)
        else:
            asked.append(case)
    again: list[Result] = []
    observations = (
        observe(subject, asked, stage_of) if instead is None else _look_up(instead, asked)
    )
    for case, observed in observations:
        result = _compared(subject, recording, case, observed)
        if result.verdict == "same":
            yield result
        else:
            again.append(result)
    if instead is None and len(again) <= FEW:
        yield from _second_look(subject, recording, again, stage_of)
    else:
        yield from again


def _second_look(
    subject: Subject, recording: Recording, different: list[Result], stage_of: type[Stage]
) -> Iterator[Result]:
    """Only what differs each time does: where a client hangs up, which of two ends comes first
    may be chance, in the real one as well."""
    for _ in range(SECOND_LOOKS):
        still = []
        for case, observed in observe(subject, [result.case for result in different], stage_of):
            result = _compared(subject, recording, case, observed)
            if result.verdict == "same":
                yield result
            else:
                still.append(result)
        different = still
    yield from different


def _compared(subject: Subject, recording: Recording, case: Case, observed: Observation) -> Result:
    recorded = recording.entries[case.id].observation
    if subject.is_fake and case.imitation != "exact":
        recorded, observed = _speechless(case, recorded), _speechless(case, observed)
    if observed == recorded:
        return Result(case, "same")
    note = difference(recorded, observed)
    return Result(case, "differs", note, differences.gist(recorded, observed))


def record(
    subject: Subject,
    wanted: Callable[[Case], bool] = lambda _: True,
    progress: Callable[[Case], None] = lambda _: None,
) -> Recording:
    """Record `subject`: every wanted case that makes sense for it, done twice.

    Raises `ShimmyError` (``VERIFY_FAILED``) for cases that come out differently the second time
    (what varies has to be made neutral first), and where something is missing that cases need.
    """
    cases = [case for case in filter(wanted, all_cases()) if subject.takes(case)]
    if any(WORLDS[case.act.world].needs_adapter for case in cases):
        lacking = adapter.why_none(subject)
        if lacking:
            raise ShimmyError(
                ShimmyErrorCode.VERIFY_FAILED,
                f"shimmy {subject.name} cannot be recorded whole: {lacking}.",
                {"lacking": lacking},
            )
    entries: dict[str, Entry] = {}
    unsteady: list[str] = []
    for _ in range(2):
        for case, observed in observe(subject, cases):
            progress(case)
            first = entries.setdefault(case.id, Entry(digest(case), observed))
            if first.observation != observed:
                unsteady.append(f"{case.id}\n{difference(first.observation, observed)}")
    if unsteady:
        raise ShimmyError(
            ShimmyErrorCode.VERIFY_FAILED,
            f"{len(unsteady)} cases came out differently the second time; nothing was recorded.\n"
            "Make neutral what varies (pytest_shimmy/contract/normalise.py), or ask differently:\n"
            + "\n".join(unsteady[:10]),
            {"unsteady": [entry.partition("\n")[0] for entry in unsteady]},
        )
    platform = recordings.this_platform()
    return Recording(subject.release, subject.engine, platform, _features(entries), entries)


def _features(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """What ``/metrics`` says that the executable was built with."""
    if _METRICS not in entries:
        return ()
    told = re.search(r'"features":\{(.*?)\}', str(entries[_METRICS].observation))
    return tuple(re.findall(r'"(\w+)":true', told[1])) if told else ()


def observe(
    subject: Subject, cases: Sequence[Case], stage_of: type[Stage] = Stage
) -> Iterator[tuple[Case, Observation]]:
    """Do `cases`, world by world; the order of the observations is not that of the cases."""
    in_worlds = sorted(cases, key=lambda case: case.act.world)
    for world, group in groupby(in_worlds, lambda case: case.act.world):
        together = list(group)
        with stage_of(subject, world) as stage, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            commands = [case for case in together if isinstance(case.act, Command)]
            yield from zip(commands, pool.map(stage.observe, commands), strict=True)
            for case in together:
                if not isinstance(case.act, Command):
                    yield case, stage.observe(case)


def difference(recorded: Observation, observed: Observation) -> str:
    """What differs, in the form of a unified diff for each part of an observation."""
    parts = []
    for name in {**recorded, **observed}:
        before, after = (_lines(side.get(name)) for side in (recorded, observed))
        if before != after:
            lines = unified_diff(before, after, "recorded", "observed", lineterm="", n=2)
            parts.append("\n".join([f"{name}:", *list(lines)[2:]]))
    return "\n".join(parts)


def summary(results: Sequence[Result]) -> Counter[Verdict]:
    """How many of each verdict."""
    return Counter(result.verdict for result in results)


def _why_not(case: Case, subject: Subject, recording: Recording) -> str:
    if not subject.takes(case):
        return f"not for {subject.name}"
    if subject.is_fake and case.imitation == "none":
        return "depends on what a model says"
    return _missing(case, recording)


def _speechless(case: Case, observation: Observation) -> Observation:
    if isinstance(case.act, Command):
        return {**observation, "stdout": "{said}"}
    counted = case.imitation == "but for words and counts"
    return {
        name: normalise.speechless(part, without_counts=counted)
        for name, part in observation.items()
    }


def _missing(case: Case, recording: Recording) -> str:
    entry = recording.entries.get(case.id)
    if entry is None:
        return f"not in the recording of {recording.name}"
    if entry.digest != digest(case):
        return f"changed since {recording.name} was recorded"
    return ""


def _look_up(recording: Recording, cases: Sequence[Case]) -> Iterator[tuple[Case, Observation]]:
    for case in cases:
        yield case, recording.entries[case.id].observation


def _lines(value: object) -> list[str]:
    # Line ends are part of what is compared, so they have to be visible.
    text = shown(value).replace("\r\n", "\\r\\n\n")
    # Bytes that are not UTF-8 could be neither printed nor sent on.
    return text.encode("utf-8", "backslashreplace").decode().split("\n")
