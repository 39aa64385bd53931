"""Cassettes in a run: which test or fixture a request belongs to, and what is told of it.

Loaded only by a run that records or replays.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

from ..cassettes.folder import Folder, fixture_name, marker_name, test_name
from ..cassettes.replaying import Miss, ReplayRun
from ..cassettes.run import USAGE, CassetteRun, Counts
from ..errors import ShimmyError
from ..launch.warm_up import WAITING_SHOWN
from .state import HARNESS, counts_of, failures_reported, harness_of, settings_of
from .texts import counted, near

if TYPE_CHECKING:
    from ..cassettes.recorder_control import Waiting
    from ..cassettes.recording import RecordingRun

NAME: pytest.StashKey[str] = pytest.StashKey()
"""The cassette of a test that has begun."""
FAILED: pytest.StashKey[bool] = pytest.StashKey()
MISSES: pytest.StashKey[list[Miss]] = pytest.StashKey()

END: pytest.StashKey[threading.Event] = pytest.StashKey()
"""Tells the thread that watches over a test that it is over."""

MARKER = "shimmy_cassette"
SHOWN_AFTER = 2.0
"""Seconds until a person at a terminal is told what is waited for."""


def run_of(config: pytest.Config) -> CassetteRun:
    """What this process records or replays, made at the first call. Raises `ShimmyError`."""
    harness = harness_of(config)
    if harness.recording is None and harness.replay is None:
        harness.use_cassettes(settings_of(config))
    run = harness.recording or harness.replay
    assert run is not None
    return run


def begin_test(item: pytest.Item) -> None:
    """What is asked from now on belongs to this test."""
    item.stash[MISSES] = []
    item.stash[FAILED] = False
    with failures_reported():
        run = run_of(item.config)
        harness_of(item.config).begin_test()
        name = _name_of(item, run)
        run.enter(name)
        item.stash[NAME] = name
    harness = harness_of(item.config)
    if harness.recording is not None and harness.show is not None:
        item.stash[END] = threading.Event()
        arguments = (harness.recording, harness.show, item.stash[END])
        threading.Thread(target=_tell_waits, args=arguments, daemon=True).start()


def judge(item: pytest.Item) -> None:
    """Fail a test, which passed, for what was not recorded."""
    misses = _misses(item)
    if misses:
        pytest.fail(_told(item, misses), pytrace=False)


def complete(report: pytest.TestReport, item: pytest.Item) -> None:
    """Say in a failed test's report what was not recorded."""
    if report.failed:
        item.stash[FAILED] = True
    if report.failed and report.when != "teardown" and (misses := _misses(item)):
        text = _told(item, misses)
        if text not in str(report.longrepr):
            report.sections.append(("shimmy cassettes", text))


def end_test(item: pytest.Item) -> None:
    """The test is over, its teardown too."""
    name = item.stash.get(NAME, None)
    if name is None:
        return
    if END in item.stash:
        item.stash[END].set()
    harness = item.config.stash[HARNESS]
    with failures_reported():
        is_shared = item.get_closest_marker(MARKER) is not None
        if harness.recording is not None:
            harness.recording.leave()
            harness.recording.finish(name, is_shared=is_shared, has_failed=item.stash[FAILED])
        elif harness.replay is not None:
            _misses(item)
            harness.replay.finish(name, is_shared=is_shared)
            harness.replay.leave()


@contextlib.contextmanager
def of_fixture(fixturedef: pytest.FixtureDef[Any], request: Any) -> Iterator[None]:
    """What a fixture that tests share asks, while it is set up and torn down, is its own."""
    run = run_of(request.config)
    index = getattr(request, "param_index", 0)
    parameter = f"[{index}]" if hasattr(request, "param") else ""
    base = _below(fixturedef.baseid, run, request.config)
    name = fixture_name(base, f"{fixturedef.argname}{parameter}")

    def leave() -> None:
        with failures_reported():
            harness = harness_of(request.config)
            run.leave()
            if harness.recording is not None:
                harness.recording.finish(name, is_shared=True)

    def enter_again() -> None:
        with failures_reported():
            run.enter(name, again=True)

    # Finalizers are called in the other direction: this is the last one, and that below the first.
    fixturedef.addfinalizer(leave)
    with failures_reported():
        run.enter(name)
    try:
        yield
    finally:
        leave()
        fixturedef.addfinalizer(enter_again)


def output_of(config: pytest.Config) -> dict[str, Any] | None:
    """What a process tells at its end; None when it recorded and replayed nothing."""
    harness = config.stash.get(HARNESS, None)
    run = harness and (harness.recording or harness.replay)
    if not run:
        return None
    used = run.used if isinstance(run, ReplayRun) else {}
    unwritten = getattr(run, "unwritten", {})
    numbers = {name: sorted(each) for name, each in used.items()}
    return {"counts": tuple(run.counts), "used": numbers, "unwritten": unwritten}


def header(config: pytest.Config) -> str:
    """The line at the top of a run that replays. Raises `UsageError`."""
    folder = PurePath(settings_of(config).replay or "")
    try:
        found = Folder(Path(folder))
        server = found.server() or {}
    except ShimmyError as error:
        raise pytest.UsageError(str(error)) from None
    count = sum(1 for _ in found.names())
    what = f"{counted(count, 'cassette')} of {server.get('server', 'an unknown server')}"
    where = f"recorded {server.get('at', 'some day')}, in {_near(folder, config)}"
    return f"shimmy: replaying {what}, {where}"


def tell_usage(config: pytest.Config) -> None:
    """Write down which exchanges of which cassettes were used, if a file for it was named."""
    if path := os.environ.get(USAGE):
        used: dict[str, set[int]] = {}
        for each in counts_of(config):
            for name, numbers in each["used"].items():
                used.setdefault(name, set()).update(numbers)
        text = json.dumps({name: sorted(numbers) for name, numbers in used.items()})
        Path(path).write_text(text, encoding="utf-8")


def summary(config: pytest.Config) -> list[str]:
    """The lines at the end of a run."""
    told = counts_of(config)
    if not told:
        return []
    counts = Counts()
    for each in told:
        counts = counts.plus(Counts(*each["counts"]))
    if (folder := settings_of(config).record) is not None:
        return [
            f"shimmy: {counted(counts.recorded, 'exchange')} recorded, "
            f"{counted(counts.written, 'cassette')} written in {_near(folder, config)}"
        ]
    missed = f"{counts.missed} not recorded" if counts.missed else "none missed"
    lines = [f"shimmy: {counted(counts.replayed, 'exchange')} replayed, {missed}"]
    if counts.unused:
        lines.append(f"shimmy: not asked for: {counted(counts.unused, 'recorded exchange')}")
    return lines


def unwritten(config: pytest.Config) -> list[str]:
    """Why the run has failed: the cassettes that could not be written, a line for each."""
    reasons: dict[str, str] = {}
    for each in counts_of(config):
        reasons |= each["unwritten"]
    return [f"shimmy: FAILED: {reason}" for _, reason in sorted(reasons.items())]


def _tell_waits(recording: RecordingRun, show: Callable[[str], None], end: threading.Event) -> None:
    """Say now and then which answer a test waits for, until it is over."""
    shown = 0.0
    while not end.wait(0.5):
        waits: list[Waiting] = []
        with contextlib.suppress(ShimmyError):  # the recorder has ended, which is told elsewhere
            waits = [each for each in recording.waiting() if each.seconds >= SHOWN_AFTER]
        if waits and time.monotonic() - shown >= WAITING_SHOWN and not end.is_set():
            shown = time.monotonic()
            request, seconds, chunks = waits[0]
            more = f", and for {len(waits) - 1} more" if waits[1:] else ""
            so_far = f"{seconds:.0f} s, {counted(chunks, 'chunk')} so far"
            show(f"waiting for the answer to {request} ({so_far}){more}")


def _name_of(item: pytest.Item, run: CassetteRun) -> str:
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return test_name(_below(item.nodeid, run, item.config))
    try:
        (name,) = marker.args
        return marker_name(name)
    except (ValueError, TypeError) as error:
        raise pytest.UsageError(f"{item.nodeid}: {MARKER}: {error}") from None


def _below(node_id: str, run: CassetteRun, config: pytest.Config) -> str:
    """A node id, shortened by the folder that tests and cassettes have in common."""
    try:
        common = run.folder.path.parent.relative_to(config.rootpath)
    except ValueError:
        return node_id
    prefix = "" if common == PurePath() else f"{common.as_posix()}/"
    return node_id.removeprefix(prefix) if node_id != common.as_posix() else ""


def _near(path: str | PurePath, config: pytest.Config) -> str:
    return near(path, config.invocation_params.dir)


def _misses(item: pytest.Item) -> list[Miss]:
    harness = item.config.stash[HARNESS]
    found = item.stash.get(MISSES, [])
    if harness.replay is not None:
        with contextlib.suppress(ShimmyError):  # the fake has ended, which is told elsewhere
            found += harness.replay.misses()
    return found


def _told(item: pytest.Item, misses: list[Miss]) -> str:
    run = run_of(item.config)
    lines = []
    for miss in misses:
        request = miss.request
        lines.append(f"no recording answers {request.method} {request.path}")
        lines.append(f"  looked in {_near(run.folder.file(miss.cassette), item.config)}")
        if miss.nearest is None:
            lines.append("  nothing is recorded there, or no such file is there")
        elif miss.difference:
            lines += [
                "  the nearest recording differs:",
                *(f"    {line}" for line in miss.difference),
            ]
        else:
            lines.append(
                "  the same request is recorded, and was answered already: it came once more"
            )
    lines += [
        "record it:",
        f"  pytest '{item.nodeid}' --shimmy-path=EXECUTABLE "
        f"--shimmy-record={_near(run.folder.path, item.config)} --shimmy-record-mode=missing",
        "or say in cassettes.toml, beside the recordings, what in a request varies.",
    ]
    return "\n".join(lines)
