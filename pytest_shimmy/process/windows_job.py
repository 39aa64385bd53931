"""Windows job objects: processes that are ended together, at the latest with their owner.

The place of a process group and of Linux' parent-death signal. A process that is in a job stays in
it, and so do its children. The job here is ended by `Job.kill`, and by the system when the last
handle to it is closed, which the owner's end does, however that comes. A child that was started
before its parent was in the job is not in it.

Only `ctypes` is used. The functions of kernel32 can be handed in, so that all of this can be
tested on other systems.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Of fixed size everywhere: `ctypes.wintypes` has the sizes of the system that it runs on.
_DWORD = ctypes.c_uint32
_BOOL = ctypes.c_int32
_HANDLE = ctypes.c_void_p
_SIZE = ctypes.c_size_t

SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "CreateJobObjectW": (_HANDLE, (ctypes.c_void_p, ctypes.c_wchar_p)),
    "SetInformationJobObject": (_BOOL, (_HANDLE, ctypes.c_int32, ctypes.c_void_p, _DWORD)),
    "AssignProcessToJobObject": (_BOOL, (_HANDLE, _HANDLE)),
    "IsProcessInJob": (_BOOL, (_HANDLE, _HANDLE, ctypes.POINTER(_BOOL))),
    "TerminateJobObject": (_BOOL, (_HANDLE, ctypes.c_uint32)),
    "OpenProcess": (_HANDLE, (_DWORD, _BOOL, _DWORD)),
    "CloseHandle": (_BOOL, (_HANDLE,)),
}
"""What each function returns and takes; without it, handles are cut to 32 bits."""

EXTENDED_LIMIT_INFORMATION = 9
KILL_ON_JOB_CLOSE = 0x2000
MAY_BE_ASSIGNED = 0x0100 | 0x0001  # PROCESS_SET_QUOTA, PROCESS_TERMINATE
MAY_BE_ASKED = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION


class ExtendedLimits(ctypes.Structure):
    """``JOBOBJECT_EXTENDED_LIMIT_INFORMATION``, with its inner structures spread out."""

    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", _DWORD),
        ("MinimumWorkingSetSize", _SIZE),
        ("MaximumWorkingSetSize", _SIZE),
        ("ActiveProcessLimit", _DWORD),
        ("Affinity", _SIZE),
        ("PriorityClass", _DWORD),
        ("SchedulingClass", _DWORD),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", _SIZE),
        ("JobMemoryLimit", _SIZE),
        ("PeakProcessMemoryUsed", _SIZE),
        ("PeakJobMemoryUsed", _SIZE),
    )


class Job:
    """A job with one process, and those that it starts from now on.

    Raises `OSError` when the system does not make one, or does not let the process in.
    """

    def __init__(self, pid: int, kernel32: Any = None) -> None:
        self._kernel32 = kernel32 or load_kernel32()
        self._handle: Any = self._kernel32.CreateJobObjectW(None, None)
        if not self._handle:
            raise OSError("no job object to be had")
        try:
            self._limit()
            self._assign(pid)
        except OSError:
            self.close()
            raise

    def has(self, pid: int) -> bool:
        """Whether a process is in this job."""
        process = self._kernel32.OpenProcess(MAY_BE_ASKED, False, pid)
        if not process:
            return False
        try:
            answer = _BOOL(0)
            asked = self._kernel32.IsProcessInJob(process, self._handle, ctypes.byref(answer))
            return bool(asked and answer.value)
        finally:
            self._kernel32.CloseHandle(process)

    def kill(self) -> None:
        """End every process of the job; their exit code is 1, as `subprocess` has it."""
        self._kernel32.TerminateJobObject(self._handle, 1)

    def close(self) -> None:
        """Let go of the job, and so end what is left in it."""
        self._kernel32.CloseHandle(self._handle)

    def _limit(self) -> None:
        limits = ExtendedLimits(LimitFlags=KILL_ON_JOB_CLOSE)
        if not self._kernel32.SetInformationJobObject(
            self._handle, EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
        ):
            raise OSError("the job object takes no limits")

    def _assign(self, pid: int) -> None:
        process = self._kernel32.OpenProcess(MAY_BE_ASSIGNED, False, pid)
        if not process:
            raise OSError(f"process {pid} cannot be opened")
        try:
            if not self._kernel32.AssignProcessToJobObject(self._handle, process):
                raise OSError(f"process {pid} cannot be put into a job object")
        finally:
            self._kernel32.CloseHandle(process)


def load_kernel32() -> Any:
    """The system's library, told what its functions take. Raises `OSError` where there is none."""
    if sys.platform != "win32":
        raise OSError("job objects are Windows' own")
    library = ctypes.WinDLL("kernel32")
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
