"""`pytest-shimmy verify` and `record`: choose who is compared with what, run it, print it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ShimmyError, ShimmyErrorCode
from . import recording_files, report, subject
from . import verify as checks
from .case import Case
from .cases.all import all_cases
from .recordings import Recording
from .report import Comparison
from .subject import Subject


def verify(
    *,
    path: str | None = None,
    release: str | None = None,
    build: str | None = None,
    recording: Path | None = None,
    words: str | None = None,
    everything: bool = False,
    as_json: bool = False,
) -> int:
    """Compare, print, and give the exit code: 0 where nothing differs, else 1.

    Raises `ShimmyError` where there is no such executable or recording.
    """
    started = time.monotonic()
    known = [recording_files.load(recording)] if recording else recording_files.shipped()
    found = [
        one for one in known if release in (None, one.release) and build in (None, one.of.build)
    ]
    if not found:
        raise _no_recording(f"{release or 'any release'}, {build or 'any'} build", known)
    wanted = _wanted(words)
    total = sum(map(wanted, all_cases()))
    if not total:
        raise ShimmyError(
            ShimmyErrorCode.VERIFY_FAILED,
            f"no check has all of these words in its name: {words}.\n"
            "Without -k, --all prints the names of those that differ, and --json all of them.",
            {"words": words},
        )
    comparisons = []
    instead = recording_files.load(Path(path)) if path and _is_recording(path) else None
    for who, label, one in _pairs(path, instead, found):
        if not as_json:
            print(report.title(label, who, one), flush=True)
        results = []
        with _Progress(total) as progress:
            for result in checks.check(who, one, wanted, instead):
                results.append(result)
                progress.step(result.case)
        comparisons.append(Comparison(who, label, one, results, known))
        if not as_json:
            print("\n".join(report.lines(comparisons[-1], everything)), end="\n\n")
    if as_json:
        print(json.dumps(report.as_json(comparisons), indent=1))
    else:
        print(report.closing(comparisons, time.monotonic() - started))
    return int(any(comparison.differs for comparison in comparisons))


def record(path: str, output: Path | None) -> int:
    """Record the executable at `path`; gives the exit code.

    Raises `ShimmyError` where it is no shimmy, does not do the same twice, or cannot be written.
    """
    who = subject.executable(path)
    target = output or Path(f"{who.name}.json")
    _must_be_writable(target)
    print(f"recording shimmy {who.name} ({path})", flush=True)
    # Everything is done twice.
    with _Progress(2 * sum(map(who.takes, all_cases()))) as progress:
        made = checks.record(who, progress=progress.step)
    recording_files.save(made, target)
    print(f"{len(made.entries)} cases in {target}")
    return 0


def _pairs(
    path: str | None, instead: Recording | None, found: list[Recording]
) -> Iterator[tuple[Subject, str, Recording]]:
    """Who is compared with what."""
    if path is None:
        # A release is recorded before the fake can do it.
        for one in [one for one in found if len(found) == 1 or subject.is_imitated(one.release)]:
            who = subject.bundled_fake(one.release, one.of.build, one.engine)
            yield who, "the bundled fake", one
        return
    who = instead.of if instead else subject.executable(path)
    # A recording that was named is the one that is wanted.
    alike = found if len(found) == 1 else [one for one in found if one.engine == who.engine]
    if not alike:
        raise _no_recording(f"a build with {who.engine} (that is what {path} is)", found)
    yield who, path, _nearest(who, alike)


def _must_be_writable(target: Path) -> None:
    # Found out before the minute that recording takes.
    place = target if target.exists() else target.parent
    if not os.access(place, os.W_OK) or target.is_dir():
        raise ShimmyError(
            ShimmyErrorCode.VERIFY_FAILED,
            f"{target} cannot be written: {place} is not there, is a folder, or is not yours.\n"
            "Choose another file with --output.",
            {"path": str(target)},
        )


def _is_recording(path: str) -> bool:
    return path.endswith(".json")


def _nearest(who: Subject, alike: list[Recording]) -> Recording:
    """The recording of that release, or else of the newest before it."""
    newest_first = sorted(alike, key=lambda one: one.of.numbers, reverse=True)
    return next((one for one in newest_first if one.of.numbers <= who.numbers), newest_first[-1])


def _wanted(words: str | None) -> Callable[[Case], bool]:
    if not words:
        return lambda _: True
    asked = words.lower().split()
    return lambda case: all(word in case.id.lower() for word in asked)


def _no_recording(what: str, known: list[Recording]) -> ShimmyError:
    names = ", ".join(one.name for one in known) or "none"
    return ShimmyError(
        ShimmyErrorCode.VERIFY_FAILED,
        f"there is no recording of {what}; there is: {names}.\n"
        "Make one with: pytest-shimmy record --shimmy-path=PATH, and give it to "
        "pytest-shimmy verify --recording=FILE",
        {"recordings": [one.name for one in known]},
    )


class _Progress:
    """A counter on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._shown = 0.0
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def step(self, case: Case) -> None:
        self._count += 1
        now = time.monotonic()
        if self._is_shown and now - self._shown > 0.1:
            self._shown = now
            done = f"{self._count} of {self._total}: {case.group}"
            print(f"\r\033[K{done}", end="", file=sys.stderr, flush=True)
