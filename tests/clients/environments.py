"""The environments that the client programs run in, one for each set of pins that agree.

Strategy: an environment lives in the user's cache, named after a hash of its requirements file and
of the interpreter, so a change of either makes a new one and every checkout shares it. It is built
next to its place and renamed into it: it is there whole or not at all. ``dev.py`` runs this module
before pytest, with pytest's interpreter; the tests only look. Standard library only.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from abc import ABC, abstractmethod
from pathlib import Path

import dev

HERE = Path(__file__).parent
CACHE = dev.cache() / "clients"
"""Found out on import: tests run with another HOME."""
REQUIRED = "TEST_CLIENTS_REQUIRED"
"""Environment variable: names, joined by commas, without which tests fail instead of skipping."""
NEWEST = bool(os.environ.get("TEST_CLIENTS_NEWEST"))
"""Take the newest versions that fit instead of the locked ones."""
OLDEST_NODE = 20


class CannotMakeError(Exception):
    """An environment cannot be made here, and that is nobody's mistake."""


class Environment(ABC):
    """What `requirements` asks for, in a folder of its own."""

    def __init__(self, name: str, requirements: Path, interpreter: str) -> None:
        self.name = name
        self.requirements = requirements
        self.interpreter = interpreter

    @abstractmethod
    def command(self, program: Path) -> list[str]:
        """What runs `program`, with the environment as its working directory."""

    @abstractmethod
    def install(self, target: Path) -> None:
        """Fill the new folder `target`.

        Raises `CannotMakeError`, and `CalledProcessError` when the packages do not install.
        """

    @abstractmethod
    def reachable(self) -> bool:
        """Whether the package index answers."""


class PythonEnvironment(Environment):
    """A virtual environment, of the Python that runs this."""

    def __init__(self, name: str) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        suffix = "in" if NEWEST else "txt"
        super().__init__(name, HERE / "requirements" / f"{name}.{suffix}", f"python{version}")

    def command(self, program: Path) -> list[str]:
        return [_python(directory(self)), str(program)]

    def install(self, target: Path) -> None:
        venv.create(target, with_pip=False)
        # Compiling all of it takes longer than the programs take to import what they use.
        dev.pip(
            *(_python(target), "install", "--quiet", "--disable-pip-version-check"),
            *("--no-compile", *(() if NEWEST else ("--require-hashes",))),
            *("--requirement", str(self.requirements)),
        )

    def reachable(self) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            probe = ["download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", folder]
            probe += ["--retries", "0", "--timeout", "15"]
            try:
                dev.pip(sys.executable, *probe, "packaging")
            except subprocess.CalledProcessError:
                return False
            return True


class NodeEnvironment(Environment):
    """A folder with node_modules."""

    def __init__(self, name: str, folder: Path = HERE / "requirements") -> None:
        file = "package.json" if NEWEST else "package-lock.json"
        super().__init__(name, folder / file, "node")

    def command(self, program: Path) -> list[str]:
        return [shutil.which("node") or "node", str(program)]

    def install(self, target: Path) -> None:
        npm = _npm()
        target.mkdir(parents=True)
        for name in {"package.json", self.requirements.name}:
            shutil.copy(self.requirements.with_name(name), target)
        task = ("install", "--no-package-lock") if NEWEST else ("ci",)
        options = ("--no-audit", "--no-fund", "--silent")
        subprocess.run([npm, *task, *options], cwd=target, check=True)

    def reachable(self) -> bool:
        probe = [_npm(), "view", "openai", "version", "--prefer-online"]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0


class ExampleEnvironment(NodeEnvironment):
    """What the example for Node is built with; its packages are in ``examples/node``, since it
    names the package of this repository by its relative path.
    """

    def __init__(self) -> None:
        super().__init__("example", dev.ROOT / "examples" / "node")

    def install(self, target: Path) -> None:
        package = target / "packaging" / "npm"
        package.mkdir(parents=True)
        shutil.copy(dev.ROOT / "packaging" / "npm" / "package.json", package)
        super().install(target / "examples" / "node")


SDKS = PythonEnvironment("sdks")
LITELLM = PythonEnvironment("litellm")
AGENTS = PythonEnvironment("agents")
RECIPES = PythonEnvironment("recipes")
NPM = NodeEnvironment("npm")
EXAMPLE = ExampleEnvironment()
ENVIRONMENTS: tuple[Environment, ...] = (LITELLM, SDKS, AGENTS, RECIPES, NPM, EXAMPLE)
"""All of them, the slowest to make first."""


def directory(environment: Environment) -> Path:
    """The folder of `environment`, made or not."""
    content = environment.requirements.read_bytes() + environment.interpreter.encode()
    if NEWEST:  # which ones these are is a matter of the day
        content += datetime.datetime.now(datetime.UTC).date().isoformat().encode()
    return CACHE / f"{environment.name}-{hashlib.sha256(content).hexdigest()[:12]}"


def make(environment: Environment) -> None:
    """Make `environment` where it is missing.

    Raises `CannotMakeError` without network or Node, `CalledProcessError` when the packages do not
    install although the index answers.
    """
    place = directory(environment)
    if place.exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{environment.name}-making-") as folder:
        made = Path(folder, "environment")
        _say(f"making the environment {environment.name} of the client tests, once")
        try:
            environment.install(made)
        except subprocess.CalledProcessError as error:
            if environment.reachable():
                raise
            raise CannotMakeError("the package index is not reachable") from error
        try:
            # The programs and libraries in it are found relative to it, so it may move.
            made.rename(place)
        except OSError:
            if not place.exists():
                raise
            # Somebody else has made it meanwhile.


def make_all() -> dict[str, str]:
    """Make what is missing; the reasons by name for those that cannot be had here.

    An environment that should have been possible is not among them: the tests that need it then
    fail, and the reason has been printed.
    """
    excused: dict[str, str] = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        making = {pool.submit(make, one): one.name for one in ENVIRONMENTS}
        for future in concurrent.futures.as_completed(making):
            name = making[future]
            try:
                future.result()
            except CannotMakeError as error:
                excused[name] = str(error)
                _say(f"no environment {name}: {error}; its tests will be skipped")
            except (OSError, subprocess.CalledProcessError) as error:
                _say(f"no environment {name}: {error}; its tests will fail")
    return excused


def required(excused: dict[str, str]) -> str:
    """The value for the variable ``TEST_CLIENTS_REQUIRED``."""
    return ",".join(one.name for one in ENVIRONMENTS if one.name not in excused)


def missing(environment: Environment) -> str | None:
    """Why tests cannot use `environment`, and what to do; None if they can."""
    if directory(environment).exists():
        return None
    return f"there is no environment {environment.name!r}; make it with: python3 dev.py clients"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _python(directory: Path) -> str:
    if os.name == "nt":
        return str(directory / "Scripts" / "python.exe")
    return str(directory / "bin" / "python")


def _npm() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise CannotMakeError("there is no Node.js with npm")
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if int(version.lstrip("v").partition(".")[0] or 0) < OLDEST_NODE:
        raise CannotMakeError(f"Node.js {version} is older than {OLDEST_NODE}")
    return npm


def main() -> int:
    """Make them all; the last line on stdout are the names that tests may insist on."""
    excused = make_all()
    for one in ENVIRONMENTS:
        if missing(one) is None:
            _say(f"{one.name}: {directory(one)}")
    print(required(excused))
    return 1 if any(missing(one) and one.name not in excused for one in ENVIRONMENTS) else 0


if __name__ == "__main__":
    sys.exit(main())
