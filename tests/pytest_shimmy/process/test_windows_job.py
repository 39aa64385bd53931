"""Job objects, with a kernel32 that is played here; and a `Process` that believes it is on Windows.

What the real one does is not seen here: these tests show which functions are called, with what,
and that whatever they refuse does no harm.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_shimmy.process import process, windows_job
from pytest_shimmy.process.process import Process
from pytest_shimmy.process.windows_job import SIGNATURES, ExtendedLimits, Job, load_kernel32

PRETENDER = Path(__file__).parents[2] / "programs" / "pretender.py"
LONG = 60.0


class Kernel32:
    """Jobs and open handles, as far as `Job` can tell. `refuses` are functions that fail."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = set(refuses)
        self.calls: list[str] = []
        self.open: dict[int, int | None] = {}
        """Handle: the process that it stands for, or None for a job."""
        self.members: list[int] = []
        self.limits: ExtendedLimits | None = None
        self._next = 0x1_0000_0000  # does not fit in 32 bits

    def __getattribute__(self, name: str) -> Any:
        if name not in SIGNATURES:
            return super().__getattribute__(name)
        self.calls.append(name)
        return (lambda *_: 0) if name in self.refuses else super().__getattribute__(name)

    def _handle(self, stands_for: int | None) -> int:
        self._next += 4
        self.open[self._next] = stands_for
        return self._next

    def CreateJobObjectW(self, attributes: None, name: None) -> int:  # noqa: N802
        assert attributes is None  # else children could inherit the handle, and keep the job
        assert name is None
        return self._handle(None)

    def SetInformationJobObject(self, job: int, what: int, data: Any, size: int) -> int:  # noqa: N802
        assert self.open[job] is None
        assert what == 9
        assert size == ctypes.sizeof(ExtendedLimits)
        self.limits = data._obj
        return 1

    def OpenProcess(self, _rights: int, inherit: bool, pid: int) -> int:  # noqa: N802
        assert not inherit
        return self._handle(pid)

    def AssignProcessToJobObject(self, job: int, handle: int) -> int:  # noqa: N802
        assert self.open[job] is None
        assert self.limits is not None  # first the limits: from now on, we may die at any moment
        pid = self.open[handle]
        assert pid is not None
        self.members.append(pid)
        return 1

    def IsProcessInJob(self, handle: int, job: int, answer: Any) -> int:  # noqa: N802
        assert self.open[job] is None
        answer._obj.value = self.open[handle] in self.members
        return 1

    def TerminateJobObject(self, job: int, exit_code: int) -> int:  # noqa: N802
        assert self.open[job] is None
        assert exit_code == 1
        self._end_members()
        return 1

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        if self.open.pop(handle) is None:
            self._end_members()
        return 1

    def _end_members(self) -> None:
        for pid in self.members:
            with contextlib.suppress(ProcessLookupError):  # it has ended before
                os.kill(pid, signal.SIGKILL)
        self.members.clear()


REFUSALS = [
    *("CreateJobObjectW", "SetInformationJobObject", "OpenProcess", "AssignProcessToJobObject"),
]


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="the figures are for 64 bits")
def test_the_structure_is_laid_out_as_the_system_has_it() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144
    assert ExtendedLimits.LimitFlags.offset == 16
    assert ExtendedLimits.IoInfo.offset == 64
    assert ExtendedLimits.ProcessMemoryLimit.offset == 112


def test_a_process_is_put_into_a_job_that_ends_with_its_last_handle() -> None:
    kernel32 = Kernel32()
    job = Job(4711, kernel32)
    assert kernel32.members == [4711]
    assert kernel32.limits is not None
    assert kernel32.limits.LimitFlags == 0x2000
    assert list(kernel32.open.values()) == [None]  # of the process, no handle is kept
    kernel32.members = []
    job.close()
    assert not kernel32.open


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_refusal_is_an_error_that_leaves_no_handle(refused: str) -> None:
    kernel32 = Kernel32(refused)
    with pytest.raises(OSError, match=r"job object|opened"):
        Job(4711, kernel32)
    assert not kernel32.open
    assert not kernel32.members


def test_members_are_told_from_strangers() -> None:
    kernel32 = Kernel32()
    job = Job(4711, kernel32)
    assert job.has(4711)
    assert not job.has(4712)
    assert list(kernel32.open.values()) == [None]
    kernel32.refuses = {"IsProcessInJob"}
    assert not job.has(4711)
    kernel32.refuses = {"OpenProcess"}
    assert not job.has(4711)


def test_each_function_that_is_called_has_a_signature() -> None:
    """By construction of `Kernel32`, which counts those only: here they are all called."""
    kernel32 = Kernel32()
    job = Job(4711, kernel32)
    job.has(4711)
    kernel32.members = []
    job.kill()
    job.close()
    assert set(kernel32.calls) == set(SIGNATURES)


@pytest.mark.skipif(sys.platform == "win32", reason="there, there is one")
def test_elsewhere_there_is_no_such_library() -> None:
    with pytest.raises(OSError, match="Windows"):
        load_kernel32()


# A `Process` on a pretended Windows: no process groups, blocking pipes, and this kernel32.


@pytest.fixture
def kernel32(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    if sys.platform == "win32":
        pytest.skip("it is pretended with POSIX means")
    kernel32 = Kernel32()
    monkeypatch.setattr(process, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(process, "Job", Job, raising=False)
    monkeypatch.setattr(windows_job, "load_kernel32", lambda: kernel32)
    return kernel32


Run = Callable[..., Process]


@pytest.fixture
def run(kernel32: Kernel32) -> Iterator[Run]:
    processes = []

    def start(*steps: list[object], until: bytes = b"") -> Process:
        came = threading.Event()

        def hear(_stream: str, data: bytes) -> None:
            if until in data:
                came.set()

        started = Process(
            [sys.executable, "-IS", str(PRETENDER), "serve", "--bind", "127.0.0.1:1"],
            env={"PRETEND": json.dumps(steps)},
            cwd=None,
            on_output=hear,
        )
        processes.append(started)
        assert not until or came.wait(LONG)
        return started

    yield start
    for started in processes:
        started.stop(0)
    assert not kernel32.open


def test_a_child_is_in_a_job_until_its_end(run: Run, kernel32: Kernel32) -> None:
    child = run(["silent"])
    assert kernel32.members == [child.pid]
    assert child.owns(child.pid)
    assert not child.owns(os.getpid())
    child.stop(LONG)
    assert not child.owns(child.pid)
    assert not kernel32.open


def test_who_does_not_end_in_time_is_ended_with_its_job(run: Run, kernel32: Kernel32) -> None:
    child = run(["deaf"], ["say", "deaf"], ["silent"], until=b"deaf")
    child.stop(0.1)
    assert "TerminateJobObject" in kernel32.calls


def test_what_a_dead_leader_leaves_behind_is_ended(run: Run, kernel32: Kernel32) -> None:
    leader = run(["exit", 0])
    assert leader.exited.wait(LONG)
    assert "TerminateJobObject" in kernel32.calls
    assert leader.stop(0) == (0, None)


@pytest.mark.parametrize("refused", REFUSALS)
def test_without_a_job_the_child_runs_all_the_same(
    run: Run, kernel32: Kernel32, refused: str
) -> None:
    kernel32.refuses = {refused}
    child = run(["say", "up"], ["silent"], until=b"up")
    assert child.owns(child.pid)
    assert not child.owns(os.getpid())
    child.stop(LONG)
    assert not kernel32.members


def test_output_and_end_are_whole_there_too(run: Run) -> None:
    heard = bytearray()
    child = Process(
        [sys.executable, "-IS", str(PRETENDER)],
        env={"PRETEND": json.dumps([["flood", 1, 5000], ["flood", 2, 5000], ["exit", 3]])},
        cwd=None,
        on_output=lambda stream, data: heard.extend(data) if stream == "stdout" else None,
    )
    assert child.exited.wait(LONG)
    assert child.exit == (3, None)
    assert heard == b"".join(b"%099d\n" % number for number in range(5000))
