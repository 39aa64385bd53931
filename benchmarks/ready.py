"""Time to ready: of the process manager, and of the executables by themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions

from . import peers
from .bench import NO_REAL, Bench, is_installed, not_installed, running
from .figures import Figure, Missing, Result, Target, interleave, paired_difference, paired_ratio
from .programs import (
    BARE,
    HERE,
    await_health,
    delayed_server,
    fake_command,
    free_port,
    hermetic,
    real_command,
)

PYZ = HERE.parent / "tools" / "pyz.py"
FAKE_TARGET = Target(100)
"""Milliseconds from exec to the first 200."""


def measure(bench: Bench) -> Iterator[Result]:
    directory = bench.subdirectory("ready")
    rounds = bench.rounds(20, 6)
    bare = "exec to exit: bare interpreter"
    stdlib = "exec to first 200: small stdlib socket server"
    fake = "exec to first 200: fake, as the plugin starts it"
    script = "exec to first 200: fake-shimmy, the script"
    single = "exec to first 200: fake-shimmy.pyz"
    real = "exec to first 200: real"
    managed_fake = "manager.start() to ready: fake"
    managed_real = "manager.start() to ready: real"
    peer = "mirakuru start() to ready: fake"
    helper = str(delayed_server(directory))
    subjects: dict[str, Callable[[], float]] = {
        bare: _exit_of_interpreter,
        stdlib: lambda: _first_200(bench, lambda port: _bind(helper, port)),
        fake: lambda: _first_200(bench, lambda port: fake_command(bench, port)),
        managed_fake: lambda: managed(bench.options(real=False)),
    }
    file = directory / "fake-shimmy.pyz"
    subprocess.run([sys.executable, str(PYZ), str(file)], stdout=subprocess.DEVNULL, check=True)
    model = ["--model-path", str(bench.gguf)]
    python = sys.executable
    subjects[single] = lambda: _first_200(
        bench, lambda port: [python, *_bind(str(file), port), *model]
    )
    if (found := _console_script("fake-shimmy")) is None:
        yield Missing(script, "no fake-shimmy beside the interpreter or on PATH")
    else:
        subjects[script] = lambda: _first_200(bench, lambda port: [*_bind(found, port), *model])
    if bench.shimmy_path is None:
        yield Missing(real, NO_REAL)
        yield Missing(managed_real, NO_REAL)
    else:
        subjects[real] = lambda: _first_200(bench, lambda port: real_command(bench, port))
        subjects[managed_real] = lambda: managed(bench.options(real=True))
    if is_installed("mirakuru"):
        subjects[peer] = lambda: _mirakuru(bench)
    else:
        yield Missing(peer, not_installed(peers.MIRAKURU))
    values = interleave(rounds, subjects, warm_up=2)
    against = {
        stdlib: (bare, "bare"),
        fake: (bare, "bare"),
        script: (bare, "bare"),
        single: (bare, "bare"),
        managed_fake: (fake, "fake alone"),
        peer: (fake, "fake alone"),
        managed_real: (real, "real alone"),
    }
    for name in sorted(values, key=lambda name: (name.partition(":")[0], name)):
        ratio, to = None, ""
        if name in against:
            base, to = against[name]
            ratio = paired_ratio(values[name], values[base])
        target = FAKE_TARGET if name in (fake, script, single) else None
        yield Figure(name, "ms", values[name], ratio, to, target)
    for name, base in ((managed_fake, fake), (managed_real, real), (peer, fake)):
        if name in values:
            who, server = name.split(".")[0].split()[0], name.split()[-1]
            label = f"added by {who}: {server}"
            yield Figure(label, "ms", paired_difference(values[name], values[base]))


def managed(options: ShimmyProcessOptions) -> float:
    """Milliseconds from `start` to ready."""
    with ShimmyProcessManager() as manager:
        began = time.perf_counter()
        manager.start(options)
        manager.ensure_ready()
        return 1000 * (time.perf_counter() - began)


def _first_200(bench: Bench, command: Callable[[int], Sequence[str]]) -> float:
    port = free_port()
    full = command(port)
    began = time.perf_counter()
    with running(full, hermetic(bench), bench.home) as process:
        await_health(process, port)
        return 1000 * (time.perf_counter() - began)


def _mirakuru(bench: Bench) -> float:
    port = free_port()
    executor = peers.mirakuru(fake_command(bench, port), port, hermetic(bench), bench.home)
    began = time.perf_counter()
    with executor:
        return 1000 * (time.perf_counter() - began)


def _exit_of_interpreter() -> float:
    began = time.perf_counter()
    subprocess.run([*BARE, "-c", "pass"], check=True, stdin=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - began)


def _bind(executable: str, port: int) -> list[str]:
    return [executable, "serve", "--bind", f"127.0.0.1:{port}"]


def _console_script(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)
