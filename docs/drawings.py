#!/usr/bin/env python3
"""The drawings of the documentation: from text (``drawings/*.d2``) to SVG.

The text of the two that show a package's folders comes from the imports, so they cannot be wrong.
The SVG files are kept beside the text, because the pages are also read where nothing is built; a
test draws them anew and compares. They fetch nothing, and follow a reader's dark mode.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.support.architecture import arrows, folder, imports

DOCS = Path(__file__).resolve().parent
DRAWINGS = DOCS / "drawings"
PACKAGES = ("pytest_shimmy", "fake_shimmy")


def draw(source: Path) -> str:
    """The SVG of a drawing. Raises `subprocess.CalledProcessError` with what is wrong in it."""
    command = [str(Path(sysconfig.get_path("scripts")) / "d2"), "--layout=elk", "--pad=8"]
    themes = ["--theme=0", "--dark-theme=200"]
    drawn = subprocess.run(
        [*command, *themes, str(source), "-"], capture_output=True, text=True, check=True
    ).stdout
    # Without a size, a browser makes a small drawing as wide as the page.
    return re.sub(r'viewBox="0 0 (\d+) (\d+)"', r'\g<0> width="\1" height="\2"', drawn, count=1)


def package_map(name: str) -> str:
    """The folders of a package and who imports whom, as the text of a drawing.

    An arrow is left out where a way through other folders says the same.
    """
    own = [each for each in imports(DOCS.parent / name) if each.is_own]
    graph = arrows(
        (folder(each.importer), folder(each.imported))
        for each in own
        if each.importer and each.imported
    )
    lines = [
        f"{source} -> {target}"
        for source in sorted(graph)
        for target in sorted(graph[source])
        if not any(target in _reached(graph, other) for other in graph[source] - {target})
    ]
    return "\n".join(["# Made by docs.generate from the imports.", *lines, ""])


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def sources() -> dict[Path, str]:
    """Each drawing's file and text."""
    texts = {path: path.read_text() for path in sorted(DRAWINGS.glob("*.d2"))}
    return texts | {DRAWINGS / f"{name}.d2": package_map(name) for name in PACKAGES}


def write() -> None:
    """Write every drawing's text and picture."""
    for path, text in sources().items():
        path.write_text(text)
        path.with_suffix(".svg").write_text(draw(path))
