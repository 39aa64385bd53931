"""Writing to stdout and stderr as a Rust program does.

Strategy: each line is one blocking ``write`` of UTF-8, whatever the locale and whatever stdout
is, so a reader sees it at once and a full pipe stops the process as it stops the real
one.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress


def out(text: str) -> None:
    """Print a line to stdout; a stdout that takes nothing is a panic, as with ``println!``."""
    try:
        _write(1, text + "\n")
    except OSError as error:
        from fake_shimmy import rust
        from fake_shimmy.rust.backtrace import Panic

        raise Panic(
            f"failed printing to stdout: {rust.os_error(error)}",
            "library/std/src/io/stdio.rs:1165:9",
            ("std::io::stdio::_print",),
        ) from None


def err(text: str) -> None:
    """Print a line to stderr; a failure is ignored."""
    show(2, text + "\n")


def show(descriptor: int, text: str) -> None:
    """Write ``text`` as it is; a failure is ignored."""
    with suppress(OSError):
        _write(descriptor, text)


def log(text: str) -> None:
    """Write a log line to stdout; a failure is told on stderr."""
    try:
        _write(1, text + "\n")
    except OSError as error:
        from fake_shimmy import rust

        err(
            "[tracing-subscriber] Unable to write an event to the Writer for this Subscriber! "
            f"Error: {rust.os_error(error)}\n"
        )


def open_missing() -> None:
    """Open what is closed of stdin, stdout and stderr, so that no other file takes its place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                os.open(os.devnull, os.O_RDWR)


def _write(descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(descriptor, data) :]
