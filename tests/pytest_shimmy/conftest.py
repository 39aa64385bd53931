"""Fixtures for tests that run pytest itself, and for tests of a server's life."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_shimmy import (
    FakeShimmy,
    ShimmyProcessDefaults,
    ShimmyProcessManager,
    ShimmyProcessOptions,
)
from tests.support.asker import Asker, asker
from tests.support.consumer_suite import FEW_PLUGINS
from tests.support.controlled_fake import controlled_fake
from tests.support.manager_events import LONG, Recorder

PRETENDER = Path(__file__).parents[1] / "programs" / "pretender.py"


@pytest.fixture
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory for this test alone, so that what is left in it is this test's."""
    directory = tmp_path / "runtime"
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(directory))
    return directory


@pytest.fixture
def run(pytester: pytest.Pytester, runtime_dir: Path) -> Callable[..., pytest.RunResult]:
    """Run pytest on pytester's files, in a process of its own, without plugins that cost much."""
    assert not runtime_dir.exists()

    def run(*arguments: str | Path) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *FEW_PLUGINS, *arguments)

    return run


@pytest.fixture
def pretend(tmp_path: Path) -> Callable[..., ShimmyProcessOptions]:
    """Options for a stand-in that does these steps (and those of `again` when launched again)."""
    program = shlex.join([sys.executable, "-IS", str(PRETENDER)])
    path = tmp_path / "shimmy"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo shimmy 2.5.0\nexec {program} "$@"\n'
    )
    path.chmod(0o755)

    def options(
        *steps: list[object], again: list[list[object]] | None = None, **how: object
    ) -> ShimmyProcessOptions:
        env = {"PRETEND": json.dumps(steps)}
        if again is not None:
            env |= {"PRETEND_AGAIN": json.dumps(again), "PRETEND_MARK": str(tmp_path / "mark")}
        settings: dict[str, Any] = {"shimmy_path": path, "env": env, "health_timeout": LONG, **how}
        return ShimmyProcessOptions(**settings)

    return options


@pytest.fixture
def manager() -> Iterator[ShimmyProcessManager]:
    """A manager that has left nobody behind when the test is over."""
    before = set(psutil.Process().children(recursive=True))
    with ShimmyProcessManager() as manager:
        yield manager
    assert set(psutil.Process().children(recursive=True)) <= before
    assert manager.state == "idle"
    assert manager.pid is None


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What threads have raised since; without it, that would fail the test as a warning."""
    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_value))
    return raised


@pytest.fixture
def wait_until_gone() -> Callable[[int], None]:
    """Waits for the end of a process that is not our child; a zombie has ended."""

    def wait(pid: int) -> None:
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            try:
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return
            except psutil.NoSuchProcess:
                return
            threading.Event().wait(0.01)
        pytest.fail(f"process {pid} is still there")

    return wait


_shared_threads: set[threading.Thread] = set()
"""Of what lives as long as the run."""


@pytest.fixture
def wait_for_threads() -> Callable[[], None]:
    """Waits until no thread of ours is left."""

    def wait() -> None:
        deadline = time.monotonic() + LONG
        while left := [
            thread
            for thread in threading.enumerate()
            if "shimmy-" in thread.name and thread not in _shared_threads
        ]:
            assert time.monotonic() < deadline, left
            threading.Event().wait(0.01)

    return wait


@pytest.fixture
def ipv6() -> None:
    """Skips where there is no IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")


@pytest.fixture
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "restart_backoff", 0.01)


@pytest.fixture
def recorder(manager: ShimmyProcessManager) -> Recorder:
    return Recorder(manager)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def options(request: pytest.FixtureRequest, models_dir: Path) -> ShimmyProcessOptions:
    """A server with a model: the bundled fake, or the real executable where this run has one."""
    path = None if request.param == "fake" else request.getfixturevalue("real_shimmy")
    return ShimmyProcessOptions(shimmy_path=path, models_dir=models_dir)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def shimmy(request: pytest.FixtureRequest) -> Path | None:
    """A `shimmy_path`: the bundled fake's, or the real executable's where this run has one."""
    return None if request.param == "fake" else request.getfixturevalue("real_shimmy")


@pytest.fixture(scope="session")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and token of a fake with a remote control, which tests share as workers do."""
    before = set(threading.enumerate())
    with controlled_fake(tmp_path_factory.mktemp("controlled")) as controlled:
        _shared_threads.update(set(threading.enumerate()) - before)
        yield controlled


@pytest.fixture
def fake(controlled: tuple[str, str]) -> Iterator[FakeShimmy]:
    """The control of this test's requests to that fake."""
    url, token = controlled
    with FakeShimmy(url, token, key=f"test-{secrets.token_hex(4)}") as fake:
        yield fake


@pytest.fixture
def app(fake: FakeShimmy) -> Asker:
    """An application that asks that fake, with the key of `fake`."""
    return asker(fake)


@pytest.fixture
def real_arguments(real_shimmy: Path) -> list[str]:
    """The real executable with a model that it can serve here, whatever its build."""
    return [f"--shimmy-path={real_shimmy}", "--shimmy-tiny-model"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(path), "-out", str(path.with_name("cert.pem"))),
            *("-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_name("cert.pem").read_text())
    return path
