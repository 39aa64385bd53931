"""The first answer of a server, before any test: it loads the model.

shimmy loads a model at the first request for it, which takes minutes for a large one, and the time
would be that of the test that happens to come first. Of all processes that share the server one
asks, and writes down how it went; the others wait for that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..process.file_lock import FileLock, LockedError

WAITING_SHOWN = 3.0
"""Seconds between two signs of life to a person who waits."""
LOG_LINES = 12
"""Of the server's log, in the error."""


class WarmUp(NamedTuple):
    """How it went."""

    model: str
    pid: int | None
    """The server that answered; its successor has loaded nothing."""
    seconds: float


def warmed_up(
    directory: Path,
    model: str,
    pid: int | None,
    generate: Callable[[float, Callable[[], None]], bool],
    show: Callable[[str], None],
    log: Callable[[], str] = lambda: "",
) -> WarmUp:
    """Have one token of `model` generated, unless another process has; `directory` is the server's.

    ``generate(timeout, waiting)`` says whether that worked, and calls ``waiting()`` meanwhile.
    `show` hears of a wait that takes long, `log` is what the server has written. Raises
    `ShimmyError` (``ANSWER_FAILED``), in each process the same.
    """
    limit = ShimmyProcessDefaults.warm_up_timeout
    begin = time.monotonic()
    shown = begin

    def waiting() -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= WAITING_SHOWN:
            shown = now
            show(f"loading the model {model!r} ({now - begin:.0f} s so far)")

    lock = FileLock(directory / "warm-up.lock")
    record = directory / "warm-up.json"
    while True:
        try:
            lock.acquire(timeout=1.0)
            break
        except LockedError:
            waiting()
            if time.monotonic() - begin > 2 * limit:
                why = f"another process of this run waits for its answer for over {limit:g} s"
                raise _failed(model, why) from None
    try:
        if record.exists():
            return _recorded(record)
        started = time.monotonic()
        try:
            worked = generate(limit, waiting)
            why = "" if worked else "it did not answer with 200"
        except ShimmyError as error:
            why = error.message
        if why and (said := log().splitlines()[-LOG_LINES:]):
            why += "\nThe end of its log:\n" + "\n".join(f"  {line}" for line in said)
        warm_up = WarmUp(model, pid, time.monotonic() - started)
        record.write_text(json.dumps({**warm_up._asdict(), "failed": why}), encoding="utf-8")
        return _recorded(record)
    finally:
        lock.release()


def recorded(directory: Path) -> WarmUp | None:
    """That of the server with this directory, if it was warmed up."""
    try:
        return _recorded(directory / "warm-up.json")
    except (OSError, ValueError, ShimmyError):
        return None


def _recorded(record: Path) -> WarmUp:
    data = json.loads(record.read_text(encoding="utf-8"))
    why = data.pop("failed")
    if why:
        raise _failed(data["model"], why)
    return WarmUp(**data)


def _failed(model: str, why: str) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.ANSWER_FAILED,
        f"the warm-up failed: the server does not generate with the model {model!r}: {why}\n"
        "Choose another model (--shimmy-model, --shimmy-tiny-model), or run the "
        "tests without it (--no-shimmy-warm-up).",
        {"model": model},
    )
