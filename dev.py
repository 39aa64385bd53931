#!/usr/bin/env python3
"""Set up and run everything that a developer or a CI job needs; standard library only.

    python3 dev.py demo     run the consumer suite under examples/ on the bundled fake
    python3 dev.py test     run the project's tests, with real shimmys where they can be had and
                            the locked versions of all else
        --fast              only those that are not marked slow, on the bundled fake: a minute
        --newest            with the newest version of everything instead of the locked one
        --coverage          measure and print the coverage as well, which takes a fifth longer
    python3 dev.py check    ruff, and mypy for each system
    python3 dev.py lock     lock the newest versions, and print what moved
    python3 dev.py adopt X  record release X of shimmy, draft its row, say what is left for a person
    python3 dev.py packages install the Debian packages that some tests need; needs root
    python3 dev.py docs     build the documentation in build/site; docs serve: show it while editing
    python3 dev.py build    build the wheel, the sdist, fake-shimmy.pyz and the package of npm in
                            dist/, and check them
    python3 dev.py shimmy   install the real shimmy that the tests use, and print its path; with a
                            name (2.6.5-default, 2.5.0-cpu-only), another one that is recorded
    python3 dev.py clients  install the clients of other people that the tests run, in the cache

Inside a virtual environment everything is installed there; else into .venv, made when missing, so
that it works with a system Python that refuses global installs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCKS = ROOT / "tests" / "locks"
TASKS = (
    *("demo", "test", "check", "lock", "adopt", "packages", "docs", "build", "shimmy", "clients"),
)
FAST, NEWEST, COVERAGE = "--fast", "--newest", "--coverage"
NO_GPU_ENGINE = "--no-default-features"
BUILDS = {
    "2.6.5-cpu-only": (NO_GPU_ENGINE,),
    "2.6.5-default": (),
    "2.5.0-cpu-only": (NO_GPU_ENGINE, "--features", "huggingface"),
    "2.5.0-default": (),
    "1.8.1-default": (),  # llama.cpp: needs cmake, a C++ compiler and libclang
}
"""The releases and builds that are recorded, with cargo's options for each."""
SHIMMY, *OTHER_SHIMMYS = "2.6.5-cpu-only", "2.6.5-default", "2.5.0-cpu-only"
"""What all tests run with, and with what those marked shimmy_real are repeated."""
SHIMMY_BUILD_TIMEOUT = 40 * 60
"""Seconds; it takes 2 to 10 minutes on two cores, and less for the second in a row."""
PACKAGES = {
    # The default build of 2.6.5 generates on a software OpenGL or Vulkan.
    "libegl1": "a default build",
    "libgl1-mesa-dri": "a default build",
    "libvulkan1": "a default build",
    "mesa-vulkan-drivers": "a default build",
    "chromium": "a web front end",
}
"""Debian's packages, and the tests of what are skipped without them."""
SYSTEMS = ("linux", "darwin", "win32")
CORES = os.cpu_count() or 1
WORKERS = min(6, 3 * CORES)
"""Slow tests wait more than they compute."""
SHARED = ("--dist", "worksteal")
"""A file's tests mostly stay with one worker, which sets up what they share once; who is done early
takes some of another's."""
NO_TESTS = 5
"""pytest's exit status where no test was selected."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "task",
        choices=TASKS,
    )
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        help="passed on (demo, test, build); a release (adopt); a name (shimmy); serve (docs)",
    )
    chosen = parser.parse_args()
    # The Python that runs this may be any.
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    if chosen.task == "shimmy":
        name = chosen.arguments[0] if chosen.arguments else SHIMMY
        if name not in BUILDS:
            sys.exit(f"no build is called {name!r}; there are: {', '.join(BUILDS)}")
        path = real_shimmys([name]).get(name)
        print(path or "")
        return 0 if path else 1
    if chosen.task == "packages":
        return packages()
    ours = (FAST, NEWEST, COVERAGE)
    fast, newest, coverage = (each in chosen.arguments for each in ours)
    chosen.arguments = [each for each in chosen.arguments if each not in ours]
    if newest:
        os.environ["TEST_CLIENTS_NEWEST"] = "1"
    # Thousands of processes import the same modules.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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
    if chosen.task == "build":
        return run(python, "-m", "tools.distribution", *chosen.arguments)
    if chosen.task == "adopt":
        return run(python, "-m", "tools.adopt", *chosen.arguments)
    if chosen.task == "clients":
        return run(python, "-m", "tests.clients.environments")
    if fast:
        workers = ("-n", str(min(4, CORES)), *SHARED)
        return run(python, "-m", "pytest", *workers, "-m", "not slow", *chosen.arguments)
    return check(python) or test(python, chosen.arguments, coverage=coverage)


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
    # A cache of its own for each: one is of no use to another.
    mypy = [
        (python, "-m", "mypy", "--platform", each, "--cache-dir", str(cache() / "mypy" / each))
        for each in SYSTEMS
    ]
    return (
        run(python, "-m", "ruff", "check", ".")
        or run(python, "-m", "ruff", "format", "--check", ".")
        or run_all(mypy)
    )


def docs(python: str, task: str = "build", *arguments: str) -> int:
    """The documentation as a site; a warning is an error."""
    # It tells its users of another tool's future.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    return run(python, "-m", "mkdocs", task, "--strict", *arguments)


def test(python: str, arguments: list[str], *, coverage: bool) -> int:
    """The project's tests, then those marked shimmy_real once more on each other release and build
    that can be had.
    """
    missing = missing_packages()
    if missing:
        print(f"not installed: {', '.join(missing)}; as root: python3 dev.py packages", flush=True)
    paths = real_shimmys([SHIMMY, *OTHER_SHIMMYS])
    os.environ["TEST_CLIENTS_REQUIRED"] = clients(python)
    first = [f"--shimmy-path={paths[SHIMMY]}"] if SHIMMY in paths else []
    command = ("-m", "pytest", "-n", str(WORKERS), *SHARED, *first, *arguments)
    if coverage:
        run(python, "-m", "coverage", "erase")
        status = run(python, "-m", "coverage", "run", *command)
        run(python, "-m", "coverage", "combine", "--quiet")
        status = run(python, "-m", "coverage", "report") or status
    else:
        status = run(python, *command)
    others = [paths[name] for name in OTHER_SHIMMYS if name in paths]
    return run_on(others, python, arguments) or status


def run_on(shimmys: Sequence[Path], python: str, arguments: list[str]) -> int:
    """Run the tests marked shimmy_real on each of these executables."""
    if not shimmys:
        return 0
    real = ("-m", "shimmy_real", *arguments)
    # Collected once: each worker would read all files, of which a quarter have such tests.
    collect = (python, "-m", "pytest", "--collect-only", "-qq", *real)
    done = subprocess.run(collect, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == NO_TESTS:
        return 0
    if done.returncode:
        print(done.stdout)
        return done.returncode
    files = re.findall(r"^(.+\.py): \d+$", done.stdout, re.MULTILINE)
    which = ("-n", str(max(1, WORKERS // 2)), *SHARED, *real, *files)
    # Side by side, so that one has the cores while the other waits for its last tests.
    return run_all([(python, "-m", "pytest", f"--shimmy-path={each}", *which) for each in shimmys])


def clients(python: str) -> str:
    """Make the environments of the client tests where they are missing; the names of those that
    can be had here, and without which tests fail instead of skipping.
    """
    command = [python, "-m", "tests.clients.environments"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip().rpartition("\n")[2]


def real_shimmys(names: list[str]) -> dict[str, Path]:
    """Real executables by name, each built by cargo once and cached; without those that cannot be
    had, for which the reason is printed.
    """
    suffix = ".exe" if os.name == "nt" else ""
    paths = {name: cache() / f"shimmy-{name}" / "bin" / f"shimmy{suffix}" for name in names}
    missing = [name for name in names if not paths[name].exists()]
    if missing and shutil.which("cargo") is None:
        print("no real shimmy: there is no cargo to build it with; its tests will be skipped")
    elif missing:
        # What two builds have in common is compiled once.
        with tempfile.TemporaryDirectory(prefix="shimmy-build-") as target:
            for name in missing:
                build_shimmy(name, paths[name].parents[1], target)
    return {name: path for name, path in paths.items() if path.exists()}


def build_shimmy(name: str, root: Path, target: str) -> None:
    """Install it below `root`; where that fails, print the reason."""
    print(f"building shimmy {name} with cargo, once (minutes)", flush=True)
    release = name.partition("-")[0]
    command = [
        *("cargo", "install", "shimmy", "--version", release, "--locked", "--bin", "shimmy"),
        *(*BUILDS[name], "--root", str(root), "--quiet"),
    ]
    try:
        subprocess.run(
            command,
            check=True,
            timeout=SHIMMY_BUILD_TIMEOUT,
            env={**os.environ, "CARGO_TARGET_DIR": target},
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"no real shimmy {name}: {error}; its tests will be skipped")


def packages() -> int:
    """Install what is missing of `PACKAGES`, where this is Debian or a relative and we are root."""
    missing = missing_packages()
    if not missing:
        return 0
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        print("as root:", *command)
        return 1
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for each in (["apt-get", "update"], command):
        status = subprocess.run([*each, "--quiet=2"], env=environment, check=False).returncode
        if status:
            return status
    return 0


def missing_packages() -> list[str]:
    """Those of `PACKAGES` that are not installed; none where there are no such packages."""
    if shutil.which("dpkg-query") is None:
        return []
    command = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    return [name for name in PACKAGES if f"{name} installed" not in lines]


def cache() -> Path:
    """What is the same in each checkout stays here: built executables, environments of clients,
    mypy's results. It may be removed at any time, and is made again."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pytest-shimmy"


def run_all(commands: Sequence[Sequence[str]]) -> int:
    """Run them side by side, and print what each says when it has ended; the first exit status
    that is not 0, or 0."""

    def output(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    status = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for command, done in zip(commands, pool.map(output, commands), strict=True):
            print("$", *command[1:], f"\n{done.stdout}", flush=True, end="")
            status = status or done.returncode
    return status


def run(*command: str, cwd: Path = ROOT) -> int:
    print("$", *command[1:], flush=True)
    return subprocess.run(command, cwd=cwd, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
