"""What a person reads: pure text, made from values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..masking import masked, printable, quoted
from ..runtime_dir import VARIABLE

if TYPE_CHECKING:  # the header is part of every run, and is not to load what it does not need
    from ..accel.result import AccelDetectorResult
    from ..settings import Mode, Settings
    from ..sharing.protocol import Death, ServerSummary

MODE_ATTRIBUTE = "shimmy_mode"
"""Of a test's report: the kind of server that it ran on."""


def header(settings: Settings, version: str | None, executable: str | None = None) -> str:
    """The line at the top of a run; `executable` is the path of a real one."""
    recorded = f", recording in {settings.record}" if settings.record is not None else ""
    if settings.mode == "attached":
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


def log_section(text: str, left_out: int) -> str:
    """The part of a server's log that a failing test's report shows, its newest, and how many
    bytes of it came before."""
    if not left_out:
        return _folded(quoted(text))
    # What is left of a line that is cut could be a part of a secret.
    cut, _, kept = text.partition("\n")
    if kept:
        left_out += len(cut.encode("utf-8", "replace")) + 1
    return f"[{left_out} earlier bytes left out]\n{_folded(quoted(kept or text))}"


_LINE = r"\| (?:\[\w+\] |  \w).*"
_SAID_BY_ENGINE = rf"(?m)^((?:{_LINE}\n){{2}})((?:{_LINE}\n){{2,}})((?:{_LINE}\n){{3}}{_LINE}$)"
"""Its first lines, those that are not shown, its last lines."""


def _folded(log: str) -> str:
    """`log` without the middle of what an engine says: dozens of lines about a model's inside,
    for each request (seen on default builds of 2.5.0 and 2.6.5)."""

    def shortened(run: re.Match[str]) -> str:
        return f"{run[1]}[{run[2].count(chr(10))} lines of the engine left out]\n{run[3]}"

    return re.sub(_SAID_BY_ENGINE, shortened, log)


def deaths_section(deaths: Sequence[Death]) -> str:
    """What happened to the server during a failing test."""
    return "\n".join(
        f"the server (pid {death.pid}) died during this test: {death.exit}" for death in deaths
    )


_NO_SUCH_MODEL = r"Model '([^'\n]+)' not found"
"""What a chat completion is answered where the model is unknown (seen on 2.5.0 and 2.6.5)."""


def unknown_model_section(said: str, has_rules: bool) -> str | None:
    """What to do where a test's failure is that the fake has no such model; None: it is not.

    `has_rules`: the test can add rules to its fake.
    """
    found = re.search(_NO_SUCH_MODEL, said)
    if found is None:
        return None
    name = printable(masked(found[1]))
    hint = (
        f"the fake has the models that the settings name, and none of them is {name!r}.\n"
        f"In pytest.ini: shimmy_model = {name}, or on the command line: --shimmy-model={name}"
    )
    return f"{hint}\nOr let a rule answer any name: validate=False" if has_rules else hint


_PANICKED_OVER_MODEL = r"panicked at \S*airframe-[\d.]+/src/(backend/bindless|core)/"
"""What the engine of a default build does over a file that is no whole GGUF (2.5.0, 2.6.5)."""


def model_section(log: str) -> str | None:
    """What a server's log says of a model file that its engine cannot read; None: nothing."""
    if not re.search(_PANICKED_OVER_MODEL, log):
        return None
    return (
        "The server panicked while it read the model file, and closed the connection without an "
        "answer:\nthe file is no GGUF, or is cut short. The log says which file.\n"
        "Use a whole one, or --shimmy-tiny-model, which makes the smallest that this executable "
        "can serve."
    )


def missing_model_section(path: str) -> str:
    """What to do where the model file at `path`, with which a server was started, is gone."""
    return (
        f"The model file {printable(masked(path))} is gone since the server was started with it; "
        "something has removed it (a cleaner of temporary files?).\n"
        "Keep that away from this directory. Files that the plugin makes for a server are in the "
        f"runtime directory: {VARIABLE} names another."
    )


def machine(accel: AccelDetectorResult, asked: Collection[str]) -> list[str]:
    """Header lines: what is known of the backends that the run asks for, or of all."""
    findings = [finding for name, finding in accel.backends.items() if name in asked]
    if findings:
        return [f"shimmy: this machine: {finding}" for finding in findings]
    return [f"shimmy: this machine: {accel.reason}"]


def unmet(marker: str, mode: Mode) -> str | None:
    """Why a test with that marker cannot run on that kind of server; None when it can."""
    if marker == "shimmy_real" and mode == "replayed":
        return (
            "needs a real shimmy, and this run replays recordings; run it with "
            "--shimmy-path=EXECUTABLE, or let recordings do (--shimmy-replay-as-real)"
        )
    if marker == "shimmy_real" and mode == "fake":
        return (
            "needs a real shimmy, and this run uses the bundled fake; "
            "run it with --shimmy-path=EXECUTABLE or --shimmy-url=URL"
        )
    if marker == "shimmy_fake" and mode not in ("fake", "replayed"):
        server = "an attached server" if mode == "attached" else "a real executable"
        return f"needs the bundled fake, and this run uses {server}; run it with --shimmy-fake"
    return None


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
