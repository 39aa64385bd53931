"""The first minutes of a new user: what the README says, in a fresh environment.

    python -m tools.first_contact                     the checkout
    python -m tools.first_contact dist/NAME.whl       what is about to be published

Installs the package, writes the README's files in their order and types its commands, up to the
first that shows a passed test. Says how long each step took; exit status 1 where one failed, or all
together took longer than the README may ask for.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dev
from tests.support.pages import blocks

README = dev.ROOT / "README.md"
INSTALL = "pip install pytest-shimmy"
LIMIT = 180.0
"""Seconds."""


class StepFailedError(Exception):
    """A step of the README does not do what it says."""


class Step(NamedTuple):
    what: str
    seconds: float


def walk(package: str, folder: Path, dependencies: Path | None = None) -> Iterator[Step]:
    """Each step when it is done. `dependencies` is a folder of installed packages to use instead
    of those of an index.

    Raises `StepFailedError`.
    """
    if INSTALL not in README.read_text(encoding="utf-8"):
        raise StepFailedError(f"the README does not say {INSTALL!r}")
    begun = time.monotonic()
    python = _install(package, folder / "venv", dependencies)
    yield Step(INSTALL, time.monotonic() - begun)
    project = folder / "project"
    project.mkdir()
    for block in blocks(README):
        begun = time.monotonic()
        if block.name:
            (project / block.name).write_text(block.text, encoding="utf-8")
            yield Step(block.name, time.monotonic() - begun)
        elif block.language == "console":
            command = block.text.splitlines()[0].removeprefix("$ ")
            said = _typed(command, project, python.parent)
            yield Step(command, time.monotonic() - begun)
            if re.search(r"\d+ passed", said):
                return
    raise StepFailedError("the README has no command that shows a passed test")


def _install(package: str, place: Path, dependencies: Path | None) -> Path:
    venv.create(place)  # pip outside it does: to install another one takes longer than the rest
    scripts, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = place / scripts / name
    options = ["--quiet", "--disable-pip-version-check"]
    if dependencies is not None:
        (site,) = place.rglob("site-packages")
        (site / "dependencies.pth").write_text(f"{dependencies}\n")
        options += ["--no-deps", "--no-index"]
    try:
        dev.pip(str(python), "install", *options, package)
    except subprocess.CalledProcessError as error:
        raise StepFailedError(f"{INSTALL} ended with {error.returncode}") from error
    return python


def _typed(command: str, project: Path, path: Path) -> str:
    """What it prints. The commands are those of the environment."""
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        shell=True,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    if done.returncode:
        raise StepFailedError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.first_contact")
    parser.add_argument("package", nargs="?", default=str(dev.ROOT))
    package = parser.parse_args().package
    total = 0.0
    with tempfile.TemporaryDirectory(prefix="first-contact-") as folder:
        try:
            for step in walk(package, Path(folder)):
                total += step.seconds
                print(f"{step.seconds:6.1f} s  {step.what}", flush=True)
        except StepFailedError as error:
            print(error)
            return 1
    print(f"{total:6.1f} s of {LIMIT:g}")
    return 1 if total > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
