"""The servers that the running test uses, and what its report says about them.

Loaded with the first server: a run without one pays nothing for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError
from ..masking import masked, printable
from .report_texts import (
    deaths_section,
    log_section,
    missing_model_section,
    model_section,
    unknown_model_section,
)
from .state import HARNESS, SERVERS_OF_TEST, failures_reported
from .texts import MODE_ATTRIBUTE

if TYPE_CHECKING:
    from ..fake_control.fake import FakeShimmy
    from ..server import ShimmyServer


def begin_test(item: pytest.Item) -> None:
    """Wait until the servers that the test asks for are well, and know nothing of the tests before;
    note where its logs begin."""
    item.config.stash[HARNESS].settle()
    servers = _servers(item)
    for server in servers:
        with failures_reported():
            server.begin_test()
    current = item.config.stash[HARNESS].current
    if current is not None and current not in servers:
        current.note_log()  # the test may still ask for it, by request.getfixturevalue


DIED = "shimmy server died"
"""The title of a report's section."""
LOG = "shimmy server log"
"""What the title of a section with a server's log begins with."""
LOG_OF_PASSED = 4 * 1024
"""Bytes of a server's log that a report of the run has of a test that did not fail."""
PRETENDED = "[the fake uses no GPU; it names the backend that a real shimmy would]\n"

JUDGED: pytest.StashKey[set[str]] = pytest.StashKey()
"""The addresses of the servers that a marked test may use."""


def judge_servers(item: pytest.Item) -> None:
    """Skip or fail a test that is marked for a GPU, for what its servers verifiably use."""
    if item.get_closest_marker("shimmy_gpu") is None:
        return
    from .markers import judge_server

    judged = item.stash.setdefault(JUDGED, set())
    for server in _servers(item):
        if server.url not in judged:
            judge_server(item, server)
            judged.add(server.url)


def end_test(item: pytest.Item) -> None:
    """Fail the test, which passed, for what it was strict about; judge what it asked for late."""
    judge_servers(item)
    for fake in _fakes(item):
        with failures_reported():
            leftovers = fake.leftovers()
        if leftovers:
            pytest.fail("\n".join(leftovers), pytrace=False)


def complete(report: pytest.TestReport, item: pytest.Item) -> None:
    """Say in a report which kind of server the test used, and what happened to it."""
    servers = _servers(item)
    used = item.stash.setdefault(SERVERS_OF_TEST, [])
    used += [server.url for server in servers if server.url not in used]
    if report.when == "call" and servers:
        # xdist carries plain attributes of a report to the controller.
        setattr(report, MODE_ATTRIBUTE, servers[0].mode)
    if report.failed:
        about = [section for server in servers for section in _explained(server)]
        has_died = any(title == DIED for title, _ in about)
        told = [
            section
            for fake in _fakes(item)
            for section in _told(fake, has_died, report.longreprtext)
        ]
        if any(server.mode == "fake" for server in servers):
            said = [report.longreprtext, report.capstdout, report.capstderr, report.caplog]
            said += [text for _, text in told]
            if hint := unknown_model_section("\n".join(said), has_rules=bool(told)):
                told.insert(0, ("shimmy model", hint))
        encoding = _encoding(item.config)
        report.sections += [(title, _for(encoding, text)) for title, text in [*told, *about]]


def _encoding(config: pytest.Config) -> str:
    """That of the terminal; a worker of xdist has its controller's environment."""
    file: Any = sys.__stdout__
    if not hasattr(config, "workerinput"):
        file = config.get_terminal_writer()._file
    return getattr(file, "encoding", None) or "utf-8"


def _for(encoding: str, text: str) -> str:
    """`text` in the letters of `encoding`. Else pytest escapes all of it, line ends too."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _told(fake: FakeShimmy, has_died: bool, said: str) -> Iterator[tuple[str, str]]:
    """What the fake reports, without what the failure `said`, as that of an assertion does."""
    try:
        lines = [line for line in fake.report() if line.strip() not in said]
    except ShimmyError as error:
        if has_died:  # so it cannot be asked, which is no news
            return
        lines = [str(error)]
    if not lines:
        return
    where = "" if fake.api_key else f" ({fake.server_url})"
    yield f"shimmy fake{where}", printable(masked("\n".join(lines)))


def _explained(server: ShimmyServer) -> Iterator[tuple[str, str]]:
    server.keep_log()
    try:
        if missing := server.missing_model():
            yield "shimmy server", missing_model_section(missing)
        log, left_out, deaths = server.what_happened(ShimmyProcessDefaults.log_section)
    except ShimmyError as error:
        yield "shimmy server", str(error)
        return
    if deaths:
        yield DIED, deaths_section(deaths)
    if about_model := model_section(log):
        yield "shimmy server", about_model
    yield from _log(server, log, left_out)


def logs_of(item: pytest.Item) -> list[tuple[str, str]]:
    """The sections with what the test's servers have written during it, and nothing else."""
    found: list[tuple[str, str]] = []
    for server in _servers(item):
        with contextlib.suppress(ShimmyError):  # the keeper is gone, which is told elsewhere
            found += _log(server, *server.log_so_far(LOG_OF_PASSED))
    return found


def backends_of(item: pytest.Item) -> dict[str, str]:
    """The backend of each of the test's servers that was asked for it, by its address."""
    return {server.url: name for server in _servers(item) if (name := server.backend)}


def _log(server: ShimmyServer, log: str, left_out: int) -> Iterator[tuple[str, str]]:
    if log and server.mode != "replayed":  # the log of who was recorded is none of a replay's
        pretends = PRETENDED if server.mode == "fake" and "Backend: " in log else ""
        yield f"{LOG} ({server.url})", pretends + log_section(log, left_out)


def _fakes(item: pytest.Item) -> list[FakeShimmy]:
    """The remote controls that the running test has."""
    return list(item.config.stash[HARNESS].fakes)


def _servers(item: pytest.Item) -> list[ShimmyServer]:
    """The servers that this process holds and this test uses, as far as it has said."""
    harness = item.config.stash[HARNESS]
    servers = list(harness.private)
    if harness.current is not None and _asks_for(item, "shimmy_server"):
        servers.insert(0, harness.current)
    return servers


def _asks_for(item: Any, fixture: str) -> bool:
    if fixture in getattr(item, "fixturenames", ()):
        return True
    # What it got by request.getfixturevalue. pytest has no public way to ask for that.
    return fixture in getattr(getattr(item, "_request", None), "_fixture_defs", ())
