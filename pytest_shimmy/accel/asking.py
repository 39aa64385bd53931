"""Put one question to a tool or a file, in bounded time and memory. Never raises for an answer.

Strategy: a tool that takes too long or prints too much is stopped. It is asked in the C locale, so
that it answers in English. A tool is looked for on PATH and then where installers put
it without telling PATH (WSL, ROCm, Windows' own directory).
"""

from __future__ import annotations

import contextlib
import os
import platform as platform_module
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..process import command

OUTPUT_LIMIT = 1 << 18
"""Bytes. clinfo, which says most, takes 14 KB for one device."""
LINE_LIMIT = 500
FILE_LIMIT = 4096
FILES_LIMIT = 64

NOT_ON_PATH = {
    "linux": ("usr/local/bin", "usr/bin", "usr/sbin", "opt/rocm/bin", "usr/lib/wsl/lib"),
    "darwin": ("usr/sbin", "usr/bin", "usr/local/bin", "opt/homebrew/bin"),
}
"""Below the root."""
NOT_ON_PATH_WINDOWS = (
    ("SYSTEMROOT", "System32"),
    ("PROGRAMFILES", "NVIDIA Corporation/NVSMI"),
)


class Platform(NamedTuple):
    """System and processor."""

    system: str
    """As in `sys.platform`."""
    processor: str
    """``x86_64``, ``arm64``, …"""

    @classmethod
    def here(cls) -> Platform:
        """This machine's. A Mac's own processor, also for a Python that Rosetta translates."""
        processor = platform_module.machine()
        if sys.platform == "darwin" and "ARM64" in os.uname().version:
            processor = "arm64"
        return cls(sys.platform, processor)


@dataclass(frozen=True)
class Machine:
    """Where the questions are put."""

    environ: Mapping[str, str]
    platform: Platform
    root: Path
    timeout: float


class Tool(NamedTuple):
    """A command; its name is looked up, an absolute path is not."""

    name: str
    arguments: tuple[str, ...] = ()
    label: str = ""
    """What to call it, where the command says little."""

    def __str__(self) -> str:
        return self.label or " ".join((self.name, *self.arguments))


class Files(NamedTuple):
    """Files and device nodes that a driver makes."""

    patterns: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.patterns)


class Known(NamedTuple):
    """Something that is known without asking: a variable, the system."""

    name: str

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = Tool | Files | Known


class Answer(NamedTuple):
    """What came back."""

    machine: Machine
    out: str = ""
    """Standard output, cleaned; of files, each path and, for a regular file, its first line."""
    err: str = ""
    status: int | None = None
    trouble: str = ""
    """Why there is no answer, or only a part of one."""
    absent: bool = False
    """There is no tool to ask."""
    seconds: float = 0.0


def ask(source: Source, machine: Machine) -> Answer:
    """The answer of one source."""
    began = time.monotonic()
    match source:
        case Tool():
            answer = _ask_tool(source, machine)
        case Files():
            lines = "\n".join(_look(source.patterns, machine.root))
            answer = Answer(machine, lines, absent=not lines)
        case Known():
            answer = Answer(machine)
    return answer._replace(seconds=round(time.monotonic() - began, 3))


def _ask_tool(tool: Tool, machine: Machine) -> Answer:
    path, trouble = find(tool.name, machine)
    if path is None:
        return Answer(machine, trouble=trouble or "not on PATH", absent=not trouble)
    try:
        outcome = command.run(
            [path, *tool.arguments],
            env={**machine.environ, "LC_ALL": "C"},
            timeout=machine.timeout,
            limit=OUTPUT_LIMIT,
        )
    except (OSError, ValueError) as error:
        return Answer(machine, trouble=f"cannot be run: {getattr(error, 'strerror', '') or error}")
    out, err = clean(outcome.stdout), clean(outcome.stderr)
    if outcome.cut is not None:
        return Answer(machine, out, err, None, outcome.cut)
    trouble = "" if outcome.exit.signal is None else str(outcome.exit)
    return Answer(machine, out, err, outcome.exit.code, trouble)


_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0e-\x1b\x7f]")


def clean(data: bytes) -> str:
    """Lines that say something, without indentation, colours and other control characters.

    None is so long that searching it takes long.
    """
    lines = _CONTROL.sub("", data.decode("utf-8", "replace")).splitlines()
    return "\n".join(said[:LINE_LIMIT].rstrip() for line in lines if (said := line.strip()))


def find(name: str, machine: Machine) -> tuple[str | None, str]:
    """The path of a tool, or None and what is wrong with the one that is there, if any."""
    if Path(name).is_absolute():
        return name, ""
    file = f"{name}.exe" if machine.platform.system == "win32" else name
    unusable = ""
    for directory in _directories(machine):
        path = str(directory / file)
        if shutil.which(path):
            return path, ""
        if shutil.which(path, mode=os.F_OK):
            unusable = unusable or f"{path} is not executable"
    return None, unusable


def _directories(machine: Machine) -> Iterator[Path]:
    environ, system = machine.environ, machine.platform.system
    # A relative or empty entry of PATH depends on where we are: no place to take programs from.
    for entry in map(Path, environ.get("PATH", "").split(os.pathsep)):
        if entry.is_absolute():
            yield entry
    yield from (machine.root / place for place in NOT_ON_PATH.get(system, ()))
    if system == "win32":
        # There, the names of variables have no case; `os.environ` holds them in capitals.
        upper = {name.upper(): value for name, value in environ.items()}
        for variable, place in NOT_ON_PATH_WINDOWS:
            if base := upper.get(variable):
                yield Path(base, place)


def _look(patterns: tuple[str, ...], root: Path) -> Iterator[str]:
    """Each match as the path below root, with the first line of a regular file."""
    for pattern in patterns:
        with contextlib.suppress(OSError):
            for path in sorted(root.glob(pattern.lstrip("/")))[:FILES_LIMIT]:
                shown, first = f"/{path.relative_to(root).as_posix()}", ""
                if stat.S_ISREG(path.stat().st_mode):
                    with open(path, "rb") as file:
                        first, _, _ = clean(file.read(FILE_LIMIT)).partition("\n")
                yield f"{shown}: {first}" if first else shown
