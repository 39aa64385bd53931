"""What all tests share: pytester, a clean environment, the real executable where there is one."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fake_shimmy.models import tiny_gguf

pytest_plugins = ["pytester"]
collect_ignore = ["programs"]  # tests of theirs are run by ours

TESTS = Path(__file__).parent
UNMEASURED = ("chaos", "clients", "docs", "languages", "test_examples.py")
"""Tests that run in other processes what the packages' own tests run. To measure that again would
cost each of these processes a tenth of a second."""

# A shell starts what runs in the background with an ignored SIGINT, and nohup with an ignored
# SIGHUP; what tests start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says how loaded the machine is. The rest stays as hypothesis chooses:
# the same examples at each run of a CI job.
hypothesis.settings.register_profile(
    "project",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell sets must not decide what a test sees."""
    for name in list(os.environ):
        if name.startswith(("PYTEST_SHIMMY_", "SHIMMY_", "FAKE_SHIMMY_", "OPENAI_")) and name != (
            "PYTEST_SHIMMY_RUNTIME_DIR"
        ):
            monkeypatch.delenv(name)
    # In what it takes for a CI job, pytest shortens no line of the summary.
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RUST_LOG", "RUST_BACKTRACE", "OLLAMA_MODELS", "PYTEST_ADDOPTS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    # readline, which pytest loads, sets it where `os.environ` does not see it.
    os.unsetenv("COLUMNS")
    if request.path.relative_to(TESTS).parts[0] in UNMEASURED:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _empty_home(_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real shimmy finds models below HOME; this machine's are none of the tests' business."""
    monkeypatch.setenv("HOME", str(_home))


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one model, ``tiny``, the smallest that a CPU-only shimmy serves."""
    directory = tmp_path_factory.mktemp("shimmy") / "models"
    directory.mkdir()
    header = b"{}"
    (directory / "tiny.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return directory


@pytest.fixture(scope="session")
def real_shimmy(pytestconfig: pytest.Config) -> Path:
    """The real executable that this run was given with --shimmy-path; tests that ask for it are
    marked ``shimmy_real`` and skipped by the plugin where there is none.
    """
    from pytest_shimmy.executable.identify import locate
    from pytest_shimmy.plugin.state import settings_of

    path = settings_of(pytestconfig).path
    assert path is not None, "mark the test with shimmy_real"
    return locate(path)


@pytest.fixture
def fake_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that somebody else runs: its URL and its process."""
    from pytest_shimmy.executable.identify import bundled_fake
    from pytest_shimmy.supervisor import health, ports

    with ports.lease() as lease, tempfile.TemporaryDirectory(prefix="shimmy-") as directory:
        model = Path(directory, "attached.gguf")
        model.write_bytes(tiny_gguf.contents())
        process = subprocess.Popen(
            [
                *bundled_fake().command,
                *("serve", "--bind", f"127.0.0.1:{lease.port}", "--model-path", str(model)),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            while not health.probe("127.0.0.1", lease.port, 1.0).healthy:
                assert process.poll() is None
            yield f"http://127.0.0.1:{lease.port}", process
        finally:
            process.kill()
            process.wait()
