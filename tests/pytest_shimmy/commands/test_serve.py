"""``pytest-shimmy serve``, as a process: a server until a signal comes, and nothing after it."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import LONG, ended, fake_script, run, started
from tests.support.unnoticed_signal import UnnoticedSignal

pytestmark = pytest.mark.slow

SLOW = {"start_delay": 1.5}
READY = r"ready: the bundled fake of shimmy \S+, model placeholder; Ctrl-C stops it\n"


def url_of(process: subprocess.Popen[str]) -> str:
    """What it says that clients are to use; read from its stdout."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("export OPENAI_BASE_URL=http://"), line
    assert process.stdout.readline() == "export OPENAI_API_KEY=shimmy\n"
    return line.strip().partition("=")[2]


def models(url: str) -> int:
    with urllib.request.urlopen(f"{url}/models", timeout=LONG) as answer:
        status: int = answer.status
        return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_says_where_it_is_and_a_signal_stops_it(number: signal.Signals, tmp_path: Path) -> None:
    with started(tmp_path, "serve") as process:
        url = url_of(process)
        assert models(url) == 200
        process.send_signal(number)
        done = ended(process)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert re.fullmatch(READY, done.stderr)
    with pytest.raises(urllib.error.URLError, match="refused"):
        models(url)


def test_a_signal_that_comes_just_before_it_sleeps_stops_it(tmp_path: Path) -> None:
    sigterm = UnnoticedSignal(tmp_path)
    with started(tmp_path, "serve", env=sigterm.environ) as process:
        url_of(process)
        sigterm.send()
        assert ended(process).returncode == 128 + signal.SIGTERM


def test_a_second_ctrl_c_does_not_interrupt_the_first(tmp_path: Path) -> None:
    with started(tmp_path, "serve", fake_script(tmp_path, life={"deaf": True})) as process:
        url_of(process)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)  # it waits for a server that does not listen
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "serve") as process:
        url_of(process)
        process.kill()
        process.wait(LONG)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.shimmy_real
def test_serves_a_real_one(tmp_path: Path, real_arguments: list[str]) -> None:
    with started(tmp_path, "serve", *real_arguments) as process:
        assert models(url_of(process)) == 200
        process.terminate()
        done = ended(process)
    assert done.returncode == 143
    assert re.match(r"ready: shimmy \d\S+, model tiny; ", done.stderr)


def test_tells_of_a_restart_what_the_server_died_of_and_gives_up_at_the_limit(
    tmp_path: Path,
) -> None:
    dying = fake_script(tmp_path, life={"exit": {"after_seconds": 0.2, "status": 7}})
    done = run(tmp_path, "serve", dying, "--shimmy-max-restarts=1")
    assert done.returncode == 1
    restart = r"restarting: the server \(pid \d+\) died: \S.*7.* \(restart 1 of 1\)\n"
    assert re.search(restart, done.stderr), done.stderr
    assert "pytest-shimmy: [RESTARTS_EXHAUSTED] the server died" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [[], ["-v"]], ids=["quiet", "verbose"])
def test_shows_the_output_of_the_server_when_asked_to(flags: list[str], tmp_path: Path) -> None:
    with started(tmp_path, "serve", *flags) as process:
        url_of(process)
        process.terminate()
        _, stderr = process.communicate(timeout=LONG)
    assert ("/health" in stderr) == bool(flags), stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shimmy-models-dir=.", "--shimmy-model=other"], "[MODEL_NOT_FOUND] the server has no"),
        (["--shimmy-path=/no/such/shimmy"], "[BINARY_NOT_FOUND] no shimmy executable"),
    ],
)
def test_what_cannot_be_served_is_one_paragraph(
    arguments: list[str], words: str, tmp_path: Path, models_dir: Path
) -> None:
    done = run(tmp_path, "serve", *arguments, cwd=models_dir)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pytest-shimmy: {words}")
    assert "Traceback" not in done.stderr


def test_settings_come_from_the_environment_and_one_of_a_running_server_is_refused(
    tmp_path: Path,
) -> None:
    done = run(tmp_path, "serve", env={"PYTEST_SHIMMY_URL": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert "environment variable PYTEST_SHIMMY_URL names a server: drop it" in done.stderr


def test_settings_that_are_about_tests_are_no_flags(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--shimmy-scope=worker")
    assert done.returncode == 2
    assert "unrecognized arguments: --shimmy-scope" in done.stderr


def test_a_slow_start_is_told_in_plain_lines_where_no_terminal_is(tmp_path: Path) -> None:
    with started(tmp_path, "serve", fake_script(tmp_path, life=SLOW)) as process:
        url_of(process)
        process.terminate()
        _, stderr = process.communicate(timeout=LONG)
    assert re.fullmatch(rf"(starting the server \.\.\. \d+ s\n)+{READY}", stderr)


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def test_a_terminal_sees_seconds_pass_and_colours_where_it_wants_them(
    env: dict[str, Any], tmp_path: Path
) -> None:
    env = {"TERM": "xterm", **env}
    slow = fake_script(tmp_path, life=SLOW)
    with (
        pseudo_terminal() as (screen, terminal),
        started(tmp_path, "serve", slow, stderr=terminal, env=env) as process,
    ):
        url_of(process)
        process.terminate()
        process.wait(LONG)
        os.close(terminal)
        shown = read_all(screen)
    assert "\r\x1b[Kstarting the server ... 1 s" in shown
    assert ("\r\x1b[Kready:" in shown) == ("NO_COLOR" in env)
    assert ("\r\x1b[K\x1b[1;32mready:\x1b[0m" in shown) == ("NO_COLOR" not in env)


@contextlib.contextmanager
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    screen, terminal = pty.openpty()
    try:
        yield screen, terminal
    finally:
        for end in (screen, terminal):
            with contextlib.suppress(OSError):
                os.close(end)


def read_all(screen: int) -> str:
    shown = b""
    while True:
        try:
            data = os.read(screen, 65536)
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017  how a pseudo-terminal ends on Linux
            data = b""
        if not data:
            return shown.decode()
        shown += data
