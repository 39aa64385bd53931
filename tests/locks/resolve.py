"""Resolve anew what the tests install, write the lock files, print what moved.

    python3 dev.py lock

Each lock file holds exact versions with their hashes, for every Python that the project supports.
They name no index, so they work with whichever one an installation is set up for. Needs uv, which
``dev.py lock`` installs first, and npm.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path("tests/locks")
CLIENTS = Path("tests/clients/requirements")
OLDEST_PYTHON = "3.11"

BUILD = str(LOCKS / "build.in")
PYTHON: Mapping[Path, tuple[str, ...]] = {
    LOCKS / "demo.txt": ("pyproject.toml", BUILD),
    LOCKS / "test.txt": ("pyproject.toml", BUILD, "--extra=test", "--extra=check"),
    **{path.with_suffix(".txt").relative_to(ROOT): (str(path.relative_to(ROOT)),)
       for path in sorted((ROOT / CLIENTS).glob("*.in"))},
}  # fmt: skip
"""Each lock file of Python's, and what it is resolved from."""
NPM = (CLIENTS / "package-lock.json", Path("examples/node/package-lock.json"))
OWN = "../../packaging/npm"
"""The package of this repository, to which a lock file of npm may lead."""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def versions(path: Path) -> dict[str, str]:
    """Name and version of each package in a lock file; nothing where there is none yet."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        packages = json.loads(text)["packages"]
        return {name: each["version"] for name, each in packages.items() if "version" in each}
    return dict(_PINNED.findall(text))


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """A line for each package that came, went or changed its version."""
    return [
        f"{name} {before.get(name, '(new)')} -> {after.get(name, '(gone)')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def resolve_python(path: Path, sources: tuple[str, ...]) -> None:
    options = ["--universal", f"--python-version={OLDEST_PYTHON}", "--generate-hashes"]
    options += ["--no-header", "--upgrade", "--quiet", f"--output-file={path}"]
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", *options, *sources], cwd=ROOT, check=True
    )


def resolve_npm(path: Path) -> None:
    # Not an update of the old file: it would keep what still fits.
    (ROOT / path).unlink(missing_ok=True)
    options = ["--package-lock-only", "--omit-lockfile-registry-resolved"]
    options += ["--no-audit", "--no-fund", "--silent"]
    subprocess.run(["npm", "install", *options], cwd=ROOT / path.parent, check=True)
    document = json.loads((ROOT / path).read_text(encoding="utf-8"))
    for package in document["packages"].values():
        package.pop("funding", None)  # addresses of people who take money
    (ROOT / path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    before = {path: versions(ROOT / path) for path in (*PYTHON, *NPM)}
    for path, sources in PYTHON.items():
        resolve_python(path, sources)
    for path in NPM:
        resolve_npm(path)
    for path, old in before.items():
        lines = moved(old, versions(ROOT / path))
        print(f"{path}: {len(lines) or 'nothing'} moved")
        for line in lines:
            print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
