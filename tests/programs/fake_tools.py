"""Small fake tools for `AccelDetector`: shell scripts in a folder that is the whole PATH."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytest_shimmy.accel.asking import Platform
from pytest_shimmy.accel.detector import AccelDetector
from pytest_shimmy.accel.probes import DRIVER_LIBRARY, PROBES
from pytest_shimmy.accel.result import AccelDetectorResult

LINUX = Platform("linux", "x86_64")
APPLE_SILICON = Platform("darwin", "arm64")
INTEL_MAC = Platform("darwin", "x86_64")
WINDOWS = Platform("win32", "AMD64")

SMI_ROWS = (
    "0, GPU-1a2b, NVIDIA GeForce RTX 4090, 550.54.14, 24564 MiB",
    "1, GPU-3c4d, NVIDIA GeForce RTX 3060, 550.54.14, 12288 MiB",
)


class Machine:
    """A pretended machine: its tools, its files, its variables. Nothing of the real one is seen,
    not even NVIDIA's driver library."""

    probes = tuple(probe for probe in PROBES if probe.source is not DRIVER_LIBRARY)

    def __init__(self, directory: Path) -> None:
        self.tools = directory / "tools"
        self.root = directory / "root"
        self.environ = {"PATH": str(self.tools)}
        self.tools.mkdir()
        self.root.mkdir()

    def says(self, tool: str, out: str = "", *, err: str = "", status: int = 0) -> None:
        """A tool that prints this and exits."""
        (self.tools / f"{tool}.out").write_text(out)
        (self.tools / f"{tool}.err").write_text(err)
        self.does(tool, f'/bin/cat "$0.out"; /bin/cat "$0.err" >&2; exit {status}')

    def does(self, tool: str, script: str, folder: Path | None = None) -> Path:
        """A tool that does this."""
        path = (folder or self.tools) / tool
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def has(self, path: str, text: str = "") -> None:
        """A file below the root."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def fifo(self, name: str) -> Path:
        """A pipe with a name: who opens it waits for the other side."""
        path = self.tools / name
        os.mkfifo(path)
        return path

    def detect(self, platform: Platform = LINUX, **how: Any) -> AccelDetectorResult:
        return self.detector(platform, **how).detect()

    def detector(self, platform: Platform = LINUX, **how: Any) -> AccelDetector:
        settings = {"timeout": 30.0, "root": self.root, "probes": self.probes, **how}
        return AccelDetector(self.environ, platform, **settings)
