"""`AccelDetector`: which GPU backends this machine has, and how that is known.

Strategy: the questions of the table in `probes` are put at once, each in a thread of its own and
in bounded time, so that the whole takes no longer than the slowest. The readings of a backend are
weighed in the table's order. Nothing here raises because of what a machine has or says.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from ..defaults import ShimmyProcessDefaults
from . import asking
from .asking import Answer, Machine, Platform, Source
from .cuda_driver import NO_LIBRARY
from .probes import PROBES, SYSTEM, Probe
from .readers import Reading
from .result import (
    COULD_NOT_TELL,
    FOUND,
    NOT_FOUND,
    AccelDetectorResult,
    Backend,
    Evidence,
    Finding,
)

RECOMMENDED: tuple[Backend, ...] = ("metal", "cuda", "vulkan", "opencl")
"""The first that is found: a Mac's own, then the order in which shimmy 1.x looks itself. MLX is
never it: wherever there is MLX there is Metal. ROCm neither: no shimmy uses it."""


class AccelDetector:
    """Looks for GPUs when `detect` is called, and not before.

    `environ` is what the tools see and where PATH is taken from (default: this process's),
    `platform` which system to look on, `timeout` how long one tool may take, `root` where the
    system's own files are.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        timeout: float = ShimmyProcessDefaults.accel_timeout,
        *,
        root: Path = Path("/"),
        probes: Iterable[Probe] = PROBES,
    ) -> None:
        self._machine = Machine(
            dict(os.environ if environ is None else environ),
            platform or Platform.here(),
            root,
            timeout,
        )
        self._probes = tuple(probes)

    def detect(self) -> AccelDetectorResult:
        """Look for every backend. Takes at most the time-out, and a little for ending tools."""
        system = self._machine.platform.system
        asked = [probe for probe in self._probes if probe.belongs_on(system)]
        answers = self._ask({probe.source for probe in asked})
        readings: dict[Backend, list[_Read]] = {probe.backend: [] for probe in self._probes}
        for probe in asked:
            answer = answers[probe.source]
            readings[probe.backend].append((probe.source, answer, _read(probe, answer)))
        backends: dict[str, Finding] = {name: _weigh(name, read) for name, read in readings.items()}
        recommended = next(
            (name for name in RECOMMENDED if name in backends and backends[name].state == FOUND),
            "cpu",
        )
        return AccelDetectorResult(recommended, _reason(recommended, backends), backends)

    def _ask(self, sources: set[Source]) -> Mapping[Source, Answer]:
        unanswered = Answer(self._machine, trouble="could not be ended")
        answers = dict.fromkeys(sources, unanswered)

        def ask(source: Source) -> None:
            try:
                answers[source] = asking.ask(source, self._machine)
            except Exception as error:  # no thread to be had, no memory: the others go on
                answers[source] = unanswered._replace(trouble=f"could not be asked: {error}")

        # Daemons: a tool that cannot be killed must not hold this process either.
        threads = [
            threading.Thread(target=ask, args=(source,), name="shimmy-accel", daemon=True)
            for source in sources
        ]
        end_timeout = ShimmyProcessDefaults.accel_end_timeout
        deadline = time.monotonic() + self._machine.timeout + end_timeout
        for thread in threads:
            with contextlib.suppress(RuntimeError):  # no more threads to be had
                thread.start()
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return dict(answers)


def detect_once(
    path: Path, detector: AccelDetector | None = None, run: str = ""
) -> AccelDetectorResult:
    """What `path` has of this `run`; the first process that asks detects, and writes it there.

    For the processes of one run, which have a directory in common; the next run writes over it.
    Where that cannot be used, this process detects for itself.
    """
    if known := _known(path, run):
        return known
    from filelock import FileLock

    detector = detector or AccelDetector()
    patience = 2 * (ShimmyProcessDefaults.accel_timeout + ShimmyProcessDefaults.accel_end_timeout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=patience):
            return _known(path, run) or _detect_into(path, run, detector)
    except (OSError, NotImplementedError):  # no room, no rights, no locks, or not in time
        return detector.detect()


def _known(path: Path, run: str) -> AccelDetectorResult | None:
    try:
        whose, _, result = path.read_text("utf-8").partition("\n")
        return AccelDetectorResult.from_json(result) if whose == run else None
    except (OSError, ValueError):
        return None


def _detect_into(path: Path, run: str, detector: AccelDetector) -> AccelDetectorResult:
    result = detector.detect()
    # All of it or nothing, for a reader that holds no lock.
    half = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        half.write_text(f"{run}\n{result.to_json()}", "utf-8")
        half.replace(path)
    return result


def _read(probe: Probe, answer: Answer) -> Reading:
    if answer.absent:
        return Reading(None, answer.trouble)
    return probe.read(answer)


_Read: TypeAlias = tuple[Source, Answer, Reading]


def _weigh(backend: Backend, readings: list[_Read]) -> Finding:
    """The first definite reading decides; else the first that is in doubt; else it is unknown."""
    rank = {FOUND: 0, NOT_FOUND: 0, COULD_NOT_TELL: 1, None: 2}
    # Sorting keeps the table's order among equals.
    ranked = sorted(readings, key=lambda each: rank[each[2].state])
    decided = ranked[0][2] if ranked else Reading(None)
    drivers = [decided.driver, *(reading.driver for _, _, reading in ranked)]
    return Finding(
        backend,
        decided.state or NOT_FOUND,
        decided.devices,
        next(filter(None, drivers), None),
        tuple(
            Evidence(str(source), answer.status, " ".join(reading.line.split()), answer.seconds)
            for source, answer, reading in ranked
            if reading.line
        ),
    )


_WHO_USES_IT = {
    "metal": "shimmy 2.x uses it through WebGPU.",
    "cuda": "shimmy 1.x uses it if built with CUDA; 2.x goes through WebGPU instead.",
    "vulkan": "shimmy 2.x uses it through WebGPU, 1.x if built with Vulkan.",
    "opencl": "shimmy 1.x uses it if built with OpenCL; 2.x does not.",
}


def _reason(recommended: str, backends: Mapping[str, Finding]) -> str:
    if recommended != "cpu":
        found = backends[recommended]
        doubts = "".join(f" But: {each}." for each in found.evidence if each.status == NO_LIBRARY)
        return f"{found}. {_WHO_USES_IT[recommended]}{doubts}"
    # What this system cannot have at all is no news.
    possible = [
        finding
        for finding in backends.values()
        if not (finding.evidence and finding.evidence[0].source == str(SYSTEM))
    ]
    certain = all(finding.state != COULD_NOT_TELL for finding in possible)
    summary = "; ".join(map(str, possible))
    return f"No GPU that shimmy can use {'was found' if certain else 'is certain'}: {summary}."
