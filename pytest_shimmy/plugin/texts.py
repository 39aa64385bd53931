"""What a person reads at the top and at the end of each run: pure text, made from values.

It is part of every pytest run, and loads little; see also `report_texts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..accel.result import AccelDetectorResult
    from ..settings import Settings
    from ..sharing.protocol import ServerSummary

MODE_ATTRIBUTE = "shimmy_mode"
"""Of a test's report: the kind of server that it ran on."""


def header(settings: Settings, version: str | None, executable: str | None = None) -> str:
    """The line at the top of a run; `executable` is the path of a real one."""
    recorded = f", recording in {settings.record}" if settings.record is not None else ""
    if settings.mode == "attached":
        from ..masking import masked, printable

        seen = printable(version or "not answering yet")
        what = f"attached to {masked(settings.url or '')} ({seen}), never stopped by us"
        return f"shimmy: {what}{recorded}"
    if settings.mode == "real":
        server = f"{executable} ({version}, real)"
    else:
        server = f"bundled fake of shimmy {version}"
    gpu = "/".join(settings.gpu)
    return f"shimmy: {server}, gpu {gpu}, one server per {settings.scope}{recorded}"


def near(path: str | PurePath, start: PurePath) -> str:
    """A path as a person at `start` writes it: relative where it is below."""
    try:
        return str(PurePath(path).relative_to(start))
    except ValueError:
        return str(path)


def counted(number: int, noun: str) -> str:
    """``1 test``, ``2 tests``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def unused(settings: Settings) -> list[str]:
    """Header lines: what says which fake it should be, in a run without one."""
    sources = [
        settings.sources[name]
        for name in ("fake_version", "fake_build")
        if name in settings.sources
    ]
    return [f"shimmy: not used, as this run has no fake: {', '.join(sources)}"] if sources else []


def machine(accel: AccelDetectorResult, asked: Collection[str]) -> list[str]:
    """Header lines: what is known of the backends that the run asks for, or of all."""
    findings = [finding for name, finding in accel.backends.items() if name in asked]
    if findings:
        return [f"shimmy: this machine: {finding}" for finding in findings]
    return [f"shimmy: this machine: {accel.reason}"]


def modes(stats: Mapping[str, Sequence[object]]) -> list[str]:
    """The kind of server of each test that ran on one, from the terminal's reports."""
    # By test and worker: a test that was run again is one, with --dist each it is several.
    ran = {
        (getattr(test, "nodeid", ""), getattr(test, "worker_id", "")): mode
        for outcome, tests in stats.items()
        for test in tests
        if outcome != "skipped" and (mode := getattr(test, MODE_ATTRIBUTE, None)) is not None
    }
    return list(ran.values())


MARK = "shimmy: "
"""What every line at the end of a run begins with."""
REPORT_HINT = "shimmy: --shimmy-report=run.html shows what happened between tests and server"


def has_failed(stats: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a test failed that used a server."""
    return any(
        getattr(report, MODE_ATTRIBUTE, None) is not None for report in stats.get("failed", ())
    )


def summary(modes: Sequence[str], servers: Sequence[ServerSummary], verbosity: int) -> list[str]:
    """The lines at the end of a run; `modes` has the kind of server of each test that used one.

    `verbosity` is pytest's: with ``-q`` one line at most, with ``-qq`` none.
    """
    if verbosity < -1 or (verbosity == -1 and not modes):
        return []
    counts = [
        f"{modes.count(mode)} {where}"
        for mode, where in (
            ("fake", "on the fake"),
            ("real", "on a real executable"),
            ("attached", "on an attached server"),
            ("replayed", "on recordings"),
        )
        if mode in modes
    ]
    if counts:
        number, _, rest = counts[0].partition(" ")
        counts[0] = f"{number} test{'s' * (number != '1')} {rest}"
    lines = [f"shimmy: {', '.join(counts) or 'no test used a server'}"]
    for server in servers if verbosity >= 0 else ():
        if server.loaded is not None:
            lines.append(f"shimmy: model {server.loaded!r} loaded in {server.load_seconds:.1f} s")
        if verbosity > 0:
            lines.append(f"shimmy: {_life(server)}")
        elif server.restarts:
            lines.append(f"shimmy: the server on port {server.port} was restarted {_times(server)}")
        if server.kept_log is not None:
            lines.append(f"shimmy: server log kept: {server.kept_log}")
    return lines


def in_one_line(lines: Sequence[str]) -> list[str]:
    """The lines of `summary` as one, for ``-q``; none where there is none."""
    whole = "; ".join(line.removeprefix(MARK) for line in lines)
    return [f"{MARK}{whole}"] if whole else []


def _life(server: ServerSummary) -> str:
    """One server's, in a line."""
    version = server.version or "never healthy"
    name = f"{server.executable or 'the bundled fake'} ({version})"
    asked = "" if server.requests is None else f"{counted(server.requests, 'request')}, "
    restarted = f"restarted {_times(server)}" if server.restarts else "never restarted"
    return f"port {server.port}: {name}, {asked}{restarted}, lived {server.lifetime:.1f} s"


def _times(server: ServerSummary) -> str:
    return counted(server.restarts, "time")
