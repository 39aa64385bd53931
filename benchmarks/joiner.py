"""Joins a running server many times: a program, run beside the process that started it.

Arguments: the run's id, the server's key, how often; "wait" to join at the end of standard input.
Prints one number of milliseconds per join.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from pytest_shimmy.sharing.link import join
from pytest_shimmy.sharing.run import Run


def main() -> None:
    run, key, times = Run(sys.argv[1], None), sys.argv[2], int(sys.argv[3])
    if sys.argv[4:] == ["wait"]:
        print("loaded", flush=True)
        sys.stdin.read()
    for _ in range(times):
        began = time.perf_counter()
        link = join(run, key, _no_plan)
        link.ready()
        print(1000 * (time.perf_counter() - began), flush=True)
        link.leave(0.0)
    # Others may be joining still: what an interpreter does at its end is not to be in their way.
    os._exit(0)


def _no_plan(directory: Path) -> NoReturn:
    raise RuntimeError(f"there is no server to join in {directory}")


if __name__ == "__main__":
    main()
