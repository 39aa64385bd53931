"""Joins a running server many times: a program, run beside the process that started it.

Arguments: the run's id, the server's key, how often. Prints one number of milliseconds per join.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NoReturn

from pytest_shimmy.sharing.link import Run, join


def main() -> None:
    run, key, times = Run(sys.argv[1], None), sys.argv[2], int(sys.argv[3])
    for _ in range(times):
        began = time.perf_counter()
        link = join(run, key, _no_plan)
        link.ready()
        print(1000 * (time.perf_counter() - began))
        link.leave(0.0)


def _no_plan(directory: Path) -> NoReturn:
    raise RuntimeError(f"there is no server to join in {directory}")


if __name__ == "__main__":
    main()
