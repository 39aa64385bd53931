"""What is generated is current, and the reference names everything."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import pytest_shimmy
from pytest_shimmy import events
from pytest_shimmy.errors import ShimmyErrorCode
from pytest_shimmy.fake_control.fake import FakeShimmy, Rule
from pytest_shimmy.fake_control.journal import RecordedRequest
from pytest_shimmy.settings_table import TABLE
from tests.support.pages import DOCS, PAGES, ROOT, title

REFERENCE = DOCS / "reference"


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_generated_parts_are_those_of_the_code(generator: ModuleType) -> None:
    for path in generator.PAGES:
        page = path.read_text()
        assert page == generator.generate(page), f"{path.name}: run python -m docs.generate"


def test_every_generated_part_is_on_a_page(generator: ModuleType) -> None:
    pages = "".join(path.read_text() for path in generator.PAGES)
    for name in generator.PARTS:
        assert pages.count(f"<!-- generated: {name} -->") == 1, name


def test_the_shipped_schemas_are_those_of_the_readers(generator: ModuleType) -> None:
    for path, content in generator.GENERATED.items():
        assert path.read_text() == content(), f"{path.name}: run python -m docs.generate"


@pytest.mark.slow
def test_the_drawings_are_those_of_their_texts_and_of_the_imports(generator: ModuleType) -> None:
    for path, text in generator.drawings.sources().items():
        assert path.read_text() == text, f"{path.name}: run python -m docs.generate"
        assert path.with_suffix(".svg").read_text() == generator.drawings.draw(path)


def test_every_drawing_follows_dark_mode(generator: ModuleType) -> None:
    light = {
        path
        for path in generator.drawings.DRAWINGS.glob("*.svg")
        if not re.search(r"@media[^{]*\(prefers-color-scheme: ?dark\)", path.read_text())
    }
    assert light == {generator.picture.REPORT}, "a terminal is dark, the others follow the reader"


@pytest.mark.slow
def test_every_drawing_is_on_a_page_and_says_what_it_shows(generator: ModuleType) -> None:
    shown = re.findall(
        r"!\[(.+?)\]\(\S*drawings/(\w+)\.svg\)", "".join(page.read_text() for page in PAGES)
    )
    made = [*generator.drawings.sources(), generator.picture.REPORT]
    assert {name for _, name in shown} == {path.stem for path in made}


@pytest.mark.slow
def test_the_picture_of_a_report_is_that_of_a_run(generator: ModuleType) -> None:
    shown = generator.picture.report()
    assert generator.picture.REPORT.read_text() == shown, "run python -m docs.generate"


def test_a_picture_of_a_terminal_has_its_colours_and_wraps_where_it_does(
    generator: ModuleType,
) -> None:
    wide = generator.picture.COLUMNS
    red = f"\x1b[1m\x1b[31m{'x' * wide}<\x1b[0m"
    picture = xml.etree.ElementTree.fromstring(generator.picture.svg(["  plain", red]))
    texts = [
        (each.get("x"), each.get("y"), each.get("class"), each.text)
        for each in picture.iter("{http://www.w3.org/2000/svg}text")
    ]
    assert texts == [
        ("32.8", "30", None, "plain"),
        ("16", "49", "bold red", "x" * wide),
        ("16", "68", "bold red", "<"),
    ]


def test_whatever_came_later_is_something_that_there_is(generator: ModuleType) -> None:
    known = {row.name for row in TABLE}
    known |= {*ShimmyErrorCode, *get_args(events.EventName)}
    known |= set(re.findall("^.? ?`([a-z_]+)`", generator.fixtures_table(), re.MULTILINE))
    known |= set(vars(pytest_shimmy.ShimmyProcessDefaults))
    assert not set(generator.SINCE) - known


def test_the_library_page_has_a_section_for_every_public_name() -> None:
    headings = re.findall(r"^## (\w+)$", (REFERENCE / "library.md").read_text(), re.MULTILINE)
    assert not set(pytest_shimmy.__all__) - set(headings)
    assert len(headings) == len(set(headings))


def test_every_attribute_on_the_library_page_has_a_meaning() -> None:
    # Their meanings are those of the settings, which the page names there.
    page, changes = (REFERENCE / "library.md").read_text().split("\n## SettingChanges\n")
    page += changes.partition("\n## ")[2]
    assert re.findall(r"^\| `(\w+)` \|[^|]*\|\s*\|$", page, re.MULTILINE) == []


def test_the_events_page_has_a_section_for_every_payload() -> None:
    page, _, _ = (REFERENCE / "events.md").read_text().partition("## ExitStatus\n")
    for payload in get_args(events.Event):
        assert f"## {payload.__name__}\n" in page
    fields = re.findall(r"^\| `\w+` \| <code>.*</code> \| (.*) \|$", page, re.MULTILINE)
    assert fields
    assert all(fields), "a field without a text below it"


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=title)
def test_no_page_has_the_marks_of_a_merge(page: Path) -> None:
    assert not re.findall(r"^(?:<{7}|>{7}|={7}$).*", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_flag_that_is_named_is_one(page: Path) -> None:
    flags = {row.flag for row in TABLE} | {"--no-shimmy-fake"}
    named = re.findall(r"--(?:no-)?shimmy-[a-z-]+", page.read_text())
    assert not set(named) - flags


@pytest.mark.parametrize(
    ("owner", "ours"),
    [
        (FakeShimmy, {"close", "journal", "leftovers", "report"}),
        (Rule, set()),
        (RecordedRequest, {"facts", "from_json"}),
    ],
)
def test_the_summary_names_all_that_a_test_can_use(owner: type, ours: set[str]) -> None:
    summary = (REFERENCE / "shimmy-fake.md").read_text()
    names = {*dir(owner), *getattr(owner, "__dataclass_fields__", ())}
    told = {name for name in names if f"`{name}" in summary}
    assert {name for name in names - told if not name.startswith("_")} == ours
