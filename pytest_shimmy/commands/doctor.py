"""``pytest-shimmy doctor``: what a session would run, and why, on one screen.

What it says is found out in `findings`; here that is put into words, or into JSON as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from .arguments import Commands, add_command, add_settings
from .tables import blocks, shown, table
from .terminal import Colour, label

EXAMPLES = """\
  pytest-shimmy doctor                         what would run, and why
  pytest-shimmy doctor --shimmy-path=shimmy    the same, for the executable on PATH
  pytest-shimmy doctor --json | jq .problems   for programs
"""

MODELS_SHOWN = 10
LEFT = 10
"""Columns of what a line is about."""
WIDTH = 160
"""Columns where neither a terminal nor ``COLUMNS`` says how many."""
LONGEST = 320
"""Characters of evidence, or of another program's command line, which may be of any length."""
NARROWEST = 40

_COLOURS: dict[str, Colour] = {"warning": "yellow", "problem": "red"}


def add_to(commands: Commands) -> None:
    doctor = add_command(
        commands,
        "doctor",
        "say what a session would run, and why",
        "Say what a session that pytest starts in this folder would run, and why: settings and\n"
        "where they come from, executable, GPUs, models, ports, and what is in the way.\n"
        "Exit code 0 means that a session could start.",
        EXAMPLES,
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    add_settings(doctor)
    doctor.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    from ..settings import BadSettingError
    from . import project
    from .findings import Findings

    try:
        loaded = project.load(chosen)
        findings = Findings(loaded.settings, loaded.config_file)
    except BadSettingError as error:
        if _was_given(chosen, str(error).split()[0]):
            chosen.parser.error(str(error))
        findings = Findings(None, None)
        findings.problems.append(str(error))
    found = findings.to_json()
    width = max(NARROWEST, shutil.get_terminal_size((WIDTH, 0)).columns)
    print(json.dumps(found, indent=2) if chosen.json else "\n".join(describe(found, width)))
    return 0 if found["can_start"] else 1


def _was_given(chosen: argparse.Namespace, word: str) -> bool:
    """Whether `word`, with which an error begins, is a flag of this command line."""
    name = word.rstrip(":").removeprefix("--").replace("-", "_")
    return word.startswith("--") and getattr(chosen, name, None) is not None


def describe(found: dict[str, Any], width: int) -> Iterator[str]:
    """`Findings.to_json`, for a person, in lines of `width` columns; words are not broken."""
    yield f"pytest-shimmy {found['pytest_shimmy']}"
    parts = {
        "settings": _settings(found),
        "server": _server(found["server"], found["settings"]),
        "gpu": _gpu(found["gpu"]),
        "models": _models(found["models"], width - LEFT),
        "ports": _ports(found["ports"]),
        "runtime": _runtime(found["runtime"]),
    }
    for name, lines in parts.items():
        yield from _labelled(name, lines, width)
    for name in ("warnings", "problems"):
        for text in found[name]:
            yield from _labelled(name[:-1], text.splitlines(), width)
    yield "a session could start" if found["can_start"] else "a session could not start"


def _labelled(name: str, lines: Iterable[str], width: int) -> Iterator[str]:
    wrapped = (part for line in lines for part in _wrapped(shown(line), width - LEFT))
    for number, line in enumerate(wrapped):
        left = f"{name if number == 0 else '':<{LEFT}}"
        if name in _COLOURS and number == 0:
            left = label(left, _COLOURS[name], sys.stdout)
        yield f"{left}{line}".rstrip()


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:  # spaces in a table stay as they are
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _settings(found: dict[str, Any]) -> Iterator[str]:
    if not found["settings"]:
        yield "all defaults"
    for name, entry in found["settings"].items():
        yield f"{name} = {entry['value']!r}  ({entry['from']})"
    yield f"pytest's configuration: {found['config_file'] or 'no file'}"


def _server(server: dict[str, Any] | None, settings: dict[str, Any]) -> Iterator[str]:
    if server is None:
        return
    release = server["version"]
    match server["mode"]:
        case _ if release is None:  # the problem below names it
            yield "cannot be used, see the problem below"
        case "attached":
            yield f"attached to {server['url']}, shimmy {release}"
        case "real":
            yield f"a real shimmy {release}"
            if server["path"] != settings["path"]["value"]:  # a name that is looked up on PATH
                yield server["path"]
        case _:
            yield f"the bundled fake of shimmy {release}"
    if build := server["build"]:
        with_ = f" with {', '.join(build['compiled_in'])}" if build["compiled_in"] else ""
        yield f"build: {build['engine']}{with_} ({build['line'] or 'gpu-info says nothing known'})"
    if server["gpu_modes"]:
        yield f"--shimmy-gpu: {', '.join(server['gpu_modes'])}"


def _gpu(gpu: dict[str, Any] | None) -> Iterator[str]:
    if gpu is None:
        return
    yield f"this machine: {gpu['recommended']}"
    for name, backend in gpu["backends"].items():
        devices = "".join(f", {device}" for device in dict.fromkeys(backend["devices"]))
        evidence = f" ({backend['evidence'][0]})" if backend["evidence"] else ""
        yield _cut(f"{name}: {backend['state']}{devices}{evidence}")


def _models(models: dict[str, Any] | None, width: int) -> Iterator[str]:
    if models is None:
        return
    default, every = models["default"], models["found"]
    if default is None:
        yield f"{len(every)} found, no default"
    else:
        yield f"{len(every)} found, default: {default['id']}, because {default['reason']}"
    # The default first, wherever it is in the order.
    first = sorted(every, key=lambda model: not model["is_default"])[:MODELS_SHOWN]
    lines = [f"  {line}" for line in table(first)]
    yield from lines if max(map(len, lines), default=0) <= width else blocks(first)
    if len(every) > len(first):
        yield f"  and {len(every) - len(first)} more: pytest-shimmy models list"
    if models["searched"] is not None:
        yield "looked for in:" if models["searched"] else "looked for in no directory"
        yield from (f"  {path}" for path in models["searched"])


def _ports(ports: dict[str, Any] | None) -> Iterator[str]:
    if ports is None:
        return
    wanted = f"; first, {ports['wanted']}" if ports["wanted"] else ""
    yield f"any of {ports['first']}-{ports['last']}{wanted}"
    leased = ports["leased"]
    yield "leased now: " + ("" if leased else "none")
    for lease in leased:
        by = "unknown" if lease["pid"] is None else f"process {lease['pid']}, {lease['command']}"
        yield _cut(f"  {lease['port']} by {by}")


def _runtime(runtime: dict[str, Any] | None) -> Iterator[str]:
    if runtime is None:
        return
    from ..models.progress import human

    yield runtime["directory"]
    logs = runtime["kept_logs"]
    if logs["count"]:
        size = human(logs["bytes"])
        yield f"logs of failed runs: {logs['count']}, {size}, in {logs['directory']}"
    if left := runtime["left_behind"]:
        yield f"left by killed runs, removed by the next one that starts a server: {len(left)}"
        yield from (f"  {path}" for path in left[:MODELS_SHOWN])
