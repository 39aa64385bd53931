"""The one error model: every failure of every part is a `ShimmyError` with a code.

A message answers three questions in this order: what happened, where we looked, what to do.
Errors cross process boundaries (keeper to test process, xdist worker to controller), so they
pickle whole and have a JSON form.
"""

# No annotations as text: every keeper loads this, see CONTRIBUTING.

import contextlib
import errno
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, TypedDict, TypeGuard

from . import masking


class ShimmyErrorCode(StrEnum):
    """Why something failed. The values are stable: compare with them, not with messages."""

    BINARY_NOT_FOUND = "BINARY_NOT_FOUND"
    """There is no executable at the path, or of that name on PATH; or the fake does not imitate
    the release or build."""
    BINARY_NOT_EXECUTABLE = "BINARY_NOT_EXECUTABLE"
    """There is something at that path, but the system cannot execute it."""
    BINARY_NOT_SHIMMY = "BINARY_NOT_SHIMMY"
    """It runs, but its answer to ``--version`` is not shimmy's."""
    PORT_IN_USE = "PORT_IN_USE"
    """No free port was found."""
    START_FAILED = "START_FAILED"
    """The server could not be started, or exited before it was healthy."""
    START_TIMEOUT = "START_TIMEOUT"
    """The server was started, but did not answer health checks in time."""
    HEALTHCHECK_FAILED = "HEALTHCHECK_FAILED"
    """A server did not answer the plugin's own request (connection refused, time-out), or did not
    answer as the shimmy that was started or is attached to."""
    CRASHED = "CRASHED"
    """The server exited by itself after it had been ready."""
    RESTARTS_EXHAUSTED = "RESTARTS_EXHAUSTED"
    """The server died more often than ``max_restarts`` allows."""
    NO_MODELS = "NO_MODELS"
    """The server, or the executable, found no model to serve."""
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    """The server, or the executable, does not have the model that was asked for."""
    LIST_FAILED = "LIST_FAILED"
    """The executable's list of models could not be read."""
    DOWNLOAD_FAILED = "DOWNLOAD_FAILED"
    """A model could not be fetched, or shimmy does not list it afterwards."""
    UNSUPPORTED_ACCEL = "UNSUPPORTED_ACCEL"
    """The GPU backend that was asked for is not available, or this build cannot load the model on
    this machine."""
    LOCK_TIMEOUT = "LOCK_TIMEOUT"
    """A lock could not be taken: another process held it for too long, or there is no directory
    for locks."""
    CONTROL_FAILED = "CONTROL_FAILED"
    """A helper process (the keeper, the recorder, the fake's remote control) could not be started
    or reached, or can no longer do what it is asked."""
    USAGE_ERROR = "USAGE_ERROR"
    """A method was called with an invalid value, or on a server for which it is not available;
    the error is also a ``ValueError``."""
    VERIFY_FAILED = "VERIFY_FAILED"
    """``verify`` found nothing to compare with, or a recording could not be read, made or
    written."""
    STREAM_STALLED = "STREAM_STALLED"
    """A stream exceeded the limits that ``limited`` or ``agent run`` was given."""
    ANSWER_FAILED = "ANSWER_FAILED"
    """The server refused a request to generate (of ``agent run`` or the warm-up), or its answer is
    broken, empty or cut off."""
    ACCESS_DENIED = "ACCESS_DENIED"
    """The server wants an API key that it was not given, or refuses every caller (403)."""
    CASSETTE_INVALID = "CASSETTE_INVALID"
    """A cassette, or ``cassettes.toml``, cannot be read or written."""
    CASSETTE_SECRET = "CASSETTE_SECRET"
    """A secret was found in a cassette that was to be written, so it was not written."""
    REPORT_UNREADABLE = "REPORT_UNREADABLE"
    """The file is not a run report."""
    CLIENT_MISSING = "CLIENT_MISSING"
    """A package that is needed for this (``openai``, ``huggingface_hub``, ``shtab``) is not
    installed."""


def is_ours(caught: Any) -> bool:
    """Whether what a test caught (pytest's `ExceptionInfo`) is an error of this module.

    A module whose `__tracebackhide__` is this one is left out of such an error's traceback: its
    message says what happened, and our own lines would tell its reader nothing.
    """
    return isinstance(caught.value, ShimmyError | UnknownArgumentError)


class ShimmyErrorJson(TypedDict):
    """A `ShimmyError` as JSON values."""

    code: str
    """A `ShimmyErrorCode`."""
    message: str
    """What happened, where we looked, what to do."""
    details: dict[str, Any]
    """Facts for programs; which ones depends on the code."""


def is_shimmy_error_json(value: object) -> TypeGuard[ShimmyErrorJson]:
    """Whether `value` is what `ShimmyError.to_json` makes, and `ShimmyError.from_json` reads.

    For what came from another program. Within Python, ``isinstance(error, ShimmyError)`` tells,
    also of errors from other processes: they pickle.
    """
    return (
        isinstance(value, dict)
        and value.get("code") in [*ShimmyErrorCode]
        and isinstance(value.get("message"), str)
        and isinstance(value.get("details"), dict)
    )


class ShimmyError(Exception):
    """A failure with a stable `code`, a readable `message` and machine-readable `details`.

    `details` holds JSON values only. Neither they nor the message have secrets (see `masking`).
    """

    def __init__(
        self, code: ShimmyErrorCode, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        message = masking.printable(masking.masked(message))
        self.details: dict[str, Any] = masking.masked_values(details or {})
        """Facts for programs; which ones depends on the code."""
        super().__init__(code, message, self.details)
        self.code = code
        """Stable from release to release."""
        self.message = message
        """What happened, where we looked, what to do."""

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"

    def to_json(self) -> ShimmyErrorJson:
        """The error as JSON values; `from_json` is the way back."""
        return {"code": str(self.code), "message": self.message, "details": self.details}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ShimmyError":
        code = ShimmyErrorCode(data["code"])
        kind = ShimmyUsageError if code is ShimmyErrorCode.USAGE_ERROR else ShimmyError
        return kind(code, data["message"], data.get("details"))


class ShimmyUsageError(ShimmyError, ValueError):
    """An invalid call (``USAGE_ERROR``). The caller has to change it, so it is a `ValueError` as
    well."""


class UnknownArgumentError(TypeError):
    """An argument, or a setting, of a name that there is not."""


def misused(message: str) -> ShimmyUsageError:
    """The error for an invalid call."""
    return ShimmyUsageError(ShimmyErrorCode.USAGE_ERROR, message)


REFUSALS = (OSError, MemoryError, ImportError)
"""What Python raises when the system refuses something. `ImportError`, too: a module that is
loaded when it is first needed needs a descriptor."""

_ADVICE = {
    errno.EMFILE: "Raise this process's limit of open files (ulimit -n).",
    errno.ENFILE: "The whole machine has too many open files: look for what holds them.",
    errno.EAGAIN: "Raise the limit of processes and threads (ulimit -u; in a container, its pids "
    "limit), or run fewer of them.",
    errno.ENOMEM: "Free some memory, or raise the limit (ulimit -v; in a container, its own).",
    errno.ENOSPC: "Make room on that device: for blocks, or for inodes (df, df -i).",
    errno.EDQUOT: "Your quota on that device is used up.",
    errno.ENAMETOOLONG: "Choose a shorter name: most systems allow 255 bytes.",
    errno.EACCES: "Look at the permissions of that path, and at this user's umask.",
    errno.ENOENT: "Find out what removed it (a cleaner of temporary files?), or make it.",
    errno.EROFS: "Choose a place that can be written.",
    errno.EFBIG: "Raise the limit of file sizes (ulimit -f).",
}


def lacks_resources(error: BaseException) -> bool:
    """Whether it is for want of something that there is only so much of."""
    if isinstance(error, OSError):
        return error.errno in (
            errno.EMFILE,
            errno.ENFILE,
            errno.EAGAIN,
            errno.ENOMEM,
            errno.ENOBUFS,
            errno.ENOSPC,
        )
    return isinstance(error, MemoryError | ImportError)


def system_refused(
    what: str, error: BaseException, code: ShimmyErrorCode = ShimmyErrorCode.START_FAILED
) -> ShimmyError:
    """The system refused something that `what`, a clause, needed."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    advice = _ADVICE.get(number or 0, "Look at the limits and permissions of this user.")
    reason = str(error) or type(error).__name__
    return ShimmyError(code, f"{what}: {reason}.\n{advice}", {"errno": number})


@contextlib.contextmanager
def refusals_reported(
    what: str, code: ShimmyErrorCode = ShimmyErrorCode.START_FAILED
) -> Iterator[None]:
    """Raise `system_refused` where the system refuses something inside."""
    try:
        yield
    except REFUSALS as error:
        raise system_refused(what, error, code) from error
