"""One server per run: how test processes find, start, hold and leave a server.

Every server has a keeper (see `keeper`) and a directory, whose name begins with the run and the
server's options. The first process that needs the server takes a start lock, finds no keeper by
that name and launches one; everybody else, before or after, finds ``keeper.json`` and connects.
Nobody tells anybody that it is done: the connection ends with its holder.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, is_ours
from ..executable.identify import python_command
from ..launch.plan import Plan
from ..runtime_dir import runtime_dir, subdir
from .keeper import KeeperSpec, RendezvousFile
from .protocol import Channel, Op, ServerSummary, Snapshot
from .run import LOOPBACK, Run

__tracebackhide__ = is_ours

START_LOCKS = 64
"""Start locks are shared by hash, so that none has to be made or removed per run."""


WAITING_SHOWN = 3.0
"""Seconds between two signs of life to a person who waits for a server."""


def release_all(keepers: Iterable[Channel | socket.socket], timeout: float) -> list[ServerSummary]:
    """Let go of `keepers`, and wait at most `timeout` seconds for those that end because of it.

    Returns the last words of those that ended; one that was killed has none.
    """
    deadline = time.monotonic() + timeout
    channels = [keeper if isinstance(keeper, Channel) else Channel(keeper) for keeper in keepers]
    for channel in channels:
        with contextlib.suppress(OSError):
            channel.socket.shutdown(socket.SHUT_WR)
    summaries = []
    for channel in channels:
        with contextlib.suppress(OSError, ValueError), contextlib.closing(channel):
            if summary := _last_words(channel, deadline):
                summaries.append(summary)
    return summaries


def _last_words(keeper: Channel, deadline: float) -> ServerSummary | None:
    """Read to the end; raises `TimeoutError` when the keeper lives on."""
    summary = None
    while True:
        keeper.socket.settimeout(max(0.001, deadline - time.monotonic()))
        message = keeper.receive()
        if message is None:
            return summary
        if "server_summary" in message:
            summary = ServerSummary(**message["server_summary"])


class Link:
    """This process's hold on one server. Thread-safe, and survives a fork of the process."""

    def __init__(
        self,
        channel: Channel,
        rendezvous: RendezvousFile,
        name: str,
        keeper: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.name = name
        self._channel: Channel | None = channel
        self._rendezvous = rendezvous
        self._keeper = keeper  # our child, if we launched it
        self._lock = threading.Lock()
        self._questions = 0
        _links.add(self)

    @property
    def launched_here(self) -> bool:
        """Whether this process started the server, so that its whole log is news."""
        return self._keeper is not None

    def ready(self, waiting: Callable[[float], None] | None = None) -> Snapshot:
        """Wait until the server is healthy; calls `waiting(seconds)` now and then meanwhile.

        Raises the `ShimmyError` that its start ended with, or ``RESTARTS_EXHAUSTED``;
        ``CONTROL_FAILED`` when the keeper is gone.
        """
        return self._ask("ready", waiting)

    def status(self) -> Snapshot:
        """What the server is doing now. Raises `ShimmyError` (``CONTROL_FAILED``)."""
        return self._ask("status")

    def keep_log(self) -> None:
        """Have the log kept when the server ends, because a test failed."""
        self._ask("keep_log")

    def leave(self, timeout: float) -> list[ServerSummary]:
        """Give up the hold, and wait for the keeper as `release_all` does."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is None:
            return []
        summaries = release_all([channel], timeout)
        if summaries and self._keeper is not None:
            _reap(self._keeper)  # it is just exiting
        return summaries

    def _ask(self, op: Op, waiting: Callable[[float], None] | None = None) -> Snapshot:
        with self._lock:
            try:
                if self._channel is None:
                    self._channel = _connect(self._rendezvous)
                self._questions += 1
                self._channel.send({"op": op, "id": self._questions})
                # A test that was interrupted while it waited (Ctrl-C, a time-out by signal) has
                # left its answer behind.
                while (
                    answer := _receive(self._channel, waiting)
                ) and "server_summary" not in answer:
                    if answer.get("id") == self._questions:
                        break
            except (OSError, ValueError) as error:
                raise self._keeper_gone(str(error)) from error
        if answer is None or "server_summary" in answer:
            raise self._keeper_gone("it closed the connection")
        if "error" in answer:
            raise ShimmyError.from_json(answer["error"])
        return Snapshot.from_json(answer["snapshot"])

    def _keeper_gone(self, why: str) -> ShimmyError:
        return ShimmyError(
            ShimmyErrorCode.CONTROL_FAILED,
            f"the keeper of server {self.name} is gone ({why}), and with it the server.\n"
            "Something ended it: look for what kills processes of this user (out of memory?).",
            {"server": self.name},
        )

    def _forget_connection(self) -> None:
        self._lock = threading.Lock()
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _receive(channel: Channel, waiting: Callable[[float], None] | None) -> dict[str, Any] | None:
    if waiting is None:
        return channel.receive()
    begin = time.monotonic()
    channel.socket.settimeout(WAITING_SHOWN)
    try:
        while True:
            try:
                return channel.receive()
            except TimeoutError:
                waiting(time.monotonic() - begin)
    finally:
        channel.socket.settimeout(None)


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _after_fork() -> None:
    # A forked child (multiprocessing, pytest-forked) must not keep its parent's lifelines open
    # beyond the parent's death; if it needs the server, it connects for itself.
    for link in list(_links):
        link._forget_connection()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def join(run: Run, key: str, plan: Callable[[Path], Plan]) -> Link:
    """Join the server of this `run` that `key` describes; start it when there is none.

    `plan` says what to start, given the keeper's directory. Returns before the server is
    healthy. Raises `ShimmyError` (``LOCK_TIMEOUT``, ``CONTROL_FAILED``).
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = f"{run.id[:16]}-{digest[:8]}"
    if link := _join_existing(name):
        return link
    lock_file = subdir("locks") / f"start-{int(digest[8:16], 16) % START_LOCKS}.lock"
    lock = FileLock(str(lock_file))
    try:
        with lock.acquire(ShimmyProcessDefaults.lock_timeout, poll_interval=0.005):
            if link := _join_existing(name):
                return link
            directory = server_directory(name)
            return launch(run, directory, plan(directory))
    except Timeout as error:
        raise ShimmyError(
            ShimmyErrorCode.LOCK_TIMEOUT,
            f"{lock_file} was not free within {ShimmyProcessDefaults.lock_timeout:g} s: another "
            "process of this user is just starting a server, and does not get on.\n"
            "Look for a stopped or hanging pytest process.",
            {"lock": str(lock_file)},
        ) from error


def server_directory(name: str) -> Path:
    """The directory of one keeper; that of the next has another name, whatever becomes of this."""
    return subdir("servers") / f"{name}-{secrets.token_hex(4)}"


def launch(run: Run, directory: Path, plan: Plan, *, alone: bool = False) -> Link:
    """Start a keeper, which starts the server, and hold it; `alone`: instead of the run."""
    token = secrets.token_hex(16)
    with socket.create_server((LOOPBACK, 0), backlog=1) as listener:
        host, port = listener.getsockname()[:2]
        spec = KeeperSpec(
            directory=str(directory),
            logs=str(runtime_dir() / "logs"),
            log_kept_anyway=plan.log_kept_anyway,
            files=dict(plan.files),
            token=token,
            launcher=(host, port),
            launcher_alone=alone,
            anchor=None if alone else run.anchor,
            options=plan.options.to_json(),
        )
        keeper = _spawn_keeper(spec, directory.parent)
        try:
            channel = _await_keeper(listener, keeper, token)
        except BaseException:
            keeper.terminate()
            raise
    rendezvous = _read_rendezvous(directory)
    assert rendezvous is not None
    return Link(channel, rendezvous, directory.name, keeper)


def _spawn_keeper(spec: KeeperSpec, cwd: Path) -> subprocess.Popen[bytes]:
    keeper = subprocess.Popen(
        python_command("pytest_shimmy.sharing.keeper", "pytest_shimmy", "fake_shimmy", "filelock"),
        stdin=subprocess.PIPE,
        # It inherits none of our own streams: an xdist worker's are its line to the controller.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=cwd,
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert keeper.stdin is not None
    with contextlib.suppress(OSError):  # it died: whoever waits for its call finds out
        keeper.stdin.write(json.dumps(spec._asdict()).encode() + b"\n")
        keeper.stdin.close()
    _children.append(keeper)
    return keeper


_children: list[subprocess.Popen[bytes]] = []


def _reap(keeper: subprocess.Popen[bytes]) -> None:
    """Take leave of a keeper that has said its last word; it leaves nothing open here."""
    keeper.wait()
    if keeper in _children:
        _children.remove(keeper)
    if keeper.stderr is not None:
        keeper.stderr.close()


def reap() -> None:
    """Take leave of the keepers that have ended since."""
    for keeper in list(_children):
        if keeper.poll() is not None:
            _reap(keeper)


@atexit.register
def _disown() -> None:
    # A keeper that outlives this process is no leak, and nobody is to warn of one.
    for keeper in _children:
        if keeper.poll() is None:
            keeper.returncode = 0
        if keeper.stderr is not None:
            keeper.stderr.close()


def _await_keeper(listener: socket.socket, keeper: subprocess.Popen[bytes], token: str) -> Channel:
    deadline = time.monotonic() + ShimmyProcessDefaults.keeper_timeout
    listener.settimeout(0.05)
    while True:
        try:
            peer, _ = listener.accept()
        except TimeoutError:
            if keeper.poll() is not None or time.monotonic() > deadline:
                raise _keeper_failed(keeper) from None
            continue
        channel = Channel(peer)
        peer.settimeout(5)
        with contextlib.suppress(OSError, ValueError):
            hello = channel.receive()
            if hello is not None and hello.get("token") == token:
                peer.settimeout(None)
                return channel
        channel.close()  # somebody else found the port


def _keeper_failed(keeper: subprocess.Popen[bytes]) -> ShimmyError:
    assert keeper.stderr is not None
    exit_code = keeper.poll()
    if exit_code is None:
        said = f"it said nothing for {ShimmyProcessDefaults.keeper_timeout:g} s"
    else:
        text = keeper.stderr.read().decode("utf-8", "replace").strip()
        said = f"it ended with exit code {exit_code} and said:\n{text or '(nothing)'}"
    return ShimmyError(
        ShimmyErrorCode.CONTROL_FAILED,
        f"the keeper, the small Python program that would own the server, did not start; {said}\n"
        f"Interpreter: {sys.executable}",
        {"exit_code": exit_code},
    )


def _join_existing(name: str) -> Link | None:
    for directory in subdir("servers").glob(f"{name}-*"):
        rendezvous = _read_rendezvous(directory)
        if rendezvous is not None:
            # Else a keeper that was killed, or has not got so far.
            with contextlib.suppress(OSError, ValueError):
                return Link(_connect(rendezvous), rendezvous, directory.name)
    return None


def _read_rendezvous(directory: Path) -> RendezvousFile | None:
    try:
        data: Any = json.loads(RendezvousFile.path(directory).read_bytes())
        return RendezvousFile(**data)
    except (OSError, ValueError, TypeError):
        return None


def _connect(rendezvous: RendezvousFile) -> Channel:
    channel = Channel(socket.create_connection((LOOPBACK, rendezvous.port), 5))
    try:
        channel.socket.settimeout(None)
        channel.send({"token": rendezvous.token})
        # An answer proves that it is a keeper, and that it has counted us in.
        channel.send({"op": "status"})
        if (answer := channel.receive()) is None or "snapshot" not in answer:
            raise ConnectionError("it is just ending")
    except BaseException:
        channel.close()
        raise
    return channel
