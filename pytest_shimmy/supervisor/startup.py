"""From options to a healthy server of our own: command line, spawn, proof of readiness."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..defaults import ShimmyProcessDefaults
from ..errors import REFUSALS, ShimmyError, ShimmyErrorCode
from ..executable import dialect
from ..executable.executable import Executable
from ..network.addresses import authority
from ..options import ShimmyProcessOptions
from ..process.log import Log
from ..process.process import Process
from . import failures
from .port_owner import INVISIBLE, NOBODY, listener


class Startup:
    """Spawns servers for one set of options and proves them healthy.

    `cancelled()` ends whatever is waited for. `executable` is the one that `options` mean, where
    that is known; else it is asked, which raises `ShimmyError` when it is missing or no shimmy.
    """

    def __init__(
        self,
        options: ShimmyProcessOptions,
        log: Log,
        cancelled: Callable[[], bool],
        executable: Executable | None = None,
    ) -> None:
        self._options = options
        self._log = log
        self._cancelled = cancelled
        self._stderr = bytearray()
        self._executable = executable or _asked(options, cancelled)
        self._environment = {**options.environment(os.environ), **self._executable.env}
        self._build = dialect.UNKNOWN_BUILD
        if options.gpu_mode != "auto":
            self._build = self._executable.build(cancelled)

    def command(self, port: int) -> list[str]:
        """What to execute. Raises `ShimmyError` (``UNSUPPORTED_ACCEL``), see `dialect`."""
        options = self._options
        return [
            *self._executable.command,
            *dialect.serve_arguments(
                self._executable.version,
                bind=authority(options.host, port),
                model_path=options.model_path,
                model_dirs=options.models_dir,
                gpu_mode=options.gpu_mode,
                build=self._build,
                system=self._executable.system,
                extra=options.args,
            ),
        ]

    def spawn(
        self, port: int, on_output: Callable[[str, bytes], None], on_exit: Callable[[], None]
    ) -> Process:
        """Start the process; it is not healthy yet. Raises `ShimmyError`."""
        command = self.command(port)
        self._log.forget()
        self._stderr.clear()

        def keep(stream: str, data: bytes) -> None:
            self._log.append(data)
            if stream == "stderr":
                self._stderr.extend(data)
                del self._stderr[: -ShimmyProcessDefaults.log_memory]
            on_output(stream, data)

        try:
            return Process(
                command,
                env=self._environment,
                cwd=self._options.working_directory,
                on_output=keep,
                on_exit=on_exit,
            )
        except (*REFUSALS, ValueError, subprocess.SubprocessError) as error:
            raise failures.cannot_spawn(command, self._options, error) from error

    def wait_until_healthy(self, process: Process, port: int) -> str | None:
        """Wait until `process` itself answers ``/health``; returns the version it says.

        Returns None when it was cancelled. Raises `ShimmyError`: ``PORT_IN_USE``,
        ``NO_MODELS``, ``START_FAILED`` when it exited, ``START_TIMEOUT`` or
        ``HEALTHCHECK_FAILED`` when it runs on without being healthy.

        The banner's "Ready to serve requests" proves nothing: it is printed before the server
        binds its port (seen on 2.5.0). Nor does a healthy answer, which may be a stranger's.
        """
        from . import health  # while the server starts, which needs longer

        options = self._options
        deadline = process.started + options.start_timeout
        answer = health.Probe(False, False, "it was not asked yet")
        while process.exit is None:
            if self._cancelled():
                return None
            now = time.monotonic()
            if now >= deadline:
                raise failures.not_healthy(
                    process, options, port, answer.seen, answer.answered, self._log
                )
            last = answer
            answer = health.probe(
                options.host,
                port,
                min(ShimmyProcessDefaults.probe_timeout, deadline - now),
                over=lambda: process.exit is not None or self._cancelled(),
            )
            if last.answered and not answer.answered and time.monotonic() >= deadline:
                answer = last  # the deadline cut this probe short, and it tells less than the last
            if answer.healthy:
                try:
                    stranger = _stranger(process, port)
                except OSError as error:  # no descriptor is left to look with
                    stranger = f"another program ({error})"
                if stranger is None and process.exit is None:
                    return answer.version or self._executable.version
                answer = health.Probe(False, True, f"it was {stranger} that answered as shimmy")
            young = now - process.started < ShimmyProcessDefaults.probe_young
            process.exited.wait(
                ShimmyProcessDefaults.probe_interval
                if young
                else ShimmyProcessDefaults.probe_interval_old
            )
        if self._cancelled():
            return None
        stderr = self._stderr.decode("utf-8", "replace")
        raise failures.exited_early(process, port, stderr, self._log)


def _asked(options: ShimmyProcessOptions, cancelled: Callable[[], bool]) -> Executable:
    from ..executable.identify import bundled_fake, identify

    env = {name: value for name, value in options.env.items() if value is not None}
    if options.shimmy_path is None:
        return bundled_fake(options.fake_version, env)
    return identify(options.shimmy_path, env, cancelled)


def _stranger(process: Process, port: int) -> str | None:
    """Who answers on `port`, in words; None when it is `process` or one of its group."""
    owner = listener(port, likely=process.pid)
    if owner == process.pid or owner is None:
        # None: the system does not say. What is left is that our child lives, and that it would
        # have exited if the port had been taken (seen on 2.5.0).
        return None
    if owner == NOBODY:
        return "a program that does not listen there any more"
    if owner == INVISIBLE:
        return "a process of another user"
    # One of the group: it was started through a wrapper script.
    return None if process.owns(owner) else f"process {owner}"


def open_log(options: ShimmyProcessOptions, cleanup: contextlib.ExitStack) -> Log:
    """The log that `options` ask for; `cleanup` closes it, and removes a temporary one.

    Raises `ShimmyError` (``START_FAILED``) when it cannot be written.
    """
    place = options.log_path
    try:
        if place is None:
            import tempfile

            place = tempfile.gettempdir()
            descriptor, path = tempfile.mkstemp(prefix="shimmy-", suffix=".log", dir=place)
            os.close(descriptor)
            cleanup.callback(Path(path).unlink, missing_ok=True)
        else:
            path = os.fspath(place)
        log = Log(Path(path), ShimmyProcessDefaults.log_memory)
    except (OSError, ValueError) as error:
        raise ShimmyError(
            ShimmyErrorCode.START_FAILED,
            f"the server's log cannot be written to {place or 'a temporary file'}: "
            f"{getattr(error, 'strerror', None) or error}.\n"
            "Choose another place (--shimmy-log-dir), or make room for it.",
            {"log_path": None if place is None else os.fspath(place)},
        ) from error
    cleanup.callback(log.close)
    return log
