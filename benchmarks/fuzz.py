"""Looking for input that harms the fake: ``python -m benchmarks.fuzz --seconds N --seed S``.

Strategy: the checks of ``tests/fake_shimmy/test_fuzz.py`` for as long as one likes, each target in
its turn. Every case follows from the seed, the target's name and a number. A failing case is kept
as a file, the shortest for each place in the code, and the command that repeats it is printed.
``--coverage`` lets atheris choose the bytes by what they reach (``pip install atheris``). Run it
from the checkout; the standard library is enough, but for that.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fuzz.server import Client

SERVER, COMMANDS = "server", "commands"
BATCH = 100
_KEEP = str(Path(tempfile.gettempdir(), "fake-shimmy-fuzz"))


def main() -> int:
    """Fuzz or repeat; exit status 1 when something failed."""
    arguments = _arguments()
    if arguments.repeat is not None:
        return _repeat(Path(arguments.repeat))
    keep = Path(arguments.keep)
    keep.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(os.urandom(4), "big") if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    if arguments.coverage:
        if importlib.util.find_spec("atheris") is None:
            sys.exit("--coverage needs atheris: pip install atheris")
        return _by_coverage(arguments.targets, arguments.seconds, seed, keep)
    from tests.support.fuzz.targets import TARGETS

    names = arguments.targets or [*TARGETS, SERVER, COMMANDS]
    failures = 0
    for name in names:
        fuzzing = _server_cases if name == SERVER else _cases
        failures += fuzzing(name, f"{seed}/{name}", arguments.seconds / len(names), keep)
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, where none is named")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, help="repeats a run; random where none is given")
    parser.add_argument("--keep", metavar="DIR", default=_KEEP, help=f"for failing cases; {_KEEP}")
    parser.add_argument("--coverage", action="store_true", help="guided by coverage, with atheris")
    parser.add_argument("--repeat", metavar="FILE", help="a case that was kept")
    return parser.parse_args()


def _check_of(name: str) -> Callable[[bytes], None]:
    """What must not fail for a case's bytes."""
    if name == SERVER:
        return _check_server
    if name == COMMANDS:
        return _check_command
    from tests.support.fuzz.targets import TARGETS

    return TARGETS[name]


def _cases(name: str, seed: str, seconds: float, keep: Path) -> int:
    """Check case after case; returns how many kinds of failure there were."""
    from tests.support.fuzz import inputs
    from tests.support.fuzz.targets import TARGETS

    check = _check_of(name)
    failures: dict[str, bytes] = {}
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        case = f"{seed}/{number}"
        if name == COMMANDS:
            data = case.encode()
        else:
            data = inputs.spoiled(Random(case), TARGETS[name].seeds)
        number += 1
        place = _failure(check, data)
        if place and (place not in failures or len(data) < len(failures[place])):
            failures[place] = data
    print(f"{name}: {number} cases, {len(failures)} kinds of failure", flush=True)
    for place, data in failures.items():
        _keep(keep, name, data, place)
    return len(failures)


def _failure(check: Callable[[bytes], None], data: bytes) -> str:
    """Where and how ``check`` fails; empty where it passes."""
    try:
        check(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        return f"{Path(last.filename).name}:{last.lineno} {last.name}: {kind} {error!s:.300}"
    return ""


def _keep(folder: Path, name: str, data: bytes, place: str) -> None:
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"  {place}\n    python -m benchmarks.fuzz --repeat {path}", flush=True)


def _repeat(path: Path) -> int:
    # The name of the target is the first part of the file's name.
    place = _failure(_check_of(path.name.partition("-")[0]), path.read_bytes())
    print(place or "passes")
    return 1 if place else 0


def _server_cases(name: str, seed: str, seconds: float, keep: Path) -> int:
    """Send batch after batch to one server, and take a harmful one apart."""
    from tests.support.fuzz.server import plan, storm

    end = time.monotonic() + seconds
    number = 0
    with _watched() as server:
        while time.monotonic() < end:
            clients = plan(f"{seed}/{number}", BATCH)
            number += 1
            storm(server.port, clients)
            place = _failure(lambda _: server.check(), b"")
            if place:
                print(f"{name}: batch {number} does harm: {place}", flush=True)
                _take_apart(clients, keep)
                return 1
    print(f"{name}: {number * BATCH} cases, no failure", flush=True)
    return 0


def _take_apart(clients: list[Client], keep: Path) -> None:
    alone = [each.data for each in clients if _failure(_check_server, each.data)]
    for data in alone or [each.data for each in clients]:
        _keep(keep, SERVER, data, "alone" if alone else "none does harm alone, so all are kept")


@contextlib.contextmanager
def _watched():  # type: ignore[no-untyped-def]
    from tests.support.fake_process import Shimmy, drained
    from tests.support.fuzz import inputs
    from tests.support.fuzz.server import Watched

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        inputs.put_models(Path(folder))
        fake = Shimmy([sys.executable, "-m", "fake_shimmy"], Path(folder), "cpu-only")
        with fake.serve() as running, drained(running):
            yield Watched(running)


def _check_server(data: bytes) -> None:
    """A conversation, held in every manner, leaves a fresh server well."""
    from tests.support.fuzz.server import MANNERS, Client

    with _watched() as server:
        for manner in range(len(MANNERS)):
            Client(data, manner, 0).talk(server.port)
        server.check()


def _check_command(seed: bytes) -> None:
    from tests.support.fuzz.command import Command

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        Command.planned(seed.decode()).run(Path(folder))


def _by_coverage(names: list[str], seconds: float, seed: int, keep: Path) -> int:
    """Give each target a process of its own, as the engine ends the one it runs in."""
    from tests.support.fuzz.targets import TARGETS

    names = names or list(TARGETS)
    failures = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
            for number, data in enumerate(TARGETS[name].seeds):
                Path(corpus, str(number)).write_bytes(data)
            command = [sys.executable, "-c", _ENGINE, name, corpus, f"-seed={seed % 2**32}"]
            limits = [f"-max_total_time={int(seconds / len(names)) or 1}", "-timeout=5"]
            kept = [f"-artifact_prefix={keep}/{name}-", "-max_len=4096", "-verbosity=0"]
            status = subprocess.run([*command, *limits, *kept], check=False).returncode
        print(f"{name}: {'FAILED' if status else 'no failure'}", flush=True)
        failures += status != 0
    return 1 if failures else 0


_ENGINE = """
import sys
import atheris
with atheris.instrument_imports(include=["fake_shimmy"]):
    from tests.support.fuzz.targets import TARGETS
# The engine has a clock of its own.
check = TARGETS[sys.argv.pop(1)].check
atheris.Setup(sys.argv, check)
atheris.Fuzz()
"""


if __name__ == "__main__":
    sys.exit(main())
