"""``pytest-shimmy report``: the page of a run, and two runs side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .arguments import Commands, add_command

HTML_EXAMPLES = """\
  pytest-shimmy report html run.json                 writes run.html
  pytest-shimmy report html run.json -o page.html
"""
DIFF_EXAMPLES = """\
  pytest-shimmy report diff fake.json real.html      what differs, a line each
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
    from ..run_report.page import page

    data: Path = chosen.data
    output = chosen.output or data.with_suffix(".html")
    text = page(load(data))
    output.write_text(text, encoding="utf-8")
    print(output)
    return 0


def _diff(chosen: argparse.Namespace) -> int:
    from ..run_report.comparison import differences, load

    found = differences(load(chosen.first), load(chosen.second))
    if chosen.json:
        print(json.dumps([each._asdict() for each in found], indent=2))
        return 1 if found else 0
    for each in found:
        print(f"{each.test}: {each.what}\n  - {each.first}\n  + {each.second}")
    count = len({each.test for each in found})
    print("no test differs" if not count else f"{count} test{'s' * (count != 1)} differ")
    return 1 if found else 0
