"""The command: ``python -m benchmarks [--quick] [--json FILE] [--shimmy-path PATH] [THEME]``."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any

THEMES = {
    "plugin": "1. Plugin load: a run of one test that does not use it",
    "ready": "2. Time to ready",
    "detection": "3. Detection delay: from 'the server listens' to 'ready'",
    "stop": "4. Stop: from the call to the process being gone",
    "session": "5. Whole pytest run of one test",
    "joining": "6. Joining a running server, and memory",
    "throughput": "7. The fake under load",
    "cassettes": "8. Recording and replaying",
    "per_test": "9. One more test",
    "strategies": "10. Examples of hypothesis",
    "report": "11. The report of a run",
    "scale": "12. How costs grow with numbers",
}
"""Modules of this package with a ``measure(bench)``, and their titles."""


def main() -> int:
    """Run the themes that were asked for; exit status 1 when a target was missed."""
    arguments = _arguments()
    # What is measured is the installed package, in this process as in those that it starts.
    checkout = str(Path(__file__).resolve().parent.parent)
    if sys.path and os.path.realpath(sys.path[0] or ".") == checkout:
        del sys.path[0]
    # A SIGTERM must tidy up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    from .bench import workplace
    from .figures import Figure, Series
    from .table import table

    document: dict[str, Any] = {"environment": _environment(), "quick": arguments.quick}
    themes = document["themes"] = {}
    print("  ".join(f"{name} {value}" for name, value in document["environment"].items()))
    missed = 0
    lines: list[Series] = []
    with workplace(arguments.quick, arguments.shimmy_path) as bench:
        for theme in arguments.themes or THEMES:
            began = time.monotonic()
            results = list(importlib.import_module(f".{theme}", __package__).measure(bench))
            print(table(f"{THEMES[theme]} ({time.monotonic() - began:.0f} s)", results), flush=True)
            themes[theme] = [result.to_json() for result in results]
            lines += [result for result in results if isinstance(result, Series)]
            missed += sum(isinstance(each, Figure) and each.is_met is False for each in results)
    if arguments.json is not None:
        Path(arguments.json).write_text(json.dumps(document, indent=2) + "\n")
    if arguments.plot is not None:
        from .plot import write

        write(lines, Path(arguments.plot))
    print(f"\n{missed} target{'s' * (missed != 1)} missed" if missed else "\nno target missed")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"of: {', '.join(THEMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute")
    parser.add_argument("--json", metavar="FILE", help="write all values there")
    parser.add_argument("--plot", metavar="FOLDER", help="draw the lines of the theme scale (SVG)")
    parser.add_argument("--shimmy-path", metavar="PATH", help="a real executable to measure, too")
    arguments = parser.parse_args()
    unknown = [theme for theme in arguments.themes if theme not in THEMES]
    if unknown:
        parser.error(f"no theme {', '.join(unknown)}; there are: {', '.join(THEMES)}")
    if arguments.shimmy_path is not None:
        arguments.shimmy_path = str(Path(arguments.shimmy_path).resolve())
    return arguments


def _environment() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
    }
    for name in ("pytest-shimmy", "pytest", "mirakuru", "pytest-xprocess"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


if __name__ == "__main__":
    sys.exit(main())
