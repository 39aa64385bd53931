"""The hooks that feed a run report. Loaded only in runs that make one."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..run_report import parts
from ..run_report.parts import Part
from .rewriting import not_rewritten
from .state import HARNESS, SERVERS_OF_TEST, settings_of
from .texts import MODE_ATTRIBUTE

SERVER_FIXTURES = frozenset(
    ("shimmy_server", "shimmy_fake", "shimmy_openai_client", "shimmy_model", "make_shimmy_server")
)
"""Their set-up may wait for a server; what they ask each other for is counted once."""


class RunReport:
    """Notes of what the tests of this process do, and, in the process that began the run, the
    report of all processes. Registered as a plugin."""

    def __init__(self, directory: str, worker: str, target: str | None) -> None:
        self.directory = directory
        self._worker = worker
        self._target = target
        self._part = Part(directory, f"{parts.TESTS}{worker}")
        self._started = time.time()
        self._has_said_session = False
        self._waited = 0.0
        self._waits = 0
        self._reports: list[pytest.TestReport] = []
        self._outcome = ""
        self._logs: list[tuple[str, str]] = []
        self._backends: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._waited, self._reports, self._logs, self._backends = 0.0, [], [], {}
        self._part.write(parts.TEST_BEGAN, id=item.nodeid, start=time.time_ns())
        result = yield
        if self._reports:
            self._write(item.stash.get(SERVERS_OF_TEST, []))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname not in SERVER_FIXTURES:
            return (yield)
        begun = time.monotonic()
        self._waits += 1
        try:
            return (yield)
        finally:
            self._waits -= 1
            if not self._waits:
                self._waited += time.monotonic() - begun

    # Last to return, so that the report has all its sections.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._reports.append(report)
        if not self._has_said_session or report.when == "call":
            self._look(item, report)
        return report

    def _look(self, item: pytest.Item, report: pytest.TestReport) -> None:
        harness = item.config.stash.get(HARNESS, None)
        if harness is None:
            return
        if not self._has_said_session:
            self._has_said_session = True
            session = parts.session_name(harness.api_key)
            self._part.write(parts.PROCESS, worker=self._worker, session=session)
        if report.when == "call":  # before its own servers end
            from . import used_servers

            self._backends = used_servers.backends_of(item)
            if not report.failed:  # else the report has it
                self._logs = used_servers.logs_of(item)

    def _write(self, servers: list[str]) -> None:
        reports = self._reports
        failed = [report for report in reports if report.failed]
        outcome = _outcome(reports)
        modes = (getattr(report, MODE_ATTRIBUTE, None) for report in reports)
        more = {
            "waited": round(self._waited, 4),
            "mode": next(filter(None, modes), None),
            "servers": servers,
            "error": failed[0].longreprtext if failed else _reason(reports),
            "sections": [*(failed or reports)[-1].sections, *self._logs],
            "backends": self._backends,
        }
        more = {name: value for name, value in more.items() if value}
        self._part.write(parts.TEST, stop=time.time_ns(), outcome=outcome, **more)

    def finish(self, config: pytest.Config, status: int) -> None:
        """Write the report, in the process that began the run. Servers and workers have ended."""
        if self._target is None:
            return
        # Workers need none of these.
        with not_rewritten():
            import json
            import shutil

            from ..run_report.collect import collect, finished
            from ..run_report.page import write_page

        path = Path(self._target)
        try:
            with _without_collector():
                run = collect(Path(self.directory), self._about(config, status))
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".json":
                    path.write_text(json.dumps(finished(run)), encoding="utf-8")
                else:
                    write_page(path, run)
            self._outcome = f"shimmy: report of the run: {path}"
        except OSError as error:
            self._outcome = f"shimmy: the report of the run could not be written: {error}"
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._outcome and terminalreporter.config.get_verbosity() > -2:
            terminalreporter.write_line(self._outcome)

    def _about(self, config: pytest.Config, status: int) -> dict[str, Any]:
        from importlib.metadata import version

        from ..masking import masked

        about = [
            " ".join(["pytest", *map(str, config.invocation_params.args)]),
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._started)),
            f"exit status {int(status)}",
            f"Python {sys.version.split()[0]}",
            f"pytest-shimmy {version('pytest-shimmy')}",
        ]
        return {
            "started": self._started,
            "ended": time.time(),
            "about": [masked(each) for each in about],
        }


def begin(config: pytest.Config) -> RunReport:
    """The plugin that makes this process's part of the report, and in the first the whole."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        with not_rewritten():
            from ..run_report.directory import new_directory

        return RunReport(str(new_directory()), "main", settings_of(config).report)
    return RunReport(worker.get("shimmy_report", ""), worker["workerid"], None)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of values, none of them in a circle: a collector would look at them again and
    again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _outcome(reports: list[pytest.TestReport]) -> str:
    if any(report.failed and report.when != "call" for report in reports):
        return "error"
    for report in reversed(reports):
        if hasattr(report, "wasxfail"):
            return "xfailed" if report.skipped else "xpassed"
        if report.when == "call" or report.skipped:
            return report.outcome
    return reports[-1].outcome


def _reason(reports: list[pytest.TestReport]) -> str:
    for report in reports:
        if report.skipped and isinstance(report.longrepr, tuple):
            return str(report.longrepr[2])
    return ""
