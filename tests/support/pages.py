"""What the pages of the documentation contain: files, tests, programs, commands, tables.

A page tells its reader what each block is, and that is what tells it here:

- a block under a line that is a file's name is that file, from there on;
- other Python code is a test, or a program that runs by itself;
- ``console`` blocks are commands and what they print, where ``…`` stands for anything;
- a comment says what a reader need not know (`COMMENTS`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

BLOCK = re.compile(
    r"(?:<!-- ([^>]+) -->\n)?(?:^`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
WITH_FILES = re.compile(r"<!-- with the files of ([\w.]+) -->")
RUNS_WITH = re.compile(r"runs with ([\w, ]+)")
"""A comment before the code of another library; the environment of the recipes has them."""
ON_REAL = "on a real shimmy"
"""A comment before commands for which there has to be a ``shimmy`` on PATH."""
ON_ATTACHED = "a server runs at 11435"
"""A comment before commands for which somebody else's server has to be there."""
COMMENTS = (RUNS_WITH, re.compile(ON_REAL), re.compile(ON_ATTACHED))

ROWS = "<!-- each row is run in place of the first -->\n"
TABLE = re.compile(
    rf"^```python\n((?:(?!^```).)*)^```\n\n{ROWS}((?:\|[^\n]*\n)+)", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    comment: str
    name: str
    language: str
    text: str


class Snippets(NamedTuple):
    """Code of a page that finds the same files beside itself."""

    files: dict[str, str]
    codes: list[str]


class Suite(NamedTuple):
    """Tests that one run of pytest can hold."""

    name: str
    files: dict[str, str]
    modules: dict[str, str]


class Commands(NamedTuple):
    """What is typed and printed on a page, with the files that are there by then."""

    files: dict[str, str]
    needs: str
    text: str


def title(page: Path) -> str:
    """How tests call the page."""
    return str(page.relative_to(ROOT)).removeprefix("docs/").removesuffix(".md")


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    found = WITH_FILES.search(text)
    if found is not None:
        yield from (each for each in blocks(page.with_name(found[1])) if each.name)
    yield from (Block(*each) for each in BLOCK.findall(text))


def snippets(page: Path) -> list[Snippets]:
    """The page's Python code, save that of other libraries."""
    found = [Snippets({}, [])]
    for block in blocks(page):
        if block.name:
            found.append(Snippets({**found[-1].files, block.name: block.text}, []))
        elif block.language == "python" and not RUNS_WITH.search(block.comment):
            found[-1].codes.append(block.text)
    return found


def suites(page: Path) -> list[Snippets]:
    """What of it is tests."""
    tests = [
        Snippets(files, [code for code in codes if "def test_" in code])
        for files, codes in snippets(page)
    ]
    return [each for each in tests if each.codes]


def suites_by_files(pages: list[Path]) -> list[Suite]:
    """The tests of all pages; those that find the same files beside themselves are one suite."""
    found: dict[tuple[tuple[str, str], ...], Suite] = {}
    for page in pages:
        for files, codes in suites(page):
            suite = found.setdefault(tuple(files.items()), Suite(title(page), files, {}))
            for code in [*codes, *(rows(page) if files == suites(page)[0].files else [])]:
                suite.modules[f"{title(page)}-{len(suite.modules) + 1}"] = code
    return list(found.values())


def programs(page: Path) -> list[str]:
    """What of it is none."""
    return [code for each in snippets(page) for code in each.codes if "def test_" not in code]


class Foreign(NamedTuple):
    """Tests of a page that need libraries of other people, and the files beside them."""

    packages: list[str]
    files: dict[str, str]
    code: str


def foreign(page: Path) -> list[Foreign]:
    found = []
    files: dict[str, str] = {}
    for block in blocks(page):
        if block.name:
            files = {**files, block.name: block.text}
        elif needs := RUNS_WITH.search(block.comment):
            found.append(Foreign(needs[1].replace(",", " ").split(), files, block.text))
    return found


def commands(page: Path) -> list[Commands]:
    files: dict[str, str] = {}
    found = []
    for block in blocks(page):
        if block.name:
            files = {**files, block.name: block.text}
        elif block.language == "console":
            found.append(Commands(files, block.comment, block.text))
    return found


def rows(page: Path) -> list[str]:
    """A test for each row of the tables that follow a test. What the table's first row says, save
    its last column, is in that test; the other rows say something else in its place."""
    tests, text = [], page.read_text()
    tables = TABLE.findall(text)
    assert len(tables) == text.count(ROWS), "such a table follows a test"
    for code, table in tables:
        _, _, first, *others = [
            [cell.strip(" `") for cell in row.split("|")[1:-2]] for row in table.splitlines()
        ]
        for cells in others:
            test = code.replace("pytest.raises(", "exactly(")
            for shown, instead in zip(first, cells, strict=True):
                assert code.count(shown) == 1, shown
                test = test.replace(shown, instead)
            tests.append(test + EXACTLY)
    return tests


EXACTLY = """

import contextlib


@contextlib.contextmanager
def exactly(kind):
    import pytest

    with pytest.raises(kind) as raised:
        yield
    assert raised.type is kind
"""
