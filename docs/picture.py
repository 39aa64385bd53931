"""The picture of a failing report on the front page: what pytest prints for the README's files.

It is made by a run of these files on the bundled fake, so it shows what a reader gets. What differs
from run to run (the port, the time) is set to one value. The colours of a terminal become classes
of an SVG, which fetches nothing and has its own dark background.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import NamedTuple

from tests.support.pages import ROOT, blocks

REPORT = ROOT / "docs" / "drawings" / "report.svg"
COLUMNS = 80
CHARACTER, LINE, EDGE = 8.4, 19, 16
"""Pixels: a character's width, a line's height, the border."""

VARIES = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:22435"),
    (re.compile(r"in \d+\.\d\ds"), "in 0.98s"),
)
COLOURS = {31: "red", 32: "green", 33: "yellow", 34: "blue", 36: "cyan", 90: "grey"}
COLOURS |= {91: "red", 92: "green", 93: "yellow", 94: "blue", 95: "magenta", 96: "cyan"}
_ESCAPE = re.compile(r"\x1b\[([\d;]*)m")

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"
width="{width:g}" height="{height:g}" role="img">
<style>
text {{ font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d6deeb; \
white-space: pre; }}
.bold {{ font-weight: bold; }} .red {{ fill: #ff7b72; }} .green {{ fill: #7ee787; }}
.yellow {{ fill: #e3b341; }} .blue {{ fill: #79c0ff; }} .cyan {{ fill: #56d4dd; }}
.grey {{ fill: #8b949e; }} .magenta {{ fill: #d2a8ff; }}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
{lines}
</svg>
"""


class Span(NamedTuple):
    column: int
    text: str
    classes: str


def report() -> str:
    """The picture, from a run."""
    command = ["pytest", "-q", "--color=yes"]
    printed = _run(command)
    for pattern, value in VARIES:
        printed = pattern.sub(value, printed)
    return svg([f"\x1b[90m$\x1b[0m {' '.join(command[:2])}", *printed.rstrip().split("\n")])


def _run(command: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder, "project")
        here.mkdir()
        for block in blocks(ROOT / "README.md"):
            if block.name:
                (here / block.name).write_text(block.text)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "COLUMNS": str(COLUMNS),
            "PYTEST_SHIMMY_RUNTIME_DIR": str(Path(folder, "runtime")),
            # A reader need not have the other plugins of this environment.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "-p xdist.plugin -p pytest_shimmy.plugin -p no:cacheprovider",
        }
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 1, done.stdout  # tests failed, and nothing else did
    return done.stdout


def svg(lines: list[str]) -> str:
    """Lines of a terminal as a picture."""
    rows = [row for line in lines for row in _rows(line)]
    texts = [
        _text(span, EDGE + number * LINE - 5)
        for number, row in enumerate(rows, 1)
        for span in row
        if span.text.strip()
    ]
    return FRAME.format(
        width=2 * EDGE + COLUMNS * CHARACTER,
        height=2 * EDGE + len(rows) * LINE,
        lines="\n".join(texts),
    )


def _rows(line: str) -> list[list[Span]]:
    """What a terminal shows of a line: spans of one look, in as many rows as it needs."""
    rows: list[list[Span]] = [[]]
    column, bold, colour = 0, "", ""
    # What stands before the first escape has no codes.
    parts = ["", *_ESCAPE.split(line)]
    for codes, text in zip(parts[::2], parts[1::2], strict=True):
        for code in map(int, filter(None, codes.split(";"))):
            bold = {0: "", 1: "bold"}.get(code, bold)
            colour = "" if code in (0, 39) else COLOURS.get(code, colour)
        while text:
            if column == COLUMNS:
                rows.append([])
                column = 0
            piece, text = text[: COLUMNS - column], text[COLUMNS - column :]
            rows[-1].append(Span(column, piece, f"{bold} {colour}".strip()))
            column += len(piece)
    return rows


def _text(span: Span, y: int) -> str:
    text = span.text.strip()
    column = span.column + len(span.text) - len(span.text.lstrip())
    classes = f' class="{span.classes}"' if span.classes else ""
    # The length keeps columns in whatever font there is.
    return (
        f'<text x="{EDGE + column * CHARACTER:g}" y="{y}" textLength="{len(text) * CHARACTER:g}"'
        f"{classes}>{escape(text)}</text>"
    )
