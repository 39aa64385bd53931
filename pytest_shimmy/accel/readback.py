"""Which GPU backend a running server uses, read from what it shows. Pure.

Strategy: only what an engine says while it loads a model tells what it uses, so most builds tell
nothing before the first answer. What shimmy says at its start is what it was asked for or compiled
with: that proves a use of the processor where nothing else was compiled in, and never one of a GPU.
Each source gives readings; one backend in all of them is verified, two are a contradiction.

The lines were seen on 2.5.0 and 2.6.5 with a software renderer, on 1.8.1 with the processor; those
about GPUs were read in the sources of the engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..executable.dialect import UNKNOWN_BUILD, Build


class ServerGpu(NamedTuple):
    """Which GPU backend was asked for, and what is known about the one in use."""

    requested: str
    """The `gpu` setting. Empty for an attached server."""
    in_use: str | None
    """``cpu``, ``cuda``, ``vulkan``, ``metal``, ``opencl``, ``gl``, ``dx12``…; None: the server has
    not said, or contradicts itself."""
    verified: bool
    """Whether the server itself showed what it uses. What it uses may still not be what was asked
    for."""
    evidence: str
    """The lines that it showed, or why there are none."""
    device: str | None = None
    """The GPU's name, or the software renderer's."""
    pending: bool = False
    """Only a first answer will tell."""

    @property
    def is_as_requested(self) -> bool:
        """Whether it verifiably uses what was asked for; with ``auto``, whatever it uses."""
        return self.verified and self.requested in ("auto", self.in_use)


class Reading(NamedTuple):
    """What one source says."""

    backend: str
    line: str
    device: str | None = None


def read_back(
    requested: str,
    version: str,
    *,
    build: Build = UNKNOWN_BUILD,
    log: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    answered: bool = False,
) -> ServerGpu:
    """What is known of the server's backend. Never raises, for any text.

    `version` is the server's, `build` its executable's (that of an attached server is not known),
    `log` both of its streams so far (None: cannot be seen), `metrics` the
    body of its ``/metrics``. `answered`: it has answered at least one generation since its last
    start; what it said about a load that gave no answer is no evidence.
    """
    said = None if log is None else _last_life(log)
    release = _major_and_minor(version)
    readings = list(_at_start(release, build, said, metrics or {}))
    complaint = ""
    if said is not None:
        loaded, complaint = _at_load(release, said, answered)
        readings += loaded
    backends = {reading.backend for reading in readings}
    said_lines = (line for reading in readings for line in reading.line.splitlines())
    lines = "\n".join(dict.fromkeys(said_lines))
    if len(backends) == 1:
        device = next((reading.device for reading in readings if reading.device), None)
        return ServerGpu(requested, backends.pop(), True, lines, device)
    if backends:
        return ServerGpu(requested, None, False, f"it contradicts itself:\n{lines}")
    if complaint:
        return ServerGpu(requested, None, False, complaint, pending=not answered)
    if said is None:
        return ServerGpu(requested, None, False, _without_log(metrics or {}))
    if answered:
        return ServerGpu(requested, None, False, "its log does not say what answered")
    return ServerGpu(requested, None, False, "it says so with its first answer", pending=True)


_BANNER = re.compile(r"^🎯 Shimmy v", re.MULTILINE)


def _last_life(log: str) -> str:
    """The log since the last start: each one begins with a banner."""
    starts = [match.start() for match in _BANNER.finditer(log)]
    return log[starts[-1] :] if starts else log


def _major_and_minor(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


# What is said at the start.


def _at_start(
    release: tuple[int, ...], build: Build, said: str | None, metrics: Mapping[str, Any]
) -> Iterator[Reading]:
    """Proofs that only the processor can be used."""
    if build.engine == "adapter":
        yield Reading("cpu", f"gpu-info: {build.line}")
    if build.engine == "llama" and not build.backends:
        # On a Mac, llama.cpp always has Metal; but the choice is "Cpu" then, which is 0 layers.
        yield Reading("cpu", f"gpu-info: {build.line}, and no GPU backend is compiled in")
    features = metrics.get("features")
    if isinstance(features, Mapping):
        for name, since, before in _FEATURES:
            if since <= release < before and features.get(name) is False:
                yield Reading("cpu", f"/metrics: features.{name} is false")
    can_choose = build.engine == "airframe" and _LEGACY_IS_CPU[0] <= release < _LEGACY_IS_CPU[1]
    if can_choose and said and _STARTING.search(said) and not _AIRFRAME.search(said):
        yield Reading("cpu", "the banner names no Backend, as with --legacy")


_FEATURES = (
    ("airframe", (2, 6), (99,)),  # seen on 2.6.5
    ("llama", (1,), (2,)),  # seen on 1.8.1 (true); 2.x has it too, beside another engine
)
"""Members of ``features`` that are the engine which uses GPUs, and the releases where they are."""

_LEGACY_IS_CPU = ((2,), (2, 6))
"""Releases where ``--legacy`` means the processor (seen on 2.5.0; not so on 2.6.5)."""
_STARTING = re.compile(r"^🚀 Starting server on ", re.MULTILINE)
_AIRFRAME = re.compile(r"^\S+ Backend: Airframe", re.MULTILINE)


# What is said at a load.


def _at_load(release: tuple[int, ...], said: str, answered: bool) -> tuple[list[Reading], str]:
    """What the engines said, and what went wrong, if nothing was answered."""
    adapters = [_adapter(match) for match in _ADAPTER.finditer(said)]
    if answered and adapters:
        return [adapters[-1]], ""  # earlier ones failed: one that is loaded stays until the end
    failures = [match[0].strip() for match in _AIRFRAME_FAILED.finditer(said)]
    if failures:
        return [], "\n".join([each.line for each in adapters[-1:]] + failures[-1:])
    if answered and release[:1] == (1,):
        return _llama(said), ""
    return [], ""


_ADAPTER = re.compile(
    r"^\[GpuRuntime\] Selected adapter: (?P<name>.*) \((?P<type>\w+), backend=(?P<backend>\w+)\)"
    r"[ \t\r]*$",
    re.MULTILINE,
)
"""On stderr, at each try to load (seen on 2.5.0 and 2.6.5)."""
_AIRFRAME_FAILED = re.compile(r"Airframe GPU load failed: .*")
_SOFTWARE = re.compile(r"llvmpipe|lavapipe|softpipe|swiftshader|Basic Render", re.IGNORECASE)
"""GPUs that are the processor."""


def _adapter(match: re.Match[str]) -> Reading:
    """The names of backends are wgpu's: Vulkan, Metal, Dx12, Gl."""
    name = match["name"]
    is_processor = match["type"] == "Cpu" or _SOFTWARE.search(name)
    backend = "cpu" if is_processor else match["backend"].lower()
    return Reading(backend, match[0].strip(), name)


_OFFLOADED = re.compile(
    r"^load_tensors: +offloaded (\d+)/(\d+) layers to GPU[ \t\r]*$", re.MULTILINE
)
_DEVICE = re.compile(
    r"^llama_model_load_from_file_impl: +using device (\w+) \((.*?)\)(?: \([\w:. ]+\))?"
    r" - \d+ MiB free[ \t\r]*$",
    re.MULTILINE,
)
_BUFFER = re.compile(r"^load_tensors: +(\w+) model buffer size = .*$", re.MULTILINE)
_OF_HOST = re.compile(r"(CPU|BLAS|AMX)|\w+_Host$")
_LAYER = re.compile(r"^load_tensors: +layer +\d+ assigned to device (\w+).*$", re.MULTILINE)
_NO_CUDA = re.compile(r"^ggml_cuda_init: failed to initialize \w+: .*$", re.MULTILINE)
_WITHOUT_LINE = "no load said 'offloaded N/M layers to GPU'"


def _llama(said: str) -> list[Reading]:
    """llama.cpp's own lines. All on stderr, at each load (seen on 1.8.1, on the processor)."""
    names = {device[1]: device[2] for device in _DEVICE.finditer(said)}
    readings = [
        *_of_counts(said, names),
        *_of_devices(_LAYER, said, names),  # where each layer is
    ]
    if not readings:
        # Without a GPU that llama.cpp could use, there is no such line at all.
        readings = list(_of_devices(_BUFFER, said, names)) or [Reading("cpu", _WITHOUT_LINE)]
    refused = _NO_CUDA.search(said)
    if refused and {reading.backend for reading in readings} == {"cpu"}:
        readings.insert(0, Reading("cpu", refused[0].strip()))
    return readings


def _of_counts(said: str, names: Mapping[str, str]) -> Iterator[Reading]:
    """How many layers are on a GPU, and on which."""
    counts = {int(match[1]) > 0: match[0].strip() for match in _OFFLOADED.finditer(said)}
    if False in counts:
        yield Reading("cpu", counts[False])
    if True not in counts:
        return
    devices = list(_of_devices(_DEVICE, said, names))
    known = {reading.backend for reading in devices}
    for reading in _of_devices(_BUFFER, said, names):
        if reading.backend not in (*known, "cpu"):
            devices.append(reading)
    for reading in devices:
        yield reading._replace(line=f"{reading.line}\n{counts[True]}")


def _of_devices(pattern: re.Pattern[str], said: str, names: Mapping[str, str]) -> Iterator[Reading]:
    """The backends of the devices that lines of one kind name. Some layers on a GPU are enough; the
    processor has a part in everything."""
    lines = {match[1]: match[0].strip() for match in pattern.finditer(said)}
    gpus = {device: line for device, line in lines.items() if not _OF_HOST.match(device)}
    for device, line in (gpus or lines).items():
        name = names.get(device)
        is_processor = not gpus or (name is not None and _SOFTWARE.search(name))
        # CUDA0, Metal_Mapped
        backend = "cpu" if is_processor else re.sub(r"[\d_].*", "", device).lower()
        yield Reading(backend, line, name)


def _without_log(metrics: Mapping[str, Any]) -> str:
    """Who may not see the log sees too little."""
    seen = metrics.get("gpu_detected")
    tools = f" (gpu_detected: {str(seen).lower()})" if isinstance(seen, bool) else ""
    return (
        "it tells the backend in its log only, which cannot be seen here; /metrics says what tools "
        f"the machine has{tools}, and not what is used"
    )
