"""Bring the recordings up to date with the tables of checks.

    python -m tools.record              every recording whose executable is built here
    python -m tools.record 2.6.5-default  only that one, new or not; built if need be

Strategy: a check that is new, or was changed since, is done to the real executable, twice; one that
is gone leaves the recording. All others stay as they were recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import dev
from pytest_shimmy import ShimmyError
from pytest_shimmy.contract import recording_files, verify
from pytest_shimmy.contract.cases.all import all_cases
from pytest_shimmy.contract.recordings import Recording, digest
from pytest_shimmy.contract.subject import Subject, executable


def update(known: Recording | None, who: Subject) -> Recording | None:
    """The recording of `who` as it should be; None where `known` is.

    Raises `ShimmyError` for checks that do not come out the same twice.
    """
    digests = {case.id: digest(case) for case in all_cases() if who.takes(case)}
    entries = dict(known.entries) if known else {}
    kept = {name: entry for name, entry in entries.items() if digests.get(name) == entry.digest}
    missing = digests.keys() - kept.keys()
    if known is not None and not missing and len(kept) == len(entries):
        return None
    made = verify.record(who, lambda case: case.id in missing)
    features = known.features if known else made.features
    return made._replace(entries={**kept, **made.entries}, features=features)


def main(names: Sequence[str]) -> int:
    """The exit code is 1 where a recording is still not what it should be."""
    known = {one.name: one for one in recording_files.shipped()}
    paths = dev.real_shimmys(list(names)) if names else _built(known)
    status = 0
    for name in names or known:
        if name not in paths:
            print(f"{name}: there is no executable here")
            continue
        try:
            made = update(known.get(name), executable(paths[name]))
        except ShimmyError as error:
            print(f"{name}: {error}")
            status = 1
            continue
        if made is not None:
            recording_files.ship(made)
        count = f"{len(made.entries)} checks" if made else "as it was"
        print(f"{name}: {count}", flush=True)
    return status


def _built(names: Iterable[str]) -> dict[str, Path]:
    paths = {name: dev.cache() / f"shimmy-{name}" / "bin" / "shimmy" for name in names}
    return {name: path for name, path in paths.items() if path.exists()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
