"""The JavaScript on the pages runs, beside the package of npm as it is published."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.languages.conftest import Command
from tests.support.pages import DOCS, PAGES, blocks, title

pytestmark = pytest.mark.slow

PAGES_WITH_JS = [page for page in PAGES if any(each.language == "js" for each in blocks(page))]


def written(page: Path, folder: Path) -> list[str]:
    """The page's files of that language."""
    found = {each.name: each.text for each in blocks(page) if each.language == "js"}
    for name, text in found.items():
        (folder / name).write_text(text)
    return list(found)


def test_these_pages_are_known() -> None:
    known = ["how-to/any-language", "how-to/replace-a-fake"]
    assert [title(page) for page in PAGES_WITH_JS] == known


def test_a_program_prints_what_its_page_says(installed: Path, run: Command) -> None:
    page = DOCS / "how-to" / "any-language.md"
    assert written(page, installed) == ["start.mjs"]
    printed = re.search(r"^It prints `(.+)` and `(.+)`\.$", page.read_text(), re.MULTILINE)
    assert printed is not None
    assert run("node", "start.mjs", cwd=installed) == f"{printed[1]}\n{printed[2]}\n"


def test_the_same_tests_pass_on_a_stand_in_and_on_the_fake(installed: Path, run: Command) -> None:
    page = DOCS / "how-to" / "replace-a-fake.md"
    files = written(page, installed)
    assert files == ["ask.mjs", "stand-in.mjs", "before.test.mjs", "after.test.mjs"]
    said = run("node", "--test", "before.test.mjs", "after.test.mjs", cwd=installed)
    assert re.search(r"^# pass 5\n# fail 0\n", said, re.MULTILINE)


def test_the_new_set_up_has_ten_lines() -> None:
    *_, after = [each for each in blocks(DOCS / "how-to" / "replace-a-fake.md") if each.name]
    begin, end = after.text.index("const folder"), after.text.index("\n\ntest(")
    assert len(after.text[begin:end].splitlines()) == 10
