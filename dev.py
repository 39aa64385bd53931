#!/usr/bin/env python3
"""Set up and run everything that a developer or a CI job needs; standard library only.

    python3 dev.py demo     run the consumer suite under examples/ on the bundled fake
    python3 dev.py test     run the project's tests, with the real shimmy where it can be had and
                            the locked versions of all else; with --newest: the newest of each
    python3 dev.py lock     lock the newest versions, and print what moved
    python3 dev.py check    ruff and mypy
    python3 dev.py docs     build the documentation in build/site; docs serve: show it while editing
    python3 dev.py shimmy   install the real shimmy that the tests use, and print its path; with a
                            name (2.5.0-default, 1.8.1-default), another one that is recorded
    python3 dev.py clients  install the clients of other people that the tests run, in the cache

Inside a virtual environment everything is installed there; else into .venv, made when missing, so
that it works with a system Python that refuses global installs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCKS = ROOT / "tests" / "locks"
NEWEST = "--newest"
SHIMMY = "2.5.0-cpu-only"
"""What the tests compare with. CPU-only: no GPU or Vulkan is needed, and it is built soonest."""
BUILDS = {
    SHIMMY: ("--no-default-features", "--features", "huggingface"),
    "2.5.0-default": (),
    "1.8.1-default": (),  # llama.cpp: needs cmake, a C++ compiler and libclang
}
"""The releases and builds that are recorded, with cargo's options for each."""
SHIMMY_BUILD_TIMEOUT = 40 * 60
"""Seconds; it takes 2 to 10 minutes on two cores."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "task", choices=["demo", "test", "check", "lock", "docs", "shimmy", "clients"]
    )
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        help="passed on (demo, test); a name (shimmy); serve (docs)",
    )
    chosen = parser.parse_args()
    # Whoever runs this may have any.
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    if chosen.task == "shimmy":
        name = chosen.arguments[0] if chosen.arguments else SHIMMY
        if name not in BUILDS:
            sys.exit(f"no build is called {name!r}; there are: {', '.join(BUILDS)}")
        path = real_shimmy(name)
        print(path or "")
        return 0 if path else 1
    newest = NEWEST in chosen.arguments
    if newest:
        chosen.arguments.remove(NEWEST)
        os.environ["TEST_CLIENTS_NEWEST"] = "1"
    python = environment("demo" if chosen.task == "demo" else "test", newest=newest)
    if chosen.task == "demo":
        return run(python, "-m", "pytest", *chosen.arguments, cwd=ROOT / "examples")
    if chosen.task == "docs":
        return docs(python, *chosen.arguments)
    if chosen.task == "check":
        return check(python)
    if chosen.task == "lock":
        pip(python, "install", "--quiet", "--upgrade", "uv")
        return run(python, "-m", "tests.locks.resolve")
    if chosen.task == "clients":
        return run(python, "-m", "tests.clients.environments")
    return check(python) or test(python, chosen.arguments)


def environment(lock: str, *, newest: bool) -> str:
    """The interpreter of an environment with this project in it, and the packages of a lock file
    or, instead, the newest ones that fit.
    """
    if sys.prefix != sys.base_prefix:
        python = sys.executable
    else:
        directory = ROOT / ".venv"
        scripts = directory / ("Scripts" if os.name == "nt" else "bin")
        python = str(scripts / ("python.exe" if os.name == "nt" else "python"))
        if not Path(python).exists():
            print(f"making a virtual environment in {directory}", flush=True)
            make_venv(directory)
    install = ("install", "--quiet", "--disable-pip-version-check")
    if newest:
        pip(python, *install, "--upgrade", "--editable", f"{ROOT}[test,check]")
    else:
        pip(python, *install, "--require-hashes", "--requirement", str(LOCKS / f"{lock}.txt"))
        # What builds it is locked as well.
        pip(python, *install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    return python


def make_venv(directory: Path) -> None:
    """A virtual environment, with pip where the system's Python comes with it."""
    # Debian packages ensurepip apart from venv.
    venv.create(directory, with_pip=importlib.util.find_spec("ensurepip") is not None)


def pip(python: str, *arguments: str) -> None:
    """Run pip for `python`: its own, or this interpreter's, or uv in pip's place."""
    for command in (
        [python, "-m", "pip"],
        [sys.executable, "-m", "pip", "--python", python],
    ):
        probe = [*command, "--version"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            subprocess.run([*command, *arguments], check=True)
            return
    sys.exit(
        f"no pip: neither {python} nor {sys.executable} has one.\n"
        "Install it with the system's package manager (Debian, Ubuntu: apt install python3-venv)."
    )


def check(python: str) -> int:
    """ruff and mypy."""
    return (
        run(python, "-m", "ruff", "check", ".")
        or run(python, "-m", "ruff", "format", "--check", ".")
        or run(python, "-m", "mypy")
    )


def docs(python: str, task: str = "build", *arguments: str) -> int:
    """The documentation as a site; a warning is an error."""
    # It tells its users of another tool's future.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    return run(python, "-m", "mkdocs", task, "--strict", *arguments)


def test(python: str, arguments: list[str]) -> int:
    """The project's tests; those marked shimmy_real run where the real executable can be had."""
    path = real_shimmy()
    if path is not None:
        arguments = [f"--shimmy-path={path}", *arguments]
    os.environ["TEST_CLIENTS_REQUIRED"] = clients(python)
    # Tests wait more than they compute.
    return run(python, "-m", "pytest", "-n", "auto", "--maxprocesses=4", *arguments)


def clients(python: str) -> str:
    """Make the environments of the client tests where they are missing; the names of those that
    can be had here, and without which tests fail instead of skipping.
    """
    command = [python, "-m", "tests.clients.environments"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip().rpartition("\n")[2]


def real_shimmy(name: str = SHIMMY) -> Path | None:
    """A real shimmy, built by cargo once and cached; None, with the reason printed."""
    root = cache() / f"shimmy-{name}"
    path = root / "bin" / ("shimmy.exe" if os.name == "nt" else "shimmy")
    if path.exists():
        return path
    cargo = shutil.which("cargo")
    if cargo is None:
        print("no real shimmy: there is no cargo to build it with; its tests will be skipped")
        return None
    print(f"building shimmy {name} with cargo, once (minutes)", flush=True)
    release = name.partition("-")[0]
    command = [
        *(cargo, "install", "shimmy", "--version", release, "--locked", "--bin", "shimmy"),
        *(*BUILDS[name], "--root", str(root), "--quiet"),
    ]
    try:
        subprocess.run(command, check=True, timeout=SHIMMY_BUILD_TIMEOUT)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"no real shimmy: {error}; its tests will be skipped")
        return None
    return path


def cache() -> Path:
    """Where built executables stay between runs, outside the checkout."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pytest-shimmy"


def run(*command: str, cwd: Path = ROOT) -> int:
    print("$", *command[1:], flush=True)
    return subprocess.run(command, cwd=cwd, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
