"""Servers for the client programs, and what the programs saw of them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.clients import environments, records
from tests.support.fake_process import TOY_MODEL, Shimmy, drained

RECORDED = "2.5.0"
"""The release that the records are of, in its CPU-only build."""

See = Callable[[str, str], records.Records]


@pytest.fixture(scope="session")
def see(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[See]:
    """The records of a client program on a server, ``fake`` or ``real``; each is run once."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "models").mkdir()
    (folder / "models" / f"{records.MODEL}.safetensors").write_bytes(TOY_MODEL)
    (folder / "models" / "Base-7B.gguf").write_bytes(b"GGUF")
    seen: dict[tuple[str, str], records.Records] = {}
    urls: dict[str, str] = {}

    def command(server: str) -> list[str]:
        if server == "fake":
            return [sys.executable, "-m", "fake_shimmy"]
        return [str(request.getfixturevalue("real_shimmy"))]

    def url(server: str) -> str:
        if server not in urls:
            # Sets FAKE_SHIMMY_RELEASE and FAKE_SHIMMY_BUILD: the fake is always what was recorded.
            shimmy = Shimmy(command(server), folder, "cpu-only", RECORDED)
            version = shimmy.run("--version")[1].strip()
            if version != f"shimmy {RECORDED}":
                pytest.skip(f"the records are those of shimmy {RECORDED}, this is {version!r}")
            running = servers.enter_context(shimmy.serve("--legacy"))
            servers.enter_context(drained(running))
            urls[server] = f"http://127.0.0.1:{running.port}"
        return urls[server]

    def see(program: str, server: str) -> records.Records:
        demand(records.PROGRAMS[program].environment)
        if (program, server) not in seen:
            seen[program, server] = records.run(program, url(server), folder)
        return seen[program, server]

    with contextlib.ExitStack() as servers:
        yield see


def demand(environment: environments.Environment) -> None:
    """Skip the test where `environment` is missing; fail where it could have been made."""
    reason = environments.missing(environment)
    if reason is None:
        return
    if environment.name in os.environ.get(environments.REQUIRED, "").split(","):
        pytest.fail(f"{reason}\n(it could not be made, although nothing it needs was out of reach)")
    pytest.skip(reason)
