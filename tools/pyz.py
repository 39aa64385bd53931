#!/usr/bin/env python3
"""Make fake-shimmy.pyz: the fake as one file, which any Python from 3.11 on runs without packages.

    python3 tools/pyz.py TARGET

Strategy: standard library only, from the sources beside this file, so that a container, a CI job or
a package of another language makes it without installing anything. Python keeps no compiled copies
of what is in an archive, and to compile anew takes longer than the start itself; so it has compiled
modules beside the sources, for this Python and for each other one that is found as ``python3.X``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipapp
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "fake_shimmy"
INTERPRETER = "/usr/bin/env python3"
OLDEST = (3, 11)
NEWEST_MINOR = 15
EPOCH = 315_532_800
"""1980-01-01, the oldest time that a zip file can say."""

MAIN = f"""\
import sys

if sys.version_info < {OLDEST}:
    sys.exit("fake-shimmy needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is " + sys.version)
sys.path.insert(0, f"{{sys.path[0]}}/{{sys.implementation.cache_tag}}")
from fake_shimmy.__main__ import main

main()
"""

COMPILE = """\
import pathlib, py_compile, sys

source, target = map(pathlib.Path, sys.argv[1:])
for path in source.rglob("*.py"):
    name = path.relative_to(source.parent)
    compiled = target / sys.implementation.cache_tag / name.with_suffix(".pyc")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(path, compiled, str(name), doraise=True, invalidation_mode=mode)
"""


def build(target: Path) -> None:
    """Write the file, executable; whoever looks sees all of it, or what was there before."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pyz-") as folder:
        staged = Path(folder, "staged")
        ignored = shutil.ignore_patterns("__pycache__", "py.typed", ".*")
        shutil.copytree(PACKAGE, staged / PACKAGE.name, ignore=ignored)
        (staged / "__main__.py").write_text(MAIN, encoding="utf-8")
        for python in interpreters():
            compiling = [python, "-I", "-c", COMPILE, str(PACKAGE), str(staged)]
            subprocess.run(compiling, check=True)
        for path in staged.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (EPOCH, EPOCH))
        made = Path(folder, "made")
        zipapp.create_archive(staged, made, INTERPRETER, compressed=True)
        made.chmod(0o755)
        made.replace(target)


def interpreters() -> list[str]:
    """This Python, and one of each other version that runs the fake."""
    tag = "import sys; print(sys.implementation.cache_tag)"
    found = {sys.implementation.cache_tag: sys.executable}
    for minor in range(OLDEST[1], NEWEST_MINOR + 1):
        python = shutil.which(f"python3.{minor}")
        if python is not None:
            # What is found may be a shim that finds nothing.
            asked = subprocess.run([python, "-I", "-c", tag], capture_output=True, text=True)
            if asked.returncode == 0:
                found.setdefault(asked.stdout.strip(), python)
    return list(found.values())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build(Path(sys.argv[1]))
