"""The pytest plugin: hooks that delegate at once. Loaded in every run, so it loads little."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from . import fixtures, settings
from .state import (
    EXECUTABLE,
    FAREWELLS,
    HARNESS,
    SETTINGS,
    anchor_of,
    failures_reported,
    finish,
    settings_of,
    skip_test,
)

if TYPE_CHECKING:
    from .fake import FakeShimmy
    from .server import ShimmyServer

MARKERS = (
    "shimmy_real: needs a real shimmy, not the bundled fake",
    "shimmy_fake: needs the bundled fake",
    "shimmy_gpu(*backends): needs a server that verifiably uses one of these GPU backends",
)

REPORT_MODE = "shimmy_mode"


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.register(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(fixtures, "shimmy-fixtures")
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    ini_base = config.inipath.parent if config.inipath is not None else config.rootpath
    try:
        config.stash[SETTINGS] = settings.load(
            config.getoption, config.getini, os.environ, ini_base
        )
    except settings.BadSettingError as error:
        raise pytest.UsageError(str(error)) from None
    # A worker's controller has looked already; --help must work whatever is set.
    if not hasattr(config, "workerinput") and not config.option.help:
        _look_at_executable(config)


def _look_at_executable(config: pytest.Config) -> None:
    """A broken executable is found now, and not in every test."""
    chosen = settings_of(config)
    if chosen.mode != "real":
        return
    from .binary import identify
    from .errors import ShimmyError

    try:
        config.stash[EXECUTABLE] = identify(chosen.path or "")
    except ShimmyError as error:
        raise pytest.UsageError(f"{chosen.sources['path']}: {error}") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    if hasattr(config, "workerinput"):  # a worker's header is shown to nobody
        return None
    from . import report

    chosen = settings_of(config)
    if chosen.mode == "fake":
        from fake_shimmy.releases import NEWEST

        return report.header(chosen, chosen.fake_version or NEWEST)
    if chosen.mode == "attached":
        from .health import version_at

        return report.header(chosen, version_at(chosen.url or ""))
    executable = config.stash[EXECUTABLE]
    return report.header(chosen, executable.version, executable.name)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: called in the controller for each worker that it starts."""
    node.workerinput["shimmy"] = anchor_of(node.config).invitation()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    backends = settings_of(metafunc.config).gpu
    if len(backends) > 1 and "_shimmy_gpu" in metafunc.fixturenames:
        metafunc.parametrize("_shimmy_gpu", backends, ids=backends, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _apply_markers(item)
    for server in _servers_in_use(item):
        with failures_reported():
            server.begin_test()


def _apply_markers(item: pytest.Item) -> None:
    for name, may_be_required in (
        ("shimmy_real", "real"),
        ("shimmy_fake", ""),
        ("shimmy_gpu", "gpu"),
    ):
        marker = item.get_closest_marker(name)
        if marker is not None:
            from . import report

            chosen = settings_of(item.config)
            reason = report.unmet(name, marker.args, chosen.mode)
            if reason is not None:
                _skip(reason, must_run=may_be_required in chosen.require)


def _skip(reason: str, must_run: bool) -> NoReturn:
    if must_run:
        pytest.fail(f"{reason} (required by --shimmy-require)", pytrace=False)
    skip_test(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield
    # Only here, so that a test that failed by itself is not failed again; its report has the same.
    for fake in _fakes_in_use(item):
        with failures_reported():
            leftovers = fake.leftovers()
        if leftovers:
            pytest.fail("\n".join(["the test was strict, and:", *leftovers]), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    report = yield
    servers = _servers_in_use(item)
    if report.when == "call" and servers:
        # xdist carries plain attributes of a report to the controller.
        setattr(report, REPORT_MODE, servers[0].mode)
    if report.failed:
        for fake in _fakes_in_use(item):
            _tell(report, fake)
        for server in servers:
            _explain(report, server)
    return report


def _tell(report: pytest.TestReport, fake: FakeShimmy) -> None:
    from .errors import ShimmyError

    try:
        lines = fake.report()
    except ShimmyError as error:
        lines = [str(error)]
    where = "" if fake.api_key else f" ({fake.server_url})"
    report.sections.append((f"shimmy fake{where}", "\n".join(lines)))


def _explain(report: pytest.TestReport, server: ShimmyServer) -> None:
    from .errors import ShimmyError
    from .report import deaths_section, log_section

    server.keep_log()
    try:
        log, deaths = server.what_happened()
    except (ShimmyError, OSError) as error:
        report.sections.append(("shimmy server", str(error)))
        return
    if deaths:
        report.sections.append(("shimmy server", deaths_section(deaths)))
    if log:
        report.sections.append((f"shimmy server log ({server.url})", log_section(log)))


def _fakes_in_use(item: pytest.Item) -> list[FakeShimmy]:
    """The remote controls that the running test has."""
    harness = item.config.stash.get(HARNESS, None)
    return [] if harness is None else list(harness.fakes)


def _servers_in_use(item: pytest.Item) -> list[ShimmyServer]:
    """The servers that this process holds and this test uses."""
    harness = item.config.stash.get(HARNESS, None)
    if harness is None:
        return []
    servers = list(harness.private)
    if harness.current is not None and "shimmy_server" in getattr(item, "fixturenames", ()):
        servers.insert(0, harness.current)
    return servers


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    modes = [
        getattr(test, REPORT_MODE)
        for tests in terminalreporter.stats.values()
        for test in tests
        if hasattr(test, REPORT_MODE)
    ]
    farewells = config.stash.get(FAREWELLS, None)
    if modes or farewells:
        from . import report

        for line in report.summary(modes, farewells or ()):
            terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # Last: by now xdist's workers have gone, and with them their hold on the servers.
    finish(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    finish(config)
