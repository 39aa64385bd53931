"""Reading what a server wrote, which may be gigabytes."""

from __future__ import annotations

from ..errors import REFUSALS, ShimmyErrorCode, system_refused
from ..real_files import real_files

_CONTINUATION = bytes(range(0x80, 0xC0))
"""What the second and every further byte of a character is, in UTF-8."""


def part_of_log(path: str, end: int, offset: int, limit: int | None = None) -> tuple[str, int]:
    """The log at `path` from `offset` to `end`, or the newest `limit` bytes of that, and how many
    came before.

    A server can write gigabytes: what is left out is not read. Raises `ShimmyError`.
    """
    size = max(0, end - offset)
    left_out = 0 if limit is None else max(0, size - limit)
    try:
        with real_files(), open(path, "rb", buffering=0) as log:
            log.seek(offset + left_out)
            data = log.read(size - left_out)
    except REFUSALS as error:
        what = f"the server's log {path} cannot be read"
        raise system_refused(what, error, ShimmyErrorCode.CONTROL_FAILED) from error
    if left_out:  # the cut may be within a character
        data = data.lstrip(_CONTINUATION)
    return data.decode("utf-8", "replace"), left_out
