"""What all measurements share: how often, where, with which executables; and the tidying up."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fake_shimmy.models import tiny_gguf
from pytest_shimmy import ShimmyProcessOptions

TINY_MODEL = (2).to_bytes(8, "little") + b"{}"
"""The smallest SafeTensors file: a header of two bytes and no tensors."""

PATIENCE = 120.0
"""Seconds until a program that was started for a measurement is given up."""


class Bench:
    """One run of the benchmarks, in a directory of its own."""

    def __init__(self, directory: Path, quick: bool, shimmy_path: str | None) -> None:
        self.directory = directory
        self.quick = quick
        self.shimmy_path = shimmy_path
        self.models = directory / "models"
        self.home = directory / "empty"
        for path in (self.models, self.home):
            path.mkdir()
        (self.models / "tiny.safetensors").write_bytes(TINY_MODEL)
        self.gguf = directory / "placeholder.gguf"
        # Default builds since 2.6 refuse a file that they could not load.
        self.gguf.write_bytes(tiny_gguf.contents())

    def rounds(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def subdirectory(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir()
        return path

    def options(self, real: bool) -> ShimmyProcessOptions:
        """For the fake, or for the real executable, which then sees our tiny model only."""
        if not real:
            return ShimmyProcessOptions(model_path=self.gguf, cwd=self.home)
        return ShimmyProcessOptions(
            shimmy_path=self.shimmy_path,
            models_dir=self.models,
            cwd=self.home,
            env={"HOME": str(self.home)},
        )


@contextlib.contextmanager
def workplace(quick: bool, shimmy_path: str | None) -> Iterator[Bench]:
    """A temporary directory in which nothing that was started outlives the run."""
    directory = Path(tempfile.mkdtemp(prefix="shimmy-bench-"))
    # Locks and keepers of other runs on this machine are none of our business, nor ours theirs;
    # and whatever inherits the variable is recognised as ours in the end.
    runtime = directory / "runtime"
    before = dict(os.environ)
    for name in before:
        # Settings of the person at the keyboard would change what is measured; without byte code,
        # pytest compiles every plugin anew in every run.
        if name.startswith(("PYTEST_", "FAKE_SHIMMY_")) or name == "PYTHONDONTWRITEBYTECODE":
            del os.environ[name]
    os.environ["PYTEST_SHIMMY_RUNTIME_DIR"] = str(runtime)
    try:
        yield Bench(directory, quick, shimmy_path)
    finally:
        for line in _end_leftovers(str(runtime)):
            print(f"left running, and ended now: {line}", file=sys.stderr)
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(directory, ignore_errors=True)


def _end_leftovers(runtime: str) -> list[str]:
    """End processes that inherited our runtime directory (Linux; elsewhere nothing is seen)."""
    marker = f"PYTEST_SHIMMY_RUNTIME_DIR={runtime}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
                os.kill(pid, 9)
    return found


@contextlib.contextmanager
def running(
    command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, however that comes. Its output is not looked at."""
    process = subprocess.Popen(
        command,
        env=None if env is None else {**os.environ, **env},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def not_installed(distribution: str) -> str:
    return f"{distribution} is not installed (pip install -r benchmarks/requirements.txt)"


NO_REAL = "no real executable given (--shimmy-path)"
