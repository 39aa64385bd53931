"""Every number of the process harness, in one place. Times are seconds, sizes are bytes."""

from __future__ import annotations

from typing import Final

RUNTIME_DIR_VARIABLE: Final = "PYTEST_SHIMMY_RUNTIME_DIR"
"""Names the directory where processes of one user meet (see `runtime_dir`). It is no setting."""


class ShimmyProcessDefaults:
    """Defaults of `ShimmyProcessManager`. Constants: change a run through its options."""

    bind_host: Final = "127.0.0.1"
    """Address the server listens on. shimmy takes an IP address only (seen on 2.5.0)."""

    port_range: Final = range(22435, 26435)
    """Ports to lease from: below every system's ephemeral range (Linux 32768+, others 49152+)
    and clear of 11435-11535, where shimmy's own ``--bind auto`` looks (seen on 2.5.0)."""

    start_timeout_fake: Final = 30.0
    """From spawn to healthy, bundled fake."""
    start_timeout_real: Final = 120.0
    """From spawn to healthy, real executable."""

    warm_up_timeout: Final = 300.0
    """The first answer, with which a model is loaded."""

    probe_interval: Final = 0.002
    """Pause between health probes while a start is young. Flat, because a growing back-off is
    coarsest exactly when the server becomes ready."""
    probe_young: Final = 5.0
    """How long a start counts as young."""
    probe_interval_old: Final = 0.05
    """Pause between health probes after that."""
    probe_timeout: Final = 2.0
    """One health probe, from connect to the last byte."""

    max_restarts: Final = 3
    """Automatic restarts after unexpected exits, over the manager's life. 0 means none."""
    restart_backoff: Final = 0.1
    """Pause before the first restart; doubles with each further one."""
    restart_backoff_max: Final = 5.0
    """Upper bound of that pause."""

    stop_grace: Final = 1.0
    """From SIGTERM to SIGKILL. shimmy ends at the first at once, in the middle of whatever it does
    (seen on 2.5.0 and 1.8.1); only one that hangs takes longer."""

    version_timeout: Final = 10.0
    """``shimmy --version`` and other questions that an executable answers without a model."""

    accel_timeout: Final = 10.0
    """For one tool that `AccelDetector` asks. nvidia-smi takes seconds when it has to wake several
    GPUs."""
    accel_end_timeout: Final = 2.0
    """For such a tool to end once it is killed. One that waits inside a hung driver does not."""

    port_attempts: Final = 10
    """Ports to try in turn when the server finds them taken by strangers."""
    listener_timeout: Final = 5.0
    """How long `ensure_ready` and `stop` wait for listeners that are still busy."""

    log_memory: Final = 64 * 1024
    """How much of the newest server output is kept in memory; the file has all of it."""
    log_tail_lines: Final = 40
    """How many lines of it an error message shows."""
    log_section: Final = 16 * 1024
    """How much of the server log a failing test's report carries."""

    keeper_timeout: Final = 20.0
    """From spawning a keeper to its first word; it takes about 0.1 s on an idle machine."""
    answer_timeout: Final = 15.0
    """For an answer of the keeper, which has nothing else to do; one that is stopped gives none."""
    lock_timeout: Final = 60.0
    """Waiting for another process that is just starting the server we want to share."""
    gpu_timeout: Final = 600.0
    """Waiting for the GPU, where each worker has a server of its own and one of them uses it."""
