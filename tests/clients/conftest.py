"""Servers for the client programs, and what the programs saw of them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_shimmy.executable.identify import identify
from tests.clients import environments, records
from tests.support.fake_process import TOY_MODEL, Shimmy, drained

RECORDED = "2.5.0"
"""The release that the records are of, in its CPU-only build."""

See = Callable[[str, str], records.Records]


@pytest.fixture(scope="session")
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str, str], records.Records]]:
    """The records of a client program on a server, ``fake`` or ``real``, of a release in its
    CPU-only build; each is run once."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "models").mkdir()
    (folder / "models" / f"{records.MODEL}.safetensors").write_bytes(TOY_MODEL)
    (folder / "models" / "Base-7B.gguf").write_bytes(b"GGUF")
    seen: dict[tuple[str, str, str], records.Records] = {}
    urls: dict[tuple[str, str], str] = {}

    def command(server: str) -> list[str]:
        if server == "fake":
            return [sys.executable, "-m", "fake_shimmy"]
        return [str(request.getfixturevalue("real_shimmy"))]

    def url(server: str, release: str) -> str:
        if (server, release) not in urls:
            # Sets FAKE_SHIMMY_RELEASE and FAKE_SHIMMY_BUILD.
            shimmy = Shimmy(command(server), folder, "cpu-only", release)
            running = servers.enter_context(shimmy.serve("--legacy"))
            servers.enter_context(drained(running))
            urls[server, release] = f"http://127.0.0.1:{running.port}"
        return urls[server, release]

    def records_of(program: str, server: str, release: str) -> records.Records:
        demand(records.PROGRAMS[program].environment)
        key = program, server, release
        if key not in seen:
            seen[key] = records.run(program, url(server, release), folder)
        return seen[key]

    with contextlib.ExitStack() as servers:
        yield records_of


@pytest.fixture
def see(request: pytest.FixtureRequest, watched: Callable[[str, str, str], records.Records]) -> See:
    """The records of a client program on a server of the release that the page is about."""

    def see(program: str, server: str) -> records.Records:
        if server == "real":
            version = identify(str(request.getfixturevalue("real_shimmy"))).version
            if version != RECORDED:
                pytest.skip(f"the records are those of shimmy {RECORDED}, this is {version}")
        return watched(program, server, RECORDED)

    return see


@pytest.fixture
def see_any(real_shimmy: Path, watched: Callable[[str, str, str], records.Records]) -> See:
    """The same of the release that the real one is."""
    real = identify(str(real_shimmy))
    if real.build().engine != "adapter":
        pytest.skip("the programs are for the model of a CPU-only build")
    return lambda program, server: watched(program, server, real.version)


def demand(environment: environments.Environment) -> None:
    """Skip the test where `environment` is missing; fail where it could have been made."""
    reason = environments.missing(environment)
    if reason is None:
        return
    if environment.name in os.environ.get(environments.REQUIRED, "").split(","):
        pytest.fail(f"{reason}\n(it could not be made, although nothing it needs was out of reach)")
    pytest.skip(reason)
