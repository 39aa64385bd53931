"""Runs of pytest in processes of their own, and everything that belongs to them.

A `Session` has a directory, and below it a runtime directory that only its run uses. All its
processes, however they were detached, inherit the variable that names it: by that they are found,
and never by their names alone. POSIX only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import pytest

from pytest_shimmy import runtime_dir
from tests.support.plugins import notes

PROMISED = 2.0
"""Seconds within which nothing is left of a run that has ended (guarantee G3)."""

LONG = 60.0

JANITOR = "pytest-shimmy-janitor"
OURS = ("pytest_shimmy.sharing.keeper", JANITOR, "fake_shimmy.__main__")
"""Keepers, janitors and servers, by what is in their command lines."""

XDIST = "xdist"

ONLY_THESE_PLUGINS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"

T = TypeVar("T")


class Note(NamedTuple):
    """What a test of the run has left, see `notes`."""

    step: str
    process: int
    test: str = ""
    server: int | None = None
    url: str = ""
    log: str = ""


def wait_for(condition: Callable[[], T], explain: Callable[[], object], timeout: float = LONG) -> T:
    """What `condition` returns once it is true; it is looked at until `timeout` seconds pass."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {explain()}")
        time.sleep(0.01)
    return value


def environment(directory: Path, runtime: Path) -> dict[str, str]:
    """The variables of a run, without those that our own pytest has set."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    python_path = [str(Path(notes.__file__).parent), own.get("PYTHONPATH", "")]
    return {
        **own,
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
        ONLY_THESE_PLUGINS: "1",
        notes.DIRECTORY: str(directory),
        runtime_dir.VARIABLE: str(runtime),
    }


class Session:
    """A pytest run of `files` (name and text), or of the one file whose text is given.

    It has the session's directory as its working directory, `arguments` after our own, and `env`
    on top of ours. Of the installed pytest plugins it loads ours and `plugins`, modules; None: all
    of them, which takes seconds. `script` is what its fake reads, see `tell`. With `terminal`, it
    has a terminal of its own, which `hang_up` closes. `runtime` is another session's, to run after
    it or beside it. `within` is a command that executes the one behind it, somewhere special.
    """

    def __init__(
        self,
        directory: Path,
        files: Mapping[str, str] | str,
        *arguments: str,
        plugins: Sequence[str] | None = (XDIST,),
        env: dict[str, str] | None = None,
        runtime: Path | None = None,
        script: Mapping[str, Any] | None = None,
        terminal: bool = False,
        within: Sequence[str] = (),
    ) -> None:
        directory.mkdir()
        self.directory = directory
        self.runtime = directory / "runtime" if runtime is None else runtime
        self._temporary = directory / "tmp"
        self._temporary.mkdir()
        (directory / "pytest.ini").write_text("[pytest]\n")
        for name, text in ({"test_it.py": files} if isinstance(files, str) else files).items():
            (directory / name).write_text(text)
        if script is not None:
            self.tell(script)
            arguments = (*arguments, f"--shimmy-fake-script={self.script}")
        variables = environment(directory, self.runtime) | {"TMPDIR": str(self._temporary)}
        if plugins is None:
            del variables[ONLY_THESE_PLUGINS]
        else:
            for plugin in ("pytest_shimmy.plugin", *plugins):
                arguments = ("-p", plugin, *arguments)
        self._terminal = pty.openpty() if terminal else None
        with open(directory / "output", "wb") as output:
            self.pytest = subprocess.Popen(
                [*within, sys.executable, "-m", "pytest", "-p", "notes", "-v", *arguments],
                cwd=directory,
                env=variables | (env or {}),
                stdin=self._terminal[1] if self._terminal else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_as_from_a_terminal if terminal else _as_from_a_shell,
            )

    # What it does

    @property
    def script(self) -> Path:
        """What its fake reads when it starts."""
        return self.directory / "script.json"

    def tell(self, script: Mapping[str, Any]) -> None:
        draft = self.script.with_suffix(".draft")
        draft.write_text(json.dumps(script))
        draft.replace(self.script)

    def go_on(self) -> None:
        """Tests that hang may go on."""
        (self.directory / "go-on").touch()

    def notes(self, step: str | None = "test") -> list[Note]:
        """Those that its tests have left so far, in order; None: whatever their step."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.directory / "notes").read_text().splitlines()
            notes = [Note(**json.loads(line)) for line in lines]
            return [note for note in notes if step in (None, note.step)]
        return []

    def wait_for_notes(self, count: int, step: str = "test") -> list[Note]:
        def enough() -> bool:
            return len(self.notes(step)) >= count or self.pytest.poll() is not None

        wait_for(enough, lambda: self.output)
        notes = self.notes(step)
        assert len(notes) >= count, self.output
        return notes

    def wait(self, timeout: float = LONG) -> int:
        """Until pytest has ended; returns its exit code."""
        wait_for(lambda: self.pytest.poll() is not None, lambda: self.output, timeout)
        return self.pytest.returncode

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text(errors="replace")

    def outcomes(self) -> dict[str, int]:
        """The summary's figures."""
        with contextlib.suppress(ValueError):  # there is none
            return pytest.RunResult.parse_summary_nouns(self.output.splitlines())
        return {}

    def assert_outcomes(self, **outcomes: int) -> None:
        """It ends, and its summary says just this."""
        self.wait()
        seen = {k: v for k, v in self.outcomes().items() if k not in ("warnings", "warning")}
        assert seen == outcomes, self.output

    def the_server(self) -> int:
        """The process of the one server that all its tests had."""
        servers = {note.server for note in self.notes()}
        assert len(servers) == 1, (servers, self.output)
        (server,) = servers
        assert server is not None
        return server

    def hang_up(self) -> None:
        """Close its terminal."""
        assert self._terminal is not None
        os.close(self._terminal[0])
        os.close(self._terminal[1])
        self._terminal = None

    # What belongs to it

    def processes(self) -> list[psutil.Process]:
        """All that this run has started and that are still there."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(runtime_dir.VARIABLE) == str(self.runtime) and (
                    process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def ours(self, *names: str) -> list[psutil.Process]:
        """Those with one of these `names` in their command line; by default, all but pytest."""
        return [p for p in self.processes() if any(n in cmdline(p) for n in names or OURS)]

    def keepers(self) -> list[psutil.Process]:
        return self.ours("pytest_shimmy.sharing.keeper")

    def janitors(self) -> list[psutil.Process]:
        return self.ours(JANITOR)

    def servers(self) -> list[psutil.Process]:
        return self.ours("fake_shimmy.__main__")

    def workers(self) -> list[psutil.Process]:
        """xdist's."""
        return [p for p in self.processes() if "execnet" in cmdline(p)]

    def files(self) -> list[Path]:
        """What is left, but for the lock files and logs that stay by design."""
        left = [p for p in self._temporary.iterdir() if "shimmy" in p.name]
        kept = ("ports", "locks", "logs")
        return left + [path for path in self._runtime_files() if path.parent.name not in kept]

    def held_locks(self) -> list[Path]:
        return [path for path in self._runtime_files() if path.suffix == ".lock" and _is_held(path)]

    def _runtime_files(self) -> Iterator[Path]:
        # `rglob` fails for a folder that goes meanwhile.
        for folder, _, names in os.walk(self.runtime):
            yield from (path for name in names if (path := Path(folder, name)).is_file())

    def left(self) -> list[object]:
        """What a run that has ended must not leave."""
        return [*self.ours(), *self.files(), *self.held_locks()]

    def assert_nothing_left(self) -> float:
        """Within the time that is promised; returns how long it took.

        A pytest that was not killed must have ended by then, and its workers soon after.
        """
        begun = time.monotonic()
        wait_for(lambda: not self.left(), lambda: f"left: {self.left()}\n{self.output}", PROMISED)
        seconds = time.monotonic() - begun
        self.go_on()
        wait_for(lambda: not self.processes(), lambda: f"left: {self.processes()}")
        assert not self.left()
        return seconds

    def clean_up(self) -> None:
        """Whatever happened."""
        self.go_on()
        # What is just being spawned is found the next time.
        while processes := self.processes():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(processes, 1)
        self.pytest.wait()
        if self._terminal is not None:
            self.hang_up()
        shutil.rmtree(self.runtime, ignore_errors=True)


def kill(processes: Iterable[psutil.Process], number: signal.Signals = signal.SIGKILL) -> None:
    """Send this to all of them, as much at once as can be."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def cmdline(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _is_held(lock_file: Path) -> bool:
    try:
        # Not through filelock: that would make the file anew if it has just been removed.
        descriptor = os.open(lock_file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _as_from_a_shell() -> None:
    # What nohup or a shell's background job ignores, its children would ignore too.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _as_from_a_terminal() -> None:
    _as_from_a_shell()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
