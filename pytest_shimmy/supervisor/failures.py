"""What a server that did not come up, or did not stay up, is reported as."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence

from .. import masking
from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode, lacks_resources, system_refused
from ..events import Crash
from ..executable import dialect
from ..options import ShimmyProcessOptions
from ..process.command import as_typed
from ..process.log import Log
from ..process.process import Process

GIVE_MODELS = (
    "Give it models: --shimmy-models-dir=DIRECTORY, or --shimmy-model=FILE; or have a tiny one "
    "generated: --shimmy-tiny-model."
)


def cannot_spawn(
    command: Sequence[str], options: ShimmyProcessOptions, error: Exception
) -> ShimmyError:
    """The system refused to execute it."""
    where = f" in {options.cwd}" if options.cwd is not None else ""
    if lacks_resources(error):
        return system_refused(f"{command[0]} could not be started{where}", error)
    return ShimmyError(
        ShimmyErrorCode.START_FAILED,
        f"{command[0]} could not be started{where}: {error}.\n"
        "Check the executable, its arguments (--shimmy-args) and the working directory.",
        {"command": list(command)},
    )


def exited_early(process: Process, port: int, stderr: str, log: Log) -> ShimmyError:
    """It exited before it was healthy; what it wrote on stderr tells the known reasons apart."""
    assert process.exit is not None
    elapsed = time.monotonic() - process.started
    message = (
        f"the server exited {elapsed:.2f} s after its start, before it was healthy: "
        f"{process.exit}.\n{_what_ran(process)}\n{_output(log)}"
    )
    code = ShimmyErrorCode.START_FAILED
    if dialect.address_in_use(stderr):
        code = ShimmyErrorCode.PORT_IN_USE
        message = f"port {port} was taken by another program.\n{message}"
    elif dialect.no_models(stderr):
        code = ShimmyErrorCode.NO_MODELS
        message += f"\n{GIVE_MODELS}"
    return ShimmyError(
        code,
        message,
        {
            "exit_code": process.exit.code,
            "signal": process.exit.signal,
            "elapsed": elapsed,
            "command": list(process.command),
            "log_tail": log.newest(),
        },
    )


def not_healthy(
    process: Process,
    options: ShimmyProcessOptions,
    port: int,
    seen: str,
    answered: bool,
    log: Log,
) -> ShimmyError:
    """It ran, but was not healthy in time. `seen` is what the last probe saw, in words."""
    advice = "If it only needs longer: --shimmy-start-timeout=SECONDS."
    if os.strerror(errno.ENETUNREACH) in seen:
        advice = (
            f"The network interface that has {options.host} seems to be down: look at "
            "`ip address`, and for the loopback one, `ip link set lo up`."
        )
    return ShimmyError(
        ShimmyErrorCode.HEALTHCHECK_FAILED if answered else ShimmyErrorCode.START_TIMEOUT,
        f"the server was not healthy {options.start_timeout:g} s after its start, and was "
        f"stopped. The last health check of {options.host}:{port}: {seen}.\n{_what_ran(process)}\n"
        f"{_output(log)}\n{advice}",
        {
            "port": port,
            "timeout": options.start_timeout,
            "last_probe": seen,
            "command": list(process.command),
            "log_tail": log.newest(),
        },
    )


def crashed(crash: Crash, log: Log) -> ShimmyError:
    """It exited by itself after it had been ready."""
    return ShimmyError(
        ShimmyErrorCode.CRASHED,
        f"the server, process {crash.pid}, died: {crash.exit}.\n{_output(log)}",
        {
            "pid": crash.pid,
            "exit_code": crash.exit.code,
            "signal": crash.exit.signal,
            "log_tail": log.newest(),
        },
    )


def restarts_exhausted(
    options: ShimmyProcessOptions, crashes: Sequence[Crash], last: ShimmyError | None, log: Log
) -> ShimmyError:
    """It died once more than the limit allows; `last` is how the last restart failed, if so."""
    deaths = ", ".join(f"pid {crash.pid} {crash.exit}" for crash in crashes)
    return ShimmyError(
        ShimmyErrorCode.RESTARTS_EXHAUSTED,
        f"the server died ({deaths}); restarts allowed: {options.max_restarts}.\n"
        + (f"The last restart failed: {last}" if last is not None else _output(log))
        + "\nFind out what kills it; --shimmy-max-restarts changes the limit.",
        {
            "max_restarts": options.max_restarts,
            "exits": [str(crash.exit) for crash in crashes],
            "log_tail": log.newest(),
        },
    )


def _what_ran(process: Process) -> str:
    return f"Command: {as_typed(process.command)}"


def _output(log: Log) -> str:
    lines = log.newest().splitlines()
    shown = lines[-ShimmyProcessDefaults.log_tail_lines :]
    if not shown:
        return "It wrote nothing."
    which = "It wrote" if len(shown) == len(lines) else f"The last {len(shown)} lines it wrote"
    quoted = masking.quoted("\n".join(shown)).split("\n")
    return f"{which}:\n" + "\n".join(f"  {line}" for line in quoted)
