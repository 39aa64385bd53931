"""What a session would run, and why: the findings, and the same for a person."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from . import binary, paths, settings
from .errors import ShimmyError


def examine(chosen: settings.Settings) -> dict[str, Any]:
    """What a session with these settings would run, and what stands in its way."""
    problems: list[str] = []
    server: dict[str, Any] = {"mode": chosen.mode, "url": chosen.url}
    try:
        if chosen.mode == "attached":
            from .server import attach

            server["version"] = attach(chosen).version
        else:
            executable = (
                binary.bundled_fake(chosen.fake_version)
                if chosen.path is None
                else binary.identify(chosen.path)
            )
            server |= {"command": list(executable.command), "version": executable.version}
    except ShimmyError as error:
        problems.append(str(error))
    runtime: dict[str, Any] = {}
    try:
        runtime = {"directory": str(paths.runtime_dir()), "leased_ports": _leased_ports()}
    except ShimmyError as error:
        problems.append(str(error))
    return {
        "pytest_shimmy": version("pytest-shimmy"),
        "server": server,
        "settings": {
            name: {"value": _plain(getattr(chosen, name)), "from": source}
            for name, source in chosen.sources.items()
        },
        "runtime": runtime,
        "problems": problems,
    }


def describe(findings: dict[str, Any]) -> list[str]:
    """`examine`'s findings, for a person."""
    server, runtime = findings["server"], findings["runtime"]
    what = {
        "fake": "the bundled fake of shimmy",
        "real": "a real shimmy",
        "attached": f"attached to {server['url']}, shimmy",
    }[server["mode"]]
    lines = [
        f"pytest-shimmy {findings['pytest_shimmy']}",
        f"server    {what} {server.get('version', '(unknown)')}",
    ]
    if server["mode"] == "real" and "command" in server:
        lines.append(f"          {server['command'][0]}")
    lines.append("settings  " + ("all default" if not findings["settings"] else ""))
    for name, entry in findings["settings"].items():
        lines.append(f"          {name} = {entry['value']!r}  ({entry['from']})")
    if runtime:
        ports = ", ".join(map(str, runtime["leased_ports"])) or "none"
        lines += [f"runtime   {runtime['directory']}", f"          ports leased now: {ports}"]
    lines += [f"problem   {problem}" for problem in findings["problems"]]
    if not findings["problems"]:
        lines.append("a session could start")
    return [line.rstrip() for line in lines]


def _leased_ports() -> list[int]:
    from filelock import FileLock, Timeout

    leased = []
    for lock_file in sorted(paths.subdir("ports").glob("*.lock")):
        try:
            with FileLock(str(lock_file)).acquire(blocking=False):
                pass
        except Timeout:
            leased.append(int(lock_file.stem))
    return leased


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value
