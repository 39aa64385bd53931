"""What the plugin keeps in pytest's config between its hooks."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..settings import Settings
from .rewriting import not_rewritten

if TYPE_CHECKING:
    from types import TracebackType

    from ..accel.result import AccelDetectorResult
    from ..harness import Harness
    from ..launch.target import Targets
    from ..sharing.protocol import ServerSummary
    from ..sharing.run import Anchor

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
HARNESS: pytest.StashKey[Harness] = pytest.StashKey()
ANCHOR: pytest.StashKey[Anchor] = pytest.StashKey()
FAREWELLS: pytest.StashKey[list[ServerSummary]] = pytest.StashKey()
REPORT: pytest.StashKey[str] = pytest.StashKey()
"""The directory for the parts of a run report, in a run that makes one."""
SERVERS_OF_TEST: pytest.StashKey[list[str]] = pytest.StashKey()
"""Of an item: the addresses of the servers that it used."""
TARGETS: pytest.StashKey[Targets] = pytest.StashKey()
COUNTS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
ACCEL: pytest.StashKey[AccelDetectorResult] = pytest.StashKey()


def settings_of(config: pytest.Config) -> Settings:
    """The run's settings."""
    return config.stash[SETTINGS]


def harness_of(config: pytest.Config) -> Harness:
    """This process's harness, made (and its modules loaded) at the first call."""
    harness = config.stash.get(HARNESS, None)
    if harness is None:
        with not_rewritten():
            from ..harness import Harness
            from ..sharing.run import Run

        worker = getattr(config, "workerinput", {})
        invitation = worker.get("shimmy") or anchor_of(config).invitation()
        # Not the present directory: a test may have changed that.
        run = Run.invited(invitation, str(config.invocation_params.dir))
        harness = Harness(
            run,
            worker.get("workerid"),
            targets_of(config),
            waiting_shown(config),
            config.stash.get(REPORT, None),
        )
        config.stash[HARNESS] = harness
    return harness


def targets_of(config: pytest.Config) -> Targets:
    """What is known of the run's executables; a worker begins with what its controller knew."""
    if TARGETS not in config.stash:
        from ..launch.target import Targets
        from ..sharing.run import host_id

        worker = getattr(config, "workerinput", {})
        # On another host the same path may lead to another executable.
        is_here = "shimmy" in worker and worker["shimmy"]["host"] == host_id()
        config.stash[TARGETS] = Targets(worker["shimmy_targets"] if is_here else ())
    return config.stash[TARGETS]


def accel_of(config: pytest.Config) -> AccelDetectorResult:
    """What GPUs this machine has; looked for once in a run, by the first process that asks."""
    if ACCEL not in config.stash:
        from ..accel.detector import detect_once
        from ..accel.result import AccelDetectorResult
        from ..runtime_dir import subdir

        from_controller = getattr(config, "workerinput", {}).get("shimmy_accel")
        if from_controller is not None:
            config.stash[ACCEL] = AccelDetectorResult.from_json(from_controller)
        else:
            run = harness_of(config).run.id
            config.stash[ACCEL] = detect_once(subdir("locks") / "accel.json", run=run)
    return config.stash[ACCEL]


def anchor_of(config: pytest.Config) -> Anchor:
    """The anchor of the run that was started in this process, made at the first call."""
    from ..sharing.run import Anchor

    if ANCHOR not in config.stash:
        config.stash[ANCHOR] = Anchor(str(config.invocation_params.dir))
    return config.stash[ANCHOR]


def waiting_shown(config: pytest.Config) -> Callable[[str], None] | None:
    """A function that says on the terminal what is waited for, from any thread; None where it would
    not be seen, or is not wanted (``-q``)."""
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    if terminal is None or not terminal.isatty or terminal.verbosity < 0:
        return None
    # A copy, because output is captured while a test waits, and threads must not interfere with it.
    with contextlib.nullcontext() if capture is None else capture.global_and_fixture_disabled():
        try:
            screen = os.fdopen(os.dup(sys.stdout.fileno()), "w", errors="replace")
        except OSError:  # it has no descriptor
            return None
    config.add_cleanup(screen.close)

    def show(text: str) -> None:
        lead = "\n" if terminal.currentfspath else ""  # pytest is within a line
        terminal.currentfspath = None
        with contextlib.suppress(OSError, ValueError):  # the terminal has gone, or the run is over
            screen.write(f"{lead}shimmy: {text}\n")
            screen.flush()

    return show


class Failure(pytest.fail.Exception):  # type: ignore[misc, name-defined]  # not a type to mypy
    """The failure of a test because of a `ShimmyError`."""


TOLD: pytest.StashKey[dict[str, str]] = pytest.StashKey()
"""The messages of failures that were reported here, each with the test that has it in full."""


def is_ours(error: BaseException) -> bool:
    """Whether it is a `ShimmyError`, or the failure because of one."""
    return type(error).__module__.partition(".")[0] == "pytest_shimmy"


def report_error(report: pytest.TestReport, error: BaseException, config: pytest.Config) -> None:
    """Have an error of ours be told by its message alone, and a `Failure` that was told before in
    two lines."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None or not is_ours(error):
        return
    # Else a summary's line begins with the name of our class, and has no room for the reason.
    crash.message = message = str(error)
    chain = getattr(report.longrepr, "chain", ())
    if len(chain) > 1 and all(map(_is_within_ours, _causes(error))):
        report.longrepr.chain = chain[-1:]  # type: ignore[union-attr]
    if not isinstance(error, Failure):
        return
    first = config.stash.setdefault(TOLD, {}).setdefault(message, report.nodeid)
    if first != report.nodeid:
        entry = report.longrepr.reprtraceback.reprentries[-1]  # type: ignore[union-attr]
        entry.lines = [message.partition("\n")[0], f"(in full under {first})"]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that a traceback shows above `error`."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield cause
        yield from _causes(cause)


def _is_within_ours(cause: BaseException) -> bool:
    """Whether it was raised and caught in our own lines: the error that came of it says why."""
    frames = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    names = [frame.f_globals.get("__name__", "").partition(".")[0] for frame in frames]
    return all(name == "pytest_shimmy" or name in sys.stdlib_module_names for name in names)


class failures_reported:  # noqa: N801 - read as a word: with failures_reported():
    """Turn a `ShimmyError` into the failure of the test that is running.

    With the message alone: our own frames would tell its reader nothing. No generator, because
    every test comes by here several times.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        from ..errors import REFUSALS, ShimmyError, system_refused

        if isinstance(error, REFUSALS):
            error = system_refused("no server could be had", error)
        if isinstance(error, ShimmyError):
            raise Failure(str(error), pytrace=False) from None


def end_in_test(error: BaseException) -> None:
    """Take our own innermost frames out of an error's traceback, where a debugger would stop."""
    frame = error.__traceback__
    last = None
    while frame is not None:
        if not frame.tb_frame.f_globals.get("__name__", "").startswith("pytest_shimmy."):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None


def skip_test(reason: str) -> NoReturn:
    """Skip the test that is running."""
    # So that the summary names the test's line and not ours.
    raise pytest.skip.Exception(reason, _use_item_location=True)


def server_summaries_of(config: pytest.Config) -> list[ServerSummary]:
    """The last words of the servers that have ended."""
    return config.stash.setdefault(FAREWELLS, [])


def counts_of(config: pytest.Config) -> list[dict[str, Any]]:
    """What each process has told of its cassettes."""
    return config.stash.setdefault(COUNTS, [])


def finish(config: pytest.Config) -> None:
    """Let go of all servers; may be called twice. Their summaries are in `server_summaries_of`."""
    summaries = server_summaries_of(config)
    harness = config.stash.get(HARNESS, None)
    if harness is not None:
        harness.finish()
        summaries += harness.server_summaries
        harness.server_summaries = []
    anchor = config.stash.get(ANCHOR, None)
    if anchor is not None and (keepers := anchor.let_go()):
        from ..harness import END_TIMEOUT
        from ..sharing.release import release_all

        summaries += release_all(keepers, END_TIMEOUT)
