"""Writing to stdout and stderr as a Rust program does.

Strategy: each line is one blocking ``write`` of UTF-8, whatever the locale and whatever stdout
is, so a reader sees it at once and a pipe that nobody reads stops the process as it stops the real
one.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def out(text: str) -> None:
    """Print a line to stdout; a closed stdout is a panic, as with ``println!``."""
    try:
        _write(1, text)
    except OSError as error:
        from fake_shimmy import rust

        reason = f"failed printing to stdout: {rust.os_error(error)}"
        panic(reason, "library/std/src/io/stdio.rs:1165:9")


def err(text: str) -> None:
    """Print a line to stderr; nobody hears of a failure."""
    with suppress(OSError):
        _write(2, text)


def log(text: str) -> None:
    """Write a log line to stdout; a failure is told on stderr."""
    try:
        _write(1, text)
    except OSError as error:
        from fake_shimmy import rust

        err(
            "[tracing-subscriber] Unable to write an event to the Writer for this Subscriber! "
            f"Error: {rust.os_error(error)}\n"
        )


def panic(reason: str, place: str) -> None:
    """End as a Rust program does that panicked on its main thread."""
    err(
        f"\nthread 'main' ({os.getpid()}) panicked at {place}:\n{reason}\n"
        "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"
    )
    sys.exit(101)


def _write(descriptor: int, text: str) -> None:
    data = memoryview((text + "\n").encode("utf-8", "surrogateescape"))
    while data:
        data = data[os.write(descriptor, data) :]
