"""Starts a server with `ShimmyProcessManager`, prints its process id and port, and waits."""

from __future__ import annotations

import json
import sys

from pytest_shimmy import ShimmyProcessManager, ShimmyProcessOptions


def main() -> None:
    with ShimmyProcessManager() as manager:
        manager.start(ShimmyProcessOptions(**json.loads(sys.argv[1])))
        manager.ensure_ready()
        print(json.dumps([manager.pid, manager.port]), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
