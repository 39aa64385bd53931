"""The examples for hosts do what they say when they are run as a user runs them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fake_shimmy.models import tiny_gguf
from pytest_shimmy import ModelRegistry
from tests.programs.fileserver import FileServer

pytestmark = pytest.mark.slow

HOSTS = Path(__file__).parents[1] / "examples" / "hosts"
LONG = 60.0

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals")


class Program:
    """An example that runs. It is killed when it takes too long, so reading has an end."""

    def __init__(self, name: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", HOSTS / name, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        self._limit = threading.Timer(LONG, self._process.kill)
        self._limit.start()

    def type(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def line(self) -> str:
        """The next line that it writes."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.endswith("\n"), self.end()
        return line.rstrip("\n")

    def server(self) -> psutil.Process:
        """The one process that it has started."""
        (child,) = psutil.Process(self._process.pid).children()
        return child

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Nothing more is typed: exit code, and what it has written since, to stdout and stderr."""
        out, err = self._process.communicate()
        self._limit.cancel()
        return self._process.returncode, out, err

    def close(self) -> None:
        self._process.kill()
        self.end()


Start = Callable[..., Program]


@pytest.fixture(autouse=True)
def _own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts examples; they and their servers are gone when the test is over."""
    with contextlib.ExitStack() as running:
        before = set(psutil.Process().children(recursive=True))

        def start(name: str, *arguments: object) -> Program:
            program = Program(name, *arguments)
            running.callback(program.close)
            return program

        yield start
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A directory with a model, ``tiny``, with which the fake answers."""
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "tiny.gguf").write_bytes(tiny_gguf.contents())
    return directory


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def arguments(request: pytest.FixtureRequest, models: Path, models_dir: Path) -> list[object]:
    """A directory with the model ``tiny``, and an executable that answers with it."""
    if request.param == "fake":
        return ["--models", models]
    shimmy = request.getfixturevalue("real_shimmy")
    if ModelRegistry(shimmy, models_dir).probe("tiny", LONG).exit.code != 0:
        pytest.skip("this build loads no SafeTensors")
    return ["--models", models_dir, "--shimmy", shimmy]


def test_a_switch_shows_the_state_as_it_changes(start: Start, arguments: list[object]) -> None:
    switch = start("toggle.py", *arguments)
    for _ in range(2):
        switch.type()
        assert switch.line().startswith("starting: process ")
        assert switch.line().startswith("ready: shimmy ")
        server = switch.server()
        switch.type()
        assert switch.line() == "stopped"
        assert not server.is_running()
    assert switch.end() == (0, "", "")


def test_a_switch_shows_a_restart_and_leaves_no_server_behind(
    start: Start, arguments: list[object]
) -> None:
    switch = start("toggle.py", *arguments)
    switch.type()
    assert [switch.line().partition(":")[0] for _ in range(2)] == ["starting", "ready"]
    switch.server().kill()
    lines = [switch.line().partition(":")[0] for _ in range(3)]
    assert lines == ["restarting", "starting", "ready"]
    server = switch.server()
    assert switch.end() == (0, "stopped\n", "")
    assert not server.is_running()


def test_a_switch_shows_why_there_is_no_server(start: Start, tmp_path: Path) -> None:
    switch = start("toggle.py", "--models", tmp_path)
    switch.type()
    assert switch.line().startswith("starting")
    assert switch.line().startswith("failed: [NO_MODELS]")
    switch.type()
    assert "starting" in switch.end()[1]


def test_a_dashboard_has_a_row_for_each_model(start: Start, models: Path) -> None:
    (models / "tiny.gguf").unlink()
    (models / "Mistral-7B.Q4_0.gguf").write_bytes(bytes(1_500_000))
    (models / "a.gguf").touch()
    code, out, err = start("dashboard.py", "--models", models).end()
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["*", "a", "0.0", "MB", str(models / "a.gguf")],
        ["mistral-7b.q4-0", "1.5", "MB", "7B", "Q4_0", str(models / "Mistral-7B.Q4_0.gguf")],
        ["*", "its", "name", "sorts", "first"],
    ]


def test_a_dashboard_without_models_says_so(start: Start, tmp_path: Path) -> None:
    assert start("dashboard.py", "--models", tmp_path).end() == (0, "There is no model.\n", "")


def test_a_dashboard_says_what_is_wrong(start: Start, tmp_path: Path) -> None:
    code, out, err = start("dashboard.py", "--shimmy", tmp_path / "gone").end()
    assert (code, out) == (1, "")
    assert err.startswith("[BINARY_NOT_FOUND]")


def test_a_missing_model_is_downloaded_and_served(start: Start, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with FileServer(b"GGUF") as files:
        call = ["tiny", f"{files.base}/tiny.gguf", "--sha256", files.sha256]
        for times in (1, 2):
            ensured = start("ensure_model.py", *call, "--models", models)
            lines = [ensured.line()]
            while not lines[-1].startswith("tiny is served at http://127.0.0.1:"):
                lines.append(ensured.line())
            assert lines.count("ready") == 1
            code, out, err = ensured.end()
            assert (code, out) == (0, "")
            assert ("100 %" in err) == (times == 1)
        assert len(files.requests) == 1
    assert (models / "tiny.gguf").read_bytes() == b"GGUF"


def test_a_running_server_gets_the_missing_model(start: Start, models: Path) -> None:
    with FileServer(b"GGUF") as files:
        url = f"{files.base}/late.gguf"
        ensured = start("ensure_model.py", "late", url, "--models", models)
        lines = [ensured.line() for _ in range(6)]
    assert lines[:5] == ["starting", "ready", "restarting", "starting", "ready"]
    assert lines[5].startswith("late is served at")
    assert ensured.end()[0] == 0


def test_a_download_that_fails_is_said(start: Start, models: Path) -> None:
    with FileServer(b"x") as files:
        url = f"{files.base}/other.gguf"
        code, _, err = start(
            "ensure_model.py", "other", url, "--sha256", "0" * 64, "--models", models
        ).end()
    assert code == 1
    assert "[DOWNLOAD_FAILED] other.gguf could not be fetched" in err
    assert [path.name for path in models.iterdir()] == ["tiny.gguf"]


def test_an_agent_answers_one_prompt(start: Start, arguments: list[object]) -> None:
    code, out, err = start("agent.py", "Capital of France?", *arguments).end()
    assert (code, err) == (0, "")
    assert len(out) > 2
    if "--shimmy" not in arguments:
        assert "Capital of France?" in out


def test_an_agent_says_what_is_wrong(start: Start, models: Path) -> None:
    code, _, err = start("agent.py", "x", "--models", models, "--model", "nope").end()
    assert code == 1
    assert "Model 'nope' not found" in err
    (models / "tiny.gguf").unlink()
    code, out, err = start("agent.py", "x", "--models", models).end()
    assert (code, out, err) == (1, "", f"There is no model in {models}.\n")


def test_a_host_with_a_prompt_reads_its_commands_from_a_pipe(
    start: Start, arguments: list[object]
) -> None:
    host = start("tui.py", *arguments)
    host.type("Hello")
    assert host.line() == "It is off. Say: on"
    host.type("on")
    assert host.line() == "· starting"
    assert host.line().startswith("· ready at http://127.0.0.1:")
    host.type("models")
    assert host.line().startswith("* tiny  /")
    host.type("use nope")
    assert host.line() == "There is no model 'nope'. Say: models"
    host.type("use tiny")
    host.type("Capital of France?")
    answer = host.line()
    assert answer
    if "--shimmy" not in arguments:
        assert "Capital of France?" in answer
    server = host.server()
    server.kill()
    assert [host.line()[:7] for _ in range(3)] == ["· resta", "· start", "· ready"]
    host.type("Again")
    assert host.line()
    host.type("off")
    assert host.line() == "· stopped"
    host.type("quit")
    assert host.end() == (0, "", "")


def test_a_host_says_everything_that_was_piped_at_once(start: Start, models: Path) -> None:
    host = start("tui.py", "--models", models)
    for line in ("help", "on", "Hello", "off"):
        host.type(line)
    code, out, err = host.end()
    assert (code, err) == (0, "")
    *_, started, ready, answer, stopped = out.splitlines()
    assert (started, ready[:10], stopped) == ("· starting", "· ready at", "· stopped")
    assert "Hello" in answer


def test_a_host_says_why_there_is_no_answer(start: Start, tmp_path: Path) -> None:
    host = start("tui.py", "--models", tmp_path)
    host.type("on")
    assert host.line() == "· starting"
    assert host.line().startswith("· failed: [NO_MODELS]")
    host.type("Hello")
    code, out, _ = host.end()
    assert code == 0
    assert "[NO_MODELS]" in out


@posix
def test_on_a_terminal_events_appear_above_the_prompt(models: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    host = subprocess.Popen(
        [sys.executable, HOSTS / "tui.py", "--models", models],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "dumb"},
    )
    limit = threading.Timer(LONG, host.kill)
    limit.start()
    os.close(terminal)
    shown = b""

    def see(text: str) -> None:
        nonlocal shown
        while text.encode() not in shown:
            shown += os.read(controller, 4096)
        shown = shown.partition(text.encode())[2]

    try:
        see("> ")
        os.write(controller, b"on\n")
        see("\r\x1b[K· ready at http://127.0.0.1:")
        see("\r\n> ")
        os.write(controller, b"Hello\n")
        see("to: Hello\r\n")
        see("> ")
        os.write(controller, b"\x04")  # end of input
        see("· stopped")
        with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
            while os.read(controller, 4096):
                pass
        assert host.wait() == 0
    finally:
        limit.cancel()
        host.kill()
        host.wait()
        os.close(controller)
