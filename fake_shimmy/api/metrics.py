"""``GET /metrics``, and the search for a GPU that it makes each time.

Strategy: the real one runs vendor tools from ``PATH``, one after the other, and again for the
vendor's name; so does this one, except that other requests go on meanwhile. Where no tool is
there, or a machine is pretended, nothing is started at all. Seen on 2.5.0 CPU-only.
"""

from __future__ import annotations

import os
import sys

from fake_shimmy import machines
from fake_shimmy.api import payloads
from fake_shimmy.wire.steps import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import IO, TypeAlias

    from fake_shimmy.api.context import Context
    from fake_shimmy.wire.head import Head
    from fake_shimmy.wire.steps import Step, Steps

    Probe: TypeAlias = Generator[Step, None, bytes | None]

_VERSION = ("--version",)
_CARDS = ("path", "win32_VideoController", "get", "name")
_TOOLS = ("nvidia-smi", "rocm-smi", "wmic")
_GLANCE = Pause(0.002)
"""How long a running tool is left alone."""


def respond(context: Context, head: Head) -> Steps:
    """The steps that answer."""
    machine = machines.pretended(context.server.environ)
    if machine is not None:
        return (_answer(context, head, machine.vendor is not None, machine.vendor),)
    if not any(map(_is_there, _TOOLS)):
        return (_answer(context, head, False, None),)
    return _after_search(context, head)


def _after_search(context: Context, head: Head) -> Iterator[Step]:
    found = yield from _vendor()
    vendor = yield from _vendor()
    yield _answer(context, head, found is not None, vendor)


def _answer(context: Context, head: Head, detected: bool, vendor: str | None) -> bytes:
    registry = context.registry
    body = payloads.metrics(
        [model.size_bytes for model in registry.discovered.values()],
        len(registry.registered),
        len(context.server.names),
        detected,
        vendor,
        _memory(),
        context.server.timestamp(),
        context.server.release.version,
        context.server.build.features,
    )
    return context.json(head, body)


def _memory() -> tuple[int, int, int]:
    """Available, free and total memory in KiB."""
    with open("/proc/meminfo", "rb") as file:
        rows = dict(line.split(b":", 1) for line in file.read().splitlines())
    available, free, total = (
        int(rows[name].split()[0]) for name in (b"MemAvailable", b"MemFree", b"MemTotal")
    )
    return available, free, total


def _vendor() -> Generator[Step, None, str | None]:
    """The vendor of the GPU that the first willing tool speaks of."""
    if (yield from _run("nvidia-smi", _VERSION)) is not None:
        return "nvidia"
    if (yield from _run("rocm-smi", _VERSION)) is not None:
        return "amd"
    for word, vendor in ((b"radeon", "amd"), (b"intel", "intel")):
        cards = yield from _run("wmic", _CARDS, any_status=True)
        if cards is not None and word in cards.decode("utf-8", "replace").lower().encode():
            return vendor
    return None


def _is_there(name: str) -> bool:
    return any(os.access(f"{folder}/{name}", os.X_OK) for folder in os.get_exec_path())


def _run(name: str, arguments: tuple[str, ...], any_status: bool = False) -> Probe:
    """What the tool prints; empty where it fails or is not there."""
    if not _is_there(name):
        return None
    import subprocess

    try:
        process = subprocess.Popen(
            [name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError:
        return None
    with process:
        pipes = {pipe: b"" for pipe in (process.stdout, process.stderr) if pipe is not None}
        if sys.platform != "win32":
            for pipe in pipes:
                os.set_blocking(pipe.fileno(), False)
        running = list(pipes)
        while running or process.poll() is None:
            running = [pipe for pipe in running if not _is_at_end(pipe, pipes)]
            yield _GLANCE
    printed = pipes[process.stdout] if process.stdout else b""
    return printed if any_status or not process.returncode else None


def _is_at_end(pipe: IO[bytes], read: dict[IO[bytes], bytes]) -> bool:
    """Read on; whether nothing more will come."""
    piece = pipe.read()
    if piece:
        read[pipe] += piece
    return piece == b""
