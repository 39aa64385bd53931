"""The hooks, which delegate at once. Loaded in every run, so it loads little."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from .. import settings
from . import fixtures, texts
from .rewriting import not_rewritten
from .state import (
    ACCEL,
    HARNESS,
    REPORT,
    SETTINGS,
    Failure,
    accel_of,
    anchor_of,
    counts_of,
    end_in_test,
    finish,
    is_ours,
    report_error,
    server_summaries_of,
    settings_of,
    targets_of,
)

MARKERS = (
    "shimmy_real: needs a real shimmy, not the bundled fake",
    "shimmy_fake: needs the bundled fake",
    "shimmy_gpu(*backends): needs a server that verifiably uses one of these GPU backends "
    "(default: any)",
    "shimmy_cassette(name): the recordings of this test are in this file, which tests may share",
)
FIXTURES = ("shimmy-fixtures", "shimmy-server-fixtures")
"""The names of the plugins that have our fixtures."""
RUN_REPORT = "shimmy-run-report"
"""The name of the plugin that makes one."""
MARKER_NAMES = ("shimmy_real", "shimmy_fake", "shimmy_gpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    settings.register(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    parser: pytest.Parser, args: list[str]
) -> Generator[None, Any, Any]:
    result = yield
    # A conftest file may have added an option, so unknown ones are known only now.
    if any(map(settings.may_be_unknown, args)):
        _, unknown = parser.parse_known_and_unknown_args(args)
        for word in unknown:
            if text := settings.unknown_option(word):
                raise pytest.UsageError(text)
    return result


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    ini_base = config.inipath.parent if config.inipath is not None else config.rootpath
    try:
        config.stash[SETTINGS] = settings.load(
            config.getoption, settings.ini_of(config), os.environ, ini_base
        )
    except settings.BadSettingError as error:
        raise pytest.UsageError(str(error)) from None
    for name, plugin in zip(FIXTURES, (fixtures, fixtures.server_fixtures(config)), strict=True):
        config.pluginmanager.register(plugin, name)
    if settings_of(config).report is not None:
        _begin_report(config)
    # Help must work whatever is set.
    if not hasattr(config, "workerinput") and not config.option.help:
        if config.inipath is None:
            _look_for_split_option(config)
        _look_at_executable(config)


def _begin_report(config: pytest.Config) -> None:
    with not_rewritten():
        from .run_report import begin

    report = begin(config)
    config.stash[REPORT] = report.directory
    config.pluginmanager.register(report, RUN_REPORT)


def _look_for_split_option(config: pytest.Config) -> None:
    """pytest looks for its configuration before it knows our flags. The value of one that is an
    argument by itself counts as a path of tests then, and may lead it away from here."""
    import shlex
    from itertools import pairwise

    from ..settings_table import TABLE

    invocation = config.invocation_params
    flags = {row.flag for row in TABLE if row.kind != "switch"}
    words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *map(str, invocation.args)]
    for flag, value in pairwise(words):
        if flag not in flags:
            continue
        path = os.path.realpath(invocation.dir / value)
        if not os.path.exists(path):  # noqa: PTH110 - a value may be anything
            continue
        if not Path(path).is_relative_to(os.path.realpath(invocation.dir)):
            raise pytest.UsageError(
                f"{flag} {value}: pytest took this path for a path of tests when it looked for its "
                f"configuration file, and found none (rootdir: {config.rootpath}).\n"
                f"Write {flag}={value}"
            )


def _look_at_executable(config: pytest.Config) -> None:
    """A broken executable is found now, and not in every test."""
    chosen = settings_of(config)
    if chosen.mode != "real":
        return
    from ..errors import ShimmyError

    try:
        targets_of(config).of(chosen)
    except ShimmyError as error:
        raise pytest.UsageError(f"{chosen.sources['path']}: {error}") from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    if hasattr(config, "workerinput"):  # a worker's header is not shown
        return []
    unknown = settings.unknown_variables(os.environ)
    return [*_header(config), *(f"shimmy: {text}" for text in unknown)]


def _header(config: pytest.Config) -> list[str]:
    chosen = settings_of(config)
    if chosen.record is not None:
        chosen = chosen._replace(record=texts.near(chosen.record, config.invocation_params.dir))
    if chosen.mode == "fake":
        with not_rewritten():
            from fake_shimmy import NEWEST

        versions = list(chosen.fake_version or (NEWEST,))
        if chosen.gpu != ("auto",) or chosen.fake_build is not None:
            from ..launch.target import imitated

            versions = imitated(chosen)
        return [texts.header(chosen, "/".join(versions))]
    if chosen.mode == "replayed":
        from . import cassettes

        return [cassettes.header(config)]
    if chosen.mode == "attached":
        from ..supervisor.health import version_at

        return [texts.header(chosen, version_at(chosen.url or "")), *texts.unused(chosen)]
    executable = targets_of(config).of(chosen).executable
    lines = [texts.header(chosen, executable.version, executable.name), *texts.unused(chosen)]
    asked = {*chosen.gpu} - {"auto", "cpu"}
    if asked or "gpu" in chosen.require:
        lines += texts.machine(accel_of(config), asked)
    return lines


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: called in the controller for each worker that it starts."""
    node.workerinput["shimmy"] = anchor_of(node.config).invitation()
    if settings_of(node.config).mode == "real":
        targets_of(node.config).of(settings_of(node.config)).executable.build()
    node.workerinput["shimmy_targets"] = targets_of(node.config).to_json()
    if REPORT in node.config.stash:
        node.workerinput["shimmy_report"] = node.config.stash[REPORT]
    if ACCEL in node.config.stash:
        node.workerinput["shimmy_accel"] = accel_of(node.config).to_json()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if session.config.option.collectonly:
        return
    plugins = (session.config.pluginmanager.get_plugin(name) for name in FIXTURES)
    ours = {name for plugin in plugins for name in vars(plugin) if "shimmy" in name}
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())} & ours
    if asked:
        with not_rewritten():
            from .preparation import prepare

        prepare(session, asked)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = settings_of(metafunc.config)
    releases = chosen.fake_version if chosen.mode == "fake" else ()
    if len(releases) > 1 and "_shimmy_release" in metafunc.fixturenames:
        metafunc.parametrize("_shimmy_release", releases, ids=releases, scope="session")
    backends = chosen.gpu
    if len(backends) > 1 and "_shimmy_gpu" in metafunc.fixturenames:
        metafunc.parametrize("_shimmy_gpu", backends, ids=backends, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if any(item.get_closest_marker(name) for name in MARKER_NAMES):
        from . import markers

        markers.apply(item)
    if hasattr(getattr(item, "obj", None), "hypothesis"):
        from . import examples

        examples.prepare(item)
    if settings_of(item.config).uses_cassettes:
        from . import cassettes

        cassettes.begin_test(item)
    if HARNESS in item.config.stash:
        from . import used_servers

        used_servers.begin_test(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        if settings_of(item.config).uses_cassettes:
            from . import cassettes

            cassettes.end_test(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: Any
) -> Generator[None, Any, Any]:
    try:
        is_ours = fixturedef.func.__module__ == fixtures.__name__
        if (
            fixturedef.scope == "function"
            or is_ours
            or not settings_of(request.config).uses_cassettes
        ):
            return (yield)
        from . import cassettes

        with cassettes.of_fixture(fixturedef, request):
            return (yield)
    except BaseException as error:
        # pytest gives every later test the exception of a session fixture. A time-out or Ctrl-C
        # that struck while one of ours waited for the server says nothing about the next test.
        if fixturedef.func.__module__ == fixtures.__name__ and not isinstance(error, Failure):
            fixturedef.finish(request)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    if HARNESS in item.config.stash:
        from . import used_servers

        used_servers.judge_servers(item)
    try:
        result = yield
    except BaseException as error:
        if item.config.getoption("usepdb", False) or is_ours(error):
            end_in_test(error)
        raise
    if settings_of(item.config).uses_cassettes:
        from . import cassettes

        cassettes.judge(item)
    # Only here, so that a test that failed by itself is not failed again; its report has the same.
    if HARNESS in item.config.stash:
        from . import used_servers

        used_servers.end_test(item)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, Any]:
    report = yield
    if call.excinfo is not None:
        report_error(report, call.excinfo.value, item.config)
    if HARNESS in item.config.stash:
        from . import used_servers

        used_servers.complete(report, item)
        if settings_of(item.config).uses_cassettes:
            from . import cassettes

            cassettes.complete(report, item)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """pytest-xdist: called in the controller for each worker that has ended."""
    # A worker that was killed has none.
    output = getattr(node, "workeroutput", {})
    if (counts := output.get("shimmy_cassettes")) is not None:
        counts_of(node.config).append(counts)
    if summaries := output.get("shimmy"):
        from ..sharing.protocol import ServerSummary

        server_summaries_of(node.config).extend(ServerSummary(*each) for each in summaries)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    verbosity = config.get_verbosity()
    modes = texts.modes(terminalreporter.stats)
    if not config.getoption("no_summary", False):
        lines = texts.summary(modes, server_summaries_of(config), verbosity)
        if settings_of(config).uses_cassettes and verbosity >= -1:
            from . import cassettes

            lines = [*cassettes.summary(config), *lines]
        for line in texts.in_one_line(lines) if verbosity < 0 else lines:
            terminalreporter.write_line(line)
        has_failed = verbosity >= 0 and texts.has_failed(terminalreporter.stats)
        if has_failed and REPORT not in config.stash:
            terminalreporter.write_line(texts.REPORT_HINT)
    if settings_of(config).record is not None:
        from . import cassettes

        for line in cassettes.unwritten(config):
            terminalreporter.write_line(line, red=True)
    if reason := _unmet_requirement(config, terminalreporter.stats):
        terminalreporter.write_line(f"shimmy: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    # Last: by now xdist's workers have gone, and with them their hold on the servers.
    finish(config)
    if settings_of(config).uses_cassettes:
        from . import cassettes

        if (counts := cassettes.output_of(config)) is not None:
            if hasattr(config, "workeroutput"):
                config.workeroutput["shimmy_cassettes"] = counts
            else:
                counts_of(config).append(counts)
        if not hasattr(config, "workeroutput"):
            cassettes.tell_usage(config)
            if cassettes.unwritten(config) and not session.exitstatus:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
    report: Any = config.pluginmanager.get_plugin(RUN_REPORT)
    if report is not None:  # servers and workers have written their last
        report.finish(config, int(session.exitstatus))
    if hasattr(config, "workeroutput"):
        config.workeroutput["shimmy"] = [tuple(each) for each in server_summaries_of(config)]
        return
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or session.exitstatus:
        return
    if _unmet_requirement(config, terminal.stats):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unmet_requirement(config: pytest.Config, stats: Mapping[str, Sequence[object]]) -> str | None:
    """Why the run as a whole is not what --shimmy-require asked for."""
    if "real" not in settings_of(config).require or config.option.collectonly:
        return None
    modes = texts.modes(stats)
    if "real" in modes or "attached" in modes:
        return None
    if "replayed" in modes and settings_of(config).replay_as_real:
        return None
    return "--shimmy-require=real: FAILED, because no test ran on a real executable"


def pytest_unconfigure(config: pytest.Config) -> None:
    finish(config)
