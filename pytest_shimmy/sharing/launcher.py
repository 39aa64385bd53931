"""Start a keeper: spawn it, tell it what to do, hear that it listens or why it does not.

The keeper is born with one end of a pair of connected sockets. No other process can speak there,
and when one of the two ends, the other sees it at once.

One that is certainly needed soon can be spawned ahead: it loads its modules while this process
loads its own. Until it is told what to do it has nothing, and what it is told includes all that may
have changed since: the environment, and the directory to be in.
"""

# No annotations as text: every run with a server loads this, see CONTRIBUTING.

import atexit
import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode, refusals_reported
from ..executable.python import python_command
from ..network.sockets import Socket
from ..process.end import wait_for_end
from . import sockets
from .files import RendezvousFile, sweep
from .protocol import Channel, read_error
from .spec import KeeperSpec

END_TIMEOUT = 2.0
"""Seconds for a keeper that has closed its last connection; it takes a few milliseconds."""
FURTHER = ("filelock",) if sys.platform == "win32" else ()
"""What a keeper needs beside our own packages; see `process.file_lock`."""
SAID = 64 * 1024
"""Bytes of a keeper's last words on stderr that are read."""


class _Spawned(NamedTuple):
    """A keeper that has not been told yet what to do."""

    channel: Channel
    process: subprocess.Popen[bytes]


def launch(spec: KeeperSpec) -> tuple[Channel, RendezvousFile]:
    """Start a keeper, and hold it by the returned channel.

    Returns when it listens; its server is not healthy yet. Raises `ShimmyError`: what the keeper
    says is in the way, ``CONTROL_FAILED`` where it says nothing in time.
    """
    with refusals_reported("no process could be started to own the server"):
        channel, process = _spawned_ahead() or _spawn()
        try:
            try:
                address = _listening(channel, spec, process)
            except Exception:
                _end(process)
                # It may have been killed before it had a janitor.
                sweep(Path(spec.directory).parent)
                raise
            except BaseException:  # Ctrl-C does not wait
                process.terminate()
                raise
            finally:
                _close_stderr(process)
        except BaseException:
            channel.close()
            raise
    return channel, RendezvousFile(address, spec.token)


def spawn_ahead() -> None:
    """Spawn the keeper of the next `launch`. What is in the way of that is not told before then."""
    with contextlib.suppress(*REFUSALS, ShimmyError, subprocess.SubprocessError):
        _ahead.append(_spawn())


def _spawned_ahead() -> _Spawned | None:
    while _ahead:
        spawned = _ahead.pop()
        if spawned.process.poll() is None:
            return spawned
        _drop(spawned)
    return None


def drop_ahead() -> None:
    """End a keeper that was spawned ahead and is not needed."""
    while _ahead:
        _drop(_ahead.pop())


def _drop(spawned: _Spawned) -> None:
    spawned.channel.close()
    spawned.process.kill()
    _close_stderr(spawned.process)
    reap([spawned.process.pid])


def _spawn() -> _Spawned:
    near, far = sockets.pair()
    channel = Channel(near)
    _pending.add(channel)
    try:
        with far:
            process = _executed(far)
    except BaseException:
        channel.close()
        raise
    channel.process = process.pid
    return _Spawned(channel, process)


def _executed(theirs: Socket) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        python_command("pytest_shimmy.sharing.keeper", "pytest_shimmy", "fake_shimmy", *FURTHER),
        stdin=subprocess.PIPE,
        # It inherits none of our own streams: an xdist worker's are its line to the controller.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=() if sys.platform == "win32" else (theirs.fileno(),),
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    with _children_lock:
        _children.append(process)
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it died: we are about to find out
        process.stdin.write(_handed_over(theirs, process.pid) + b"\n")
        process.stdin.close()
    return process


def _handed_over(theirs: Socket, pid: int) -> bytes:
    """How process `pid` finds its end; a few hundred bytes at most, which no pipe refuses."""
    if sys.platform == "win32":
        return base64.b64encode(socket.socket(fileno=theirs.detach()).share(pid))
    return b"%d" % theirs.fileno()


def _listening(
    channel: Channel, spec: KeeperSpec, process: subprocess.Popen[bytes]
) -> sockets.Address:
    """Tell the keeper what to do; returns where it listens."""
    channel.socket.settimeout(ShimmyProcessDefaults.keeper_timeout)
    try:
        channel.send(spec._asdict())
        answer = channel.receive()
        if answer is not None and "error" in answer:
            raise read_error(answer["error"])
        if answer is not None:
            return sockets.to_address(answer.get("listening"))
    except TimeoutError:
        raise _keeper_failed(_silence(process.pid), None) from None
    except (ConnectionError, ValueError):  # it died, or it is no keeper
        pass
    with contextlib.suppress(subprocess.TimeoutExpired):
        wait_for_end(process, END_TIMEOUT)
    said = _said(process)
    raise _keeper_failed(
        f"it ended with exit code {process.poll()} and said:\n{said or '(nothing)'}"
        f"{'' if said else _NOTHING_SAID}",
        process.poll(),
    )


_NOTHING_SAID = (
    "\nSomething ended it from outside: look for what kills processes of this user (out of memory, "
    "a limit, a debugger or sandbox that follows child processes)."
)


def _silence(pid: int) -> str:
    """Why a keeper says nothing, as far as the system tells."""
    silent = f"it said nothing for {ShimmyProcessDefaults.keeper_timeout:g} s"
    if why := held(pid):
        return f"{silent}: {why}"
    if _state(pid)[0] == "D":
        return f"{silent}: its process {pid} waits for a disk or a device"
    return (
        f"{silent}, though it runs. The machine may be overloaded, or something that follows child "
        "processes (a debugger, a tracer, a virus scanner) holds it"
    )


def held(pid: int) -> str | None:
    """Who keeps process `pid` from running until it is let go, in words; None where nobody does, or
    the system does not say."""
    state, tracer = _state(pid)
    if state == "t" or (tracer and state in ("T", "S")):
        return (
            f"its process {pid} is held by the debugger or tracer {tracer}; let child "
            "processes go there (gdb: set detach-on-fork on; debugpy: subProcess false)"
        )
    if state == "T":
        return f"its process {pid} is stopped; kill -CONT {pid} lets it go on"
    return None


def _state(pid: int) -> tuple[str, int]:
    """Linux's letter for the state of process `pid`, and the process that traces it, or 0."""
    with contextlib.suppress(OSError, ValueError, MemoryError):
        text = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return fields.get("State", "")[:1], int(fields.get("TracerPid", "0"))
    return "", 0


def _keeper_failed(said: str, exit_code: int | None) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.CONTROL_FAILED,
        f"the keeper, the small Python program that would own the server, did not start; {said}\n"
        f"Interpreter: {sys.executable}",
        {"exit_code": exit_code},
    )


def _said(process: subprocess.Popen[bytes]) -> str:
    """What it has written on stderr; does not wait for more."""
    assert process.stderr is not None
    if sys.platform != "win32":
        os.set_blocking(process.stderr.fileno(), False)
    with contextlib.suppress(OSError):
        return (process.stderr.read(SAID) or b"").decode("utf-8", "replace").strip()
    return ""


def _close_stderr(process: subprocess.Popen[bytes]) -> None:
    # What it says from now on is not used, but a pipe that is not read would stop it.
    if process.stderr is not None:
        process.stderr.close()


_ahead: list[_Spawned] = []
_pending: weakref.WeakSet[Channel] = weakref.WeakSet()
"""Connections to keepers that this process has launched; see `_after_fork`."""


def _after_fork() -> None:
    # A forked child that lives on would hold the server, and it is no parent of our keepers.
    global _children_lock
    _ahead.clear()
    for channel in list(_pending):
        channel.close()
    _children_lock = threading.Lock()
    _children.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a keeper that has not come to anything. One that is stopped notices nothing else."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        wait_for_end(process, 0 if held(process.pid) else END_TIMEOUT)
        reap()
        return
    process.kill()
    reap([process.pid])


def reap(ending: Collection[int] = ()) -> None:
    """Take leave of the keepers that this process has launched and that have ended.

    Those with the process ids `ending` are just exiting, and are waited for.
    """
    deadline = time.monotonic() + END_TIMEOUT
    with _children_lock:
        for process in list(_children):
            left = deadline - time.monotonic() if process.pid in ending else 0.0
            with contextlib.suppress(subprocess.TimeoutExpired):
                wait_for_end(process, max(0.0, left))
                _children.remove(process)


@atexit.register
def _disown() -> None:
    # A keeper that outlives this process is no leak: no warning of one.
    for process in _children:
        if process.poll() is None:
            process.returncode = 0
