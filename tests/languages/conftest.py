"""The fake as other languages have it: the single file, and the package of npm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import demand
from tools import distribution, pyz

ROOT = Path(__file__).parents[2]
LONG = 120.0
"""Seconds; a compiler and its linker come first."""

Command = Callable[..., str]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the single file."""
    folder = tmp_path_factory.mktemp("built")
    pyz.build(folder / distribution.PYZ)
    return folder


@pytest.fixture(scope="session")
def packed(built: Path) -> Path:
    """The package of npm, as it is published."""
    needs("npm")
    package = distribution.build_npm(built)
    assert package is not None
    return package


@pytest.fixture(scope="session")
def installed(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which it is installed, without any registry."""
    folder = tmp_path_factory.mktemp("installed")
    command = ["npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", str(packed)]
    subprocess.run(command, cwd=folder, check=True, timeout=LONG)
    return folder


@pytest.fixture(scope="session")
def example(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example for Node, compiled, with the package as it is published instead of a link."""
    demand(environments.EXAMPLE)
    folder = tmp_path_factory.mktemp("example") / "node"
    shutil.copytree(
        ROOT / "examples" / "node", folder, ignore=shutil.ignore_patterns("node_modules", "build")
    )
    modules = folder / "node_modules"
    modules.mkdir()
    made = environments.directory(environments.EXAMPLE) / "examples" / "node" / "node_modules"
    for path in made.iterdir():
        if path.name != "fake-shimmy":
            (modules / path.name).symlink_to(path)
    (modules / "fake-shimmy").symlink_to(installed / "node_modules" / "fake-shimmy")
    for path in (ROOT / "packaging" / "npm" / "test").glob("*.ts"):
        (folder / "src" / path.name).write_text(path.read_text())
    compiler = ["node", "node_modules/typescript/bin/tsc"]
    done = subprocess.run(compiler, cwd=folder, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout
    return folder


def needs(program: str) -> str:
    """The path of a program; the test is skipped where there is none."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"there is no {program} on the PATH")
    return path


GO_CACHE = Path.home() / ".cache" / "go-build"
"""Of the person who runs the tests, which have another HOME: to compile anew takes long."""


@pytest.fixture
def run() -> Command:
    """Run a command of another language, and get what it prints; it must succeed."""

    def run(*command: str | Path, cwd: Path, **environ: str) -> str:
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env={**os.environ, "GOCACHE": str(GO_CACHE), **environ},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=LONG,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = error.stdout or b""
            pytest.fail(f"{command} did not end in {LONG} s; it said:\n{said.decode()}")
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run
