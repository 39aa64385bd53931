"""A switch for a model on this machine: Enter turns its server on or off.

    python toggle.py --models DIRECTORY --shimmy shimmy

Without --shimmy, it is the bundled fake that is switched.
"""

from __future__ import annotations

import argparse
import sys

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions


def show(state: str) -> None:
    print(state, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Enter turns the server on or off.")
    parser.add_argument("--shimmy", metavar="PATH", help="the executable (default: the fake)")
    parser.add_argument("--models", metavar="DIRECTORY", default="models", help="where models are")
    chosen = parser.parse_args()
    options = ShimmyProcessOptions(shimmy_path=chosen.shimmy, models_dir=chosen.models)

    with ShimmyProcessManager() as manager:
        manager.on("starting", lambda it: show(f"starting: process {it.pid}"))
        manager.on("ready", lambda it: show(f"ready: shimmy {it.version} at {manager.url}"))
        manager.on("restarting", lambda _: show("restarting"))
        manager.on("stopped", lambda _: show("stopped"))
        manager.on("error", lambda it: show(f"failed: {it.error}"))
        for _enter in sys.stdin:
            if manager.state in ("idle", "failed"):
                manager.start(options)
            else:
                manager.stop()


if __name__ == "__main__":
    main()
