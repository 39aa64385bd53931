"""Wait for the end of a child, and notice it at once."""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import contextlib
import os
import select
import subprocess
import sys


def wait_for_end(process: "subprocess.Popen[bytes]", timeout: float) -> None:
    """Wait for the end of a child of this process, at most `timeout` seconds.

    `Popen.wait` with a time limit sleeps between two looks, longer and longer. Raises
    `subprocess.TimeoutExpired`.
    """
    if sys.platform == "linux" and process.poll() is None:
        with contextlib.suppress(OSError):  # a kernel that has none, or no descriptor is left
            end = os.pidfd_open(process.pid)
            try:
                poll = select.poll()
                poll.register(end, select.POLLIN)
                poll.poll(1000 * timeout)
                timeout = 0.0
            finally:
                os.close(end)
    process.wait(timeout)
