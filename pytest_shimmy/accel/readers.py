"""What the tools' answers mean. Pure: an answer goes in, a reading comes out, for any text.

Strategy: only a device that is named makes a backend found, and only in an answer that ended
well; a tool's own words for "there is none" make it not found; everything else is "could not
tell". The exit code alone proves nothing: ``rocm-smi`` ends with 0 where there is no driver.

Formats: vulkaninfo 1.3.239, clinfo 3.0.23, rocminfo and rocm-smi 5.2.3 were seen where there is no
GPU; nvidia-smi's, system_profiler's and the rest are as published by users and makers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from .asking import Answer
from .cuda_driver import NO_LIBRARY, NOT_USABLE, OK
from .result import COULD_NOT_TELL, FOUND, NOT_FOUND, State


class Reading(NamedTuple):
    """What one answer says about one backend."""

    state: State | None
    """None: nothing; others must say."""
    line: str = ""
    devices: tuple[str, ...] = ()
    driver: str | None = None


NOTHING: Final = Reading(None)

# In any tool's answer. Before a tool's own words: who may not look sees no device either.
_FORBIDDEN = re.compile(
    r"permission denied|insufficient permission|not permitted|must be (run as )?root|"
    r"requires? (root|superuser)|is not (a )?member of",
    re.IGNORECASE,
)

_NONE_THERE = {
    "nvidia-smi": re.compile(
        r"couldn't communicate with the NVIDIA driver|No devices were found|"
        r"Driver Not Loaded|Driver/library version mismatch",
        re.IGNORECASE,
    ),
    "vulkaninfo": re.compile(
        r"ERROR_INCOMPATIBLE_DRIVER|ERROR_INITIALIZATION_FAILED|Found no drivers|"
        r"Failed to detect any valid GPUs"
    ),
    "clinfo": re.compile(
        r"Number of platforms:?\s+0$|clGetPlatformIDs\(-1001\)|CL_PLATFORM_NOT_FOUND"
    ),
    "rocminfo": re.compile(r"ROCk module is NOT loaded"),
    "rocm-smi": re.compile(
        r"Driver not initialized|No AMD GPUs specified|No DRM devices available"
    ),
}
"""A tool's own words for: there is none."""


def driver_library(answer: Answer) -> Reading:
    """`cuda_driver`: it is exactly what a CUDA program would see."""
    if answer.trouble or answer.status not in (OK, NO_LIBRARY, NOT_USABLE):
        return _unclear(answer)
    if answer.status == NO_LIBRARY:
        return Reading(None, _first(answer.out))
    if answer.status == NOT_USABLE:
        return Reading(NOT_FOUND, _first(answer.out) + _visible_devices(answer))
    named = [line for line in answer.out.split("\n") if line.startswith("device ")]
    if not named:
        return Reading(NOT_FOUND, "no CUDA device" + _visible_devices(answer))
    return Reading(FOUND, named[0], tuple(line.partition(": ")[2] for line in named))


def hidden_from_cuda(answer: Answer) -> Reading:
    """CUDA_VISIBLE_DEVICES, where it hides everything."""
    chosen = answer.machine.environ.get(_VISIBLE)
    if chosen is None or not re.fullmatch(r"\s*|\s*-\d+\s*(,.*)?", chosen, re.DOTALL):
        return NOTHING
    return Reading(NOT_FOUND, f"{chosen!r} hides every GPU")


_VISIBLE = "CUDA_VISIBLE_DEVICES"


def _visible_devices(answer: Answer) -> str:
    chosen = answer.machine.environ.get(_VISIBLE)
    return "" if chosen is None else f" ({_VISIBLE} is {chosen!r})"


NVIDIA_SMI_ARGUMENTS = (
    "--query-gpu=index,uuid,name,driver_version,memory.total",
    "--format=csv,noheader",
)
_NVIDIA_SMI_ROW = re.compile(r"(\d+), *([^,]+), *(\S.*?), *(\d+\.[\d.]+), *([^,]*)")


def nvidia_smi(answer: Answer) -> Reading:
    """It lists every GPU, whatever CUDA_VISIBLE_DEVICES says; so that is applied here."""
    rows = [match for line in answer.out.split("\n") if (match := _NVIDIA_SMI_ROW.fullmatch(line))]
    if not rows or not _ended_well(answer):
        return _without_device(answer, "nvidia-smi")
    driver = rows[0][4]
    chosen = answer.machine.environ.get(_VISIBLE)
    if chosen is not None and "MIG-" in chosen:
        doubt = f"{_VISIBLE}={chosen} names parts of a GPU, which nvidia-smi does not list here"
        return Reading(COULD_NOT_TELL, doubt, driver=driver)
    visible = rows if chosen is None else list(_chosen(rows, chosen))
    if not visible:
        return Reading(NOT_FOUND, f"{_VISIBLE}={chosen} names none of {len(rows)}", driver=driver)
    return Reading(FOUND, visible[0][0], tuple(row[3] for row in visible), driver)


def _chosen(rows: list[re.Match[str]], chosen: str) -> Iterator[re.Match[str]]:
    """CUDA's rule: by index or by the beginning of a UUID, up to the first that names none.

    Where GPUs differ, CUDA's indices are these only with CUDA_DEVICE_ORDER=PCI_BUS_ID: the number
    of GPUs is right in any case, their names are not. The driver library knows better.
    """
    for entry in chosen.split(","):
        wanted = entry.strip()
        named = [row for row in rows if row[1] == wanted]
        if wanted.startswith("GPU-"):
            named = [row for row in rows if row[2].startswith(wanted)]
        if len(named) != 1:
            return
        yield named[0]


def nvidia_files(answer: Answer) -> Reading:
    """The kernel driver's files: a driver without a device, as in a container, or both."""
    loaded = _containing(answer.out, "NVRM version")
    if not loaded:
        return NOTHING
    version = re.search(r"\d+\.\d+[\d.]*", loaded)
    driver = version[0] if version else None
    if re.search(r"^/dev/nvidia\d+$", answer.out, re.MULTILINE):
        doubt = f"{loaded}; a device is there, but nothing names it"
        return Reading(COULD_NOT_TELL, doubt, driver=driver)
    return Reading(NOT_FOUND, f"{loaded}; no device is there", driver=driver)


class _Device(NamedTuple):
    name: str
    kind: str
    is_gpu: bool
    driver: str | None = None


def vulkaninfo(answer: Answer) -> Reading:
    devices = []
    for facts in _blocks(answer.out, r"GPU\d+:$", r" *= *"):
        kind = facts.get("deviceType", "").rpartition("PHYSICAL_DEVICE_TYPE_")[2]
        driver = " ".join(facts[name] for name in ("driverName", "driverInfo") if name in facts)
        if kind:
            is_gpu = kind.endswith("_GPU")
            devices.append(_Device(facts.get("deviceName", ""), kind, is_gpu, driver or None))
    empty = re.search(r"^Devices:\n=+\Z", answer.out, re.MULTILINE)
    return _of_devices(answer, devices, "vulkaninfo", "lists no device" if empty else "")


def driver_files(answer: Answer) -> Reading:
    """What drivers register themselves with: the tools that ask them are often not installed."""
    path = _first(answer.out).partition(":")[0]
    return Reading(COULD_NOT_TELL, f"{path} names a driver, but nothing names a device")


def clinfo(answer: Answer) -> Reading:
    """Both programs of that name: the common one, and AMD's, where devices begin with the type."""
    devices = []
    for facts in _blocks(answer.out, r"Device Name |Device Type:", r":\s+|\s{2,}"):
        kind = facts.get("Device Type", "").replace("CL_DEVICE_TYPE_", "")
        name = facts.get("Device Name") or facts.get("Board name") or facts.get("Name", "")
        driver = facts.get("Driver Version") or facts.get("Driver version")
        if kind:
            devices.append(_Device(name, kind, "GPU" in kind, driver))
    return _of_devices(answer, devices, "clinfo")


def rocminfo(answer: Answer) -> Reading:
    version = re.search(r"ROCk module version (\S+) is loaded", answer.out)
    driver = version[1] if version else None
    devices = []
    for facts in _blocks(answer.out, r"Agent \d+$", r":\s+"):
        name = facts.get("Marketing Name") or facts.get("Name", "")
        if kind := facts.get("Device Type"):
            devices.append(_Device(name, kind, kind == "GPU", driver))
    return _of_devices(answer, devices, "rocminfo")


def rocm_smi(answer: Answer) -> Reading:
    names = re.findall(r"^GPU\[\d+\]\s*: Card [Ss]eries:\s*(.+)$", answer.out, re.MULTILINE)
    version = re.search(r"^Driver version:\s*(\S+)", answer.out, re.MULTILINE)
    driver = version[1] if version else None
    devices = [_Device(name, "GPU", True, driver) for name in names]
    return _of_devices(answer, devices, "rocm-smi")


def kfd(answer: Answer) -> Reading:
    """AMD's compute node."""
    return Reading(COULD_NOT_TELL, f"{_first(answer.out)} is there, but nothing names the device")


def not_a_mac(answer: Answer) -> Reading:
    system, processor = answer.machine.platform
    if system == "darwin":
        return NOTHING
    return Reading(NOT_FOUND, f"{system} on {processor}; needs macOS")


def not_apple_silicon(answer: Answer) -> Reading:
    reading = not_a_mac(answer)
    if reading.state is None and answer.machine.platform.processor != "arm64":
        return Reading(NOT_FOUND, "a Mac with an Intel processor; needs Apple silicon")
    return reading


def system_profiler(answer: Answer) -> Reading:
    """One block per GPU. "Metal Support", before macOS 13 "Metal Family", before 11 "Metal"."""
    devices = []
    for facts in _blocks(answer.out, r"Chipset Model:", r":\s+"):
        metal = next((facts[name] for name in _METAL if name in facts), "no Metal")
        supported = re.match(r"no\b|not\b|unsupported", metal, re.IGNORECASE) is None
        name = facts.get("Chipset Model", "")
        devices.append(_Device(name, metal, supported, metal if supported else None))
    return _of_devices(answer, devices, "system_profiler")


def apple_displays(answer: Answer) -> Reading:
    """The same, for what only Apple's own GPUs can do."""
    return system_profiler(answer) if answer.machine.platform.processor == "arm64" else NOTHING


_METAL = ("Metal Support", "Metal Family", "Metal")


def _of_devices(answer: Answer, devices: list[_Device], tool: str, none: str = "") -> Reading:
    """The reading of a tool that lists devices of all kinds. `none`: what its empty list says."""
    named = [device for device in devices if device.name]
    if not _ended_well(answer) or not (named or none):
        return _without_device(answer, tool)
    gpus = [device for device in named if device.is_gpu]
    if gpus:
        line = _containing(answer.out, rf".{re.escape(gpus[0].name)}$")
        return Reading(FOUND, line, tuple(gpu.name for gpu in gpus), gpus[0].driver)
    if forbidden := _containing(answer.err, _FORBIDDEN):
        return Reading(COULD_NOT_TELL, forbidden)
    if named:
        kinds = ", ".join(f"{device.name} ({device.kind})" for device in named)
        return Reading(NOT_FOUND, f"lists {kinds}: not a GPU")
    return Reading(NOT_FOUND, none)


def _without_device(answer: Answer, tool: str) -> Reading:
    """The reading of an answer that names no device, or did not end well."""
    text = f"{answer.out}\n{answer.err}"
    if answer.trouble:
        return _unclear(answer)
    if forbidden := _containing(text, _FORBIDDEN):
        return Reading(COULD_NOT_TELL, forbidden)
    if none := _containing(text, _NONE_THERE.get(tool)):
        return Reading(NOT_FOUND, none)
    return _unclear(answer)


def _unclear(answer: Answer) -> Reading:
    said = _first(answer.err or answer.out)
    parts = (answer.trouble, f"said: {said}" if said else "")
    return Reading(COULD_NOT_TELL, ", ".join(filter(None, parts)) or "said nothing")


def _ended_well(answer: Answer) -> bool:
    return answer.status == 0 and not answer.trouble


def _blocks(text: str, begins: str, separator: str) -> Iterator[Mapping[str, str]]:
    """The ``name<separator>value`` lines of each part that begins with a line like `begins`.

    The first of a name counts: what comes again is about a part of the device.
    """
    block: dict[str, str] | None = None
    for line in text.split("\n"):
        if re.match(begins, line):
            if block:
                yield block
            block = {}
        if block is not None:
            name, *value = re.split(separator, line, maxsplit=1)
            if value:
                block.setdefault(name, value[0])
    if block:
        yield block


def _first(text: str) -> str:
    return text.partition("\n")[0]


def _containing(text: str, pattern: str | re.Pattern[str] | None) -> str:
    """The line that has it, or nothing."""
    if pattern is None:
        return ""
    return next((line for line in text.split("\n") if re.search(pattern, line)), "")
