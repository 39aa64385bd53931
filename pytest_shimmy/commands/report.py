"""``pytest-shimmy report``: the page of a run, and two runs side by side."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Commands, add_command
from .tables import GAP, in_columns, shown

if TYPE_CHECKING:
    from ..run_report.comparison import Difference

NARROWEST = 60
"""Columns of a terminal; a narrower one breaks the lines of a table."""

HTML_EXAMPLES = """\
  pytest-shimmy report html run.json                 writes run.html
  pytest-shimmy report html run.json -o page.html
"""
DIFF_EXAMPLES = """\
  pytest-shimmy report diff fake.json real.html      what differs, as a table
  pytest-shimmy report diff old.json new.json --json
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser to `commands`."""
    report = add_command(
        commands,
        "report",
        "make a page of a run's data, or compare two runs",
        "Work on what pytest --shimmy-report=FILE has written.",
    )
    parts = report.add_subparsers(metavar="WHAT", required=True)
    html = add_command(
        parts, "html", "write a page", "Write the page of a run's data.", HTML_EXAMPLES
    )
    html.add_argument("data", type=Path, help="a report: .json or .html")
    html.add_argument(
        "-o", "--output", type=Path, help="the page (default: beside the data, with .html)"
    )
    html.set_defaults(run=_html)
    diff = add_command(
        parts,
        "diff",
        "say what differs between two runs",
        "Say which tests have another outcome, other requests or other answers in two runs.\n"
        "Identifiers and times of creation do not count. Exit code 1 means that something differs.",
        DIFF_EXAMPLES,
    )
    diff.add_argument("first", type=Path, help="a report: .json or .html")
    diff.add_argument("second", type=Path, help="another one")
    diff.add_argument("--json", action="store_true", help="print JSON")
    diff.set_defaults(run=_diff)


def _html(chosen: argparse.Namespace) -> int:
    from ..run_report.comparison import load
    from ..run_report.page import write_page

    data: Path = chosen.data
    output = chosen.output or data.with_suffix(".html")
    write_page(output, load(data))
    print(output)
    return 0


def _diff(chosen: argparse.Namespace) -> int:
    from ..run_report.comparison import differences, load

    found = differences(load(chosen.first), load(chosen.second))
    if chosen.json:
        print(json.dumps([each._asdict() for each in found], indent=2))
        return 1 if found else 0
    width = max(NARROWEST, shutil.get_terminal_size((80, 0)).columns)
    for line in _table(found, (str(chosen.first), str(chosen.second)), width):
        print(line)
    count = len({each.test for each in found})
    print("no test differs" if not count else f"{count} test{'s' * (count != 1)} differ")
    return 1 if found else 0


def _table(found: Sequence[Difference], names: tuple[str, str], width: int) -> Iterator[str]:
    """A row for each difference, no wider than `width`; no lines without one."""
    if not found:
        return
    rows = [("TEST", "WHAT DIFFERS", *names)]
    rows += [(shown(each.test), each.what, shown(each.first), shown(each.second)) for each in found]
    wanted = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = width - wanted[1] - 3 * len(GAP)
    test = min(wanted[0], max(left // 3, left - wanted[2] - wanted[3]))
    first = min(wanted[2], max((left - test) // 2, left - test - wanted[3]))
    widths = (test, wanted[1], first, left - test - first)
    for row in rows:
        cells = (_end_of(row[0], test), row[1], *_cut(row[2], row[3], widths[2:]))
        yield in_columns(cells, widths)


def _end_of(text: str, width: int) -> str:
    """Its last characters: a test's name ends with what tells it from others."""
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _cut(first: str, second: str, widths: tuple[int, ...]) -> Iterator[str]:
    """Both, cut to their widths in a way that shows where they begin to differ."""
    same = next(
        (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
    begin = 0
    if any(len(text) > width for text, width in zip((first, second), widths, strict=True)):
        begin = max(0, same - min(widths) // 3)
    for text, width in zip((first, second), widths, strict=True):
        cut = f"…{text[begin + 1 :]}" if begin else text
        yield cut if len(cut) <= width else f"{cut[: width - 1]}…"
