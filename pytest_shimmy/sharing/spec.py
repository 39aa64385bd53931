"""What a launcher tells a keeper to do: all that the process which needs a server knows of keepers.

The keeper itself is another program, and a test process loads none of it.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

from typing import Any, NamedTuple

from ..errors import ShimmyError, ShimmyErrorCode
from . import sockets


class KeeperSpec(NamedTuple):
    """What the launcher says first, on the connection that the keeper is born with."""

    directory: str
    """The keeper's own: made and removed by it. Beside it, ``<directory>.lock`` is held."""
    environment: dict[str, str]
    """The launcher's, as it is now."""
    logs: str
    """Where the log goes when it is to be kept and `log_kept_anyway` is false."""
    log_kept_anyway: bool
    """The log's path was chosen by the user."""
    files: dict[str, str]
    """Files to make, in the directory; see `packed`."""
    token: str
    launcher_alone: bool
    """The launcher alone holds the server, even when others join."""
    anchor: tuple[sockets.Address, str] | None
    """Address and token. If there is one, it alone holds the server."""
    options: dict[str, Any]
    executable: dict[str, Any] | None
    """The one that the options mean, where the launcher knows it."""
    events: str | None = None
    """File in which the server's life is written down, for a report of the run."""
    recorder: dict[str, Any] | None = None
    """What stands in front of the server, if anything: the server's key (``server_key``), whether
    it knows the keys of test processes itself (``knows_keys``), as the fake does, and the address
    of an attached server (``upstream``), which is not started then."""


def run_is_over() -> ShimmyError:
    """The process that would hold the server is gone."""
    return ShimmyError(
        ShimmyErrorCode.CONTROL_FAILED,
        "the run is over: the pytest process that was started first (with xdist: the controller) "
        "has ended or was killed, so no server is started.\nStart the run again.",
    )
