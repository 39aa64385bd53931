"""One server per run: how test processes find, start, hold and leave a server.

Every server has a keeper (see `keeper`) and a directory, whose name begins with the run and the
server's options. The first process that needs the server takes a start lock, finds no keeper by
that name and launches one; everybody else, before or after, finds ``keeper.json`` and connects.
No message says that a holder is done: the connection ends with it.

No wait is without a bound: a keeper answers at once, or it is stopped, and then it is given up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, is_ours, refusals_reported
from ..launch.plan import Plan
from ..process.file_lock import FileLock, LockedError
from ..process.vitals import Watched, watch
from ..runtime_dir import runtime_dir, subdir
from . import sockets
from .files import RendezvousFile, read_rendezvous
from .launcher import held
from .launcher import launch as launch_keeper
from .protocol import Channel, Op, ServerSummary, Snapshot, hello, packed, read_error
from .release import release_all
from .run import Run
from .spec import KeeperSpec, run_is_over

__tracebackhide__ = is_ours

START_LOCKS = 64
"""Start locks are shared by hash, so that none has to be made or removed per run."""

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection to a keeper."""

AGAIN = 0.5
"""Seconds for an answer of a keeper that has failed to give one."""

SIGN_OF_LIFE = 3.0
"""Seconds between two looks, while a server starts, at whether its keeper lives, and between two
signs of life to a person who waits."""


class Link:
    """This process's hold on one server. Thread-safe, and survives a fork of the process."""

    def __init__(
        self,
        channel: Channel,
        rendezvous: RendezvousFile,
        name: str,
        *,
        launched_here: bool = False,
    ) -> None:
        self.name = name
        self.directory = subdir("servers") / name
        """The keeper's, which it removes at the server's end."""
        self.launched_here = launched_here
        """Whether this process started the server, so that its whole log is news."""
        self._channel: Channel | None = channel
        self._rendezvous = rendezvous
        self._lock = threading.Lock()
        self._questions = 0
        self._was_silent = False
        self._newest: Snapshot | None = None
        self._watched: Watched | None = None
        """The server of `_newest`."""
        self._written: int | None = None
        """What the server had written just before `_newest` was asked for, without the exchanges
        that it had noted; None where it was not well."""
        _links.add(self)

    def ready(self, waiting: Callable[[float], None] | None = None) -> Snapshot:
        """Wait until the server is healthy; calls `waiting(seconds)` now and then meanwhile.

        Raises the `ShimmyError` that its start ended with, or ``RESTARTS_EXHAUSTED``;
        ``CONTROL_FAILED`` when the keeper is gone, or does not answer.
        """
        return self._ask("ready", waiting or (lambda _: None))

    def status(self) -> Snapshot:
        """What the server is doing now. Raises `ShimmyError` (``CONTROL_FAILED``)."""
        return self._ask("status")

    def glance(self) -> Snapshot | None:
        """What the keeper would say of a server that was ready, where that is certain without a
        question; else None.

        Certain it is while the server is there, its keeper has said nothing, and the log has grown
        by just as much as the server has written, but for exchanges that it has noted for a
        report: then nothing of that is still on its way.
        """
        with self._lock:
            newest, before, channel = self._newest, self._written, self._channel
            watched = self._watched
            if newest is None or watched is None or before is None or channel is None:
                return None
            # Before the server is looked at: an exchange that ends in between must not pass for
            # a part of the log that has come.
            noted = _size(newest.exchanges)
            now = watched.written()
            # Another parent: in another container, the number is that of another process.
            if now is None or watched.parent != channel.process:
                return None
            if channel.has_news():
                return None
            try:
                log_size = os.stat(newest.log_path).st_size  # noqa: PTH116 - before every test
            except OSError:
                return None
            if log_size - newest.log_size != now - noted - before:
                return None
            return newest if log_size == newest.log_size else newest._replace(log_size=log_size)

    @property
    def server(self) -> Watched | None:
        """The server's process, as far as it was well when it was asked about last, and can be
        watched from here."""
        channel, watched = self._channel, self._watched
        if channel is None or watched is None or self._written is None:
            return None
        return watched if watched.parent == channel.process else None

    def logged(self) -> tuple[str, int] | None:
        """The log and its size now, without a question; None where there is none."""
        newest = self._newest
        if newest is None:
            return None
        try:
            return newest.log_path, os.stat(newest.log_path).st_size  # noqa: PTH116 - after every test
        except OSError:
            return None

    def keep_log(self) -> None:
        """Have the log kept when the server ends, because a test failed."""
        self._ask("keep_log")

    def leave(self, timeout: float) -> list[ServerSummary]:
        """Give up the hold, and wait for the keeper as `release_all` does."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is None:
            return []
        return release_all([channel], timeout)

    def _ask(self, op: Op, waiting: Callable[[float], None] | None = None) -> Snapshot:
        with self._lock:
            pid = None if self._newest is None else self._newest.pid
            written = self._look(pid)
            try:
                if self._channel is None:
                    self._channel = _connect(self._rendezvous, self.name)
                answer = self._exchange(self._channel, op, waiting)
                if answer is None or "server_summary" in answer:
                    raise self._keeper_gone("it closed the connection")
                if "error" in answer:
                    raise read_error(answer["error"])
                snapshot = self._newest = Snapshot.from_json(answer.get("snapshot"))
                is_well = snapshot.state == "ready" and snapshot.pid == pid
                self._written = written if is_well else None
                return snapshot
            except TimeoutError as error:
                self._was_silent = True
                raise _keeper_silent(self.name, self._channel) from error
            except (OSError, ValueError) as error:
                raise self._keeper_gone(str(error)) from error

    def _look(self, pid: int | None) -> int | None:
        """What the server, which is watched from now on, has written but for exchanges."""
        if self._watched is None or self._watched.pid != pid:
            self._watched = None if pid is None else watch(pid)
        written = None if self._watched is None else self._watched.written()
        if written is None:
            self._watched = None  # gone: the number may be that of another one by now
            return None
        noted = None if self._newest is None else self._newest.exchanges
        return written - _size(noted)

    def _exchange(
        self, channel: Channel, op: Op, waiting: Callable[[float], None] | None
    ) -> dict[str, Any] | None:
        """The answer to one question; None at the end of the connection.

        With `waiting`, an answer may take long. Whether the keeper still lives is then asked in
        between. Raises `TimeoutError` when it does not.
        """
        question = self._send(channel, op)
        begun = heard = time.monotonic()
        pulse = None
        while True:
            # A test that was interrupted while it waited (Ctrl-C, a time-out by signal) has left
            # its answer behind.
            silent = time.monotonic() - heard
            left = self._patience() - silent
            if left <= 0:
                raise TimeoutError
            channel.socket.settimeout(left if waiting is None else min(left, SIGN_OF_LIFE))
            try:
                answer = channel.receive()
            except TimeoutError:
                if waiting is None:
                    raise
                waiting(time.monotonic() - begun)
                if pulse is None:
                    pulse = self._send(channel, "status")
                continue
            heard = time.monotonic()
            self._was_silent = False
            if answer is None or "server_summary" in answer or answer.get("id") == question:
                return answer
            if answer.get("id") == pulse:
                pulse = None

    def _patience(self) -> float:
        """Seconds to wait for an answer: not again as long for a keeper that gave none."""
        if self._was_silent:
            return min(AGAIN, ShimmyProcessDefaults.answer_timeout)
        return ShimmyProcessDefaults.answer_timeout

    def _send(self, channel: Channel, op: Op) -> int:
        self._questions += 1
        channel.socket.settimeout(self._patience())
        channel.send({"op": op, "id": self._questions})
        return self._questions

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


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _after_fork() -> None:
    # A forked child (multiprocessing, pytest-forked) must not keep its parent's lifelines open
    # beyond the parent's death; if it needs the server, it connects for itself.
    for link in list(_links):
        link._forget_connection()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _size(path: str | None) -> int:
    """Bytes of a file; of none, too."""
    if path is None:
        return 0
    try:
        return os.stat(path).st_size  # noqa: PTH116 - before every test
    except OSError:  # nothing was written so far
        return 0


def _keeper_silent(name: str, channel: Channel | None) -> ShimmyError:
    pid = None if channel is None else channel.process
    why = pid and held(pid)
    return ShimmyError(
        ShimmyErrorCode.CONTROL_FAILED,
        f"the keeper of server {name}, the small Python program that owns it, has not answered "
        f"for {ShimmyProcessDefaults.answer_timeout:g} s: "
        f"{why or 'the machine may be overloaded, or something holds its process'}.",
        {"server": name, "keeper": pid},
    )


def join(run: Run, key: str, plan: Callable[[Path], Plan]) -> Link:
    """Join the server of this `run` that `key` describes; start it when there is none.

    `plan` says what to start, given the keeper's directory. Returns before the server is
    healthy. Raises `ShimmyError`: ``LOCK_TIMEOUT``, ``CONTROL_FAILED``; what the system refuses.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = f"{run.id[:16]}-{digest[:8]}"
    with refusals_reported("no server could be joined or started"):
        if link := _join_existing(name):
            return link
        lock_file = subdir("locks") / f"start-{int(digest[8:16], 16) % START_LOCKS}.lock"
        lock = FileLock(lock_file)
        try:
            with lock.acquire(ShimmyProcessDefaults.lock_timeout):
                if link := _join_existing(name):
                    return link
                directory = server_directory(name)
                return launch(run, directory, plan(directory))
        except LockedError as error:
            raise ShimmyError(
                ShimmyErrorCode.LOCK_TIMEOUT,
                f"{lock_file} was not free within {ShimmyProcessDefaults.lock_timeout:g} s: "
                "another process of this user is starting a server, and makes no progress.\n"
                "Look for a stopped or hanging pytest process.",
                {"lock": str(lock_file)},
            ) from error


def server_directory(name: str) -> Path:
    """The directory of one keeper; that of the next has another name, whatever becomes of this."""
    return subdir("servers") / f"{name}-{secrets.token_hex(4)}"


def launch(run: Run, directory: Path, plan: Plan, *, alone: bool = False) -> Link:
    """Start a keeper, which starts the server, and hold it; `alone`: instead of the run.

    Raises `ShimmyError`, see `join`.
    """
    if not alone and run.is_over():
        # A worker whose controller was killed goes on with its tests, and each would start one.
        raise run_is_over()
    spec = KeeperSpec(
        directory=str(directory),
        environment=dict(os.environ),
        logs=str(runtime_dir() / "logs"),
        log_kept_anyway=plan.log_kept_anyway,
        files=packed(plan.files),
        token=secrets.token_hex(16),
        launcher_alone=alone,
        anchor=None if alone else run.anchor,
        options=plan.options.to_json(),
        executable=None if plan.executable is None else plan.executable.to_json(),
        events=plan.events,
        recorder=None if plan.recorder is None else dict(plan.recorder),
    )
    channel, rendezvous = launch_keeper(spec)
    return Link(channel, rendezvous, directory.name, launched_here=True)


def _join_existing(name: str) -> Link | None:
    for directory in subdir("servers").glob(f"{name}-*"):
        # None: of a keeper that was killed, or has not got so far.
        if (rendezvous := read_rendezvous(directory)) is not None:
            with contextlib.suppress(ConnectionError, PermissionError, ValueError):
                return Link(_connect(rendezvous, directory.name), rendezvous, directory.name)
    return None


def _connect(rendezvous: RendezvousFile, name: str) -> Channel:
    """Raises `OSError` or `ValueError` where no keeper is; `ShimmyError` where one is stopped."""
    channel = Channel(sockets.connect(rendezvous.address, CONNECT_TIMEOUT))
    peer = sockets.peer_of(channel.socket)
    channel.process = peer and peer.pid
    try:
        channel.send(hello(rendezvous.token))
        # An answer proves that it is a keeper, and that it has counted us in.
        channel.send({"op": "status"})
        channel.socket.settimeout(ShimmyProcessDefaults.answer_timeout)
        if (answer := channel.receive()) is None or "snapshot" not in answer:
            raise ConnectionError("it is just ending")
        Snapshot.from_json(answer["snapshot"])
    except TimeoutError:
        channel.close()
        raise _keeper_silent(name, channel) from None
    except BaseException:
        channel.close()
        raise
    return channel
