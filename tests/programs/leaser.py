"""Leases ports, prints them as a JSON list, and holds them until its input ends."""

from __future__ import annotations

import json
import sys

from pytest_shimmy.supervisor import ports


def main() -> None:
    leases = [ports.lease() for _ in range(int(sys.argv[1]))]
    print(json.dumps([lease.port for lease in leases]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
