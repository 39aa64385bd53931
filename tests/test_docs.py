"""The documents are true: their examples run, their tables are those of the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from pytest_shimmy.fake import FakeShimmy, Rule
from pytest_shimmy.journal import RecordedRequest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NAMED_BLOCK = re.compile(r"(?:^`([\w.]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROWS = "<!-- each row is run in place of the first -->\n"
TABLE = re.compile(
    rf"^```python\n((?:(?!^```).)*)^```\n\n{ROWS}((?:\|[^\n]*\n)+)", re.DOTALL | re.MULTILINE
)


class Snippets(NamedTuple):
    """Code of a page that finds the same files beside itself."""

    files: dict[str, str]
    codes: list[str]


def snippets(page: Path) -> list[Snippets]:
    """The page's Python code; a block under a line that is a file's name is that file from there
    on."""
    found = [Snippets({}, [])]
    for name, language, text in NAMED_BLOCK.findall(page.read_text()):
        if name:
            found.append(Snippets({**found[-1].files, name: text}, []))
        elif language == "python":
            found[-1].codes.append(text)
    return found


def suites(page: Path) -> list[Snippets]:
    """The same of what is a test, without what is none."""
    tests = [
        Snippets(files, [code for code in codes if "def test_" in code])
        for files, codes in snippets(page)
    ]
    return [each for each in tests if each.codes]


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


@pytest.fixture
def run_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Snippets], None]:
    """Run tests on the bundled fake, and see all of them pass."""
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))

    def run_tests(tests: Snippets) -> None:
        for name, text in tests.files.items():
            (pytester.path / name).write_text(text)
        pytester.makepyfile(
            **{f"test_{number}": code for number, code in enumerate(tests.codes, 1)}
        )
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
        code = "".join(tests.codes)
        xfailed = code.count("mark.xfail(")
        result.assert_outcomes(passed=code.count("def test_") - xfailed, xfailed=xfailed)

    return run_tests


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "tests",
    [
        pytest.param(tests, id=f"{page.name}-{number}")
        for page in PAGES
        for number, tests in enumerate(suites(page), 1)
    ],
)
def test_example_tests_pass_on_the_bundled_fake(
    tests: Snippets, run_tests: Callable[[Snippets], None]
) -> None:
    run_tests(tests)


@pytest.mark.parametrize("page", [page for page in PAGES if rows(page)], ids=lambda page: page.name)
def test_each_row_of_a_table_of_recipes_does_what_it_says(
    page: Path, run_tests: Callable[[Snippets], None]
) -> None:
    run_tests(Snippets(suites(page)[0].files, rows(page)))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate((code for each in snippets(page) for code in each.codes), 1)
        if "def test_" not in code
    ],
)
def test_example_programs_run(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=program,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_generated_tables_are_those_of_the_code(generator: ModuleType) -> None:
    for path in generator.PAGES:
        page = path.read_text()
        assert page == generator.generate(page), "run: python docs/generate.py"


def test_the_shipped_schema_is_that_of_the_reader(generator: ModuleType) -> None:
    assert generator.SCHEMA.read_text() == generator.schema(), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("owner", "ours"),
    [
        (FakeShimmy, {"close", "journal", "leftovers", "report"}),
        (Rule, set()),
        (RecordedRequest, {"facts", "from_json"}),
    ],
)
def test_the_cookbook_names_all_that_a_test_can_use(owner: type, ours: set[str]) -> None:
    _, _, summary = (ROOT / "docs" / "cookbook.md").read_text().partition("## All of it")
    names = {*dir(owner), *getattr(owner, "__dataclass_fields__", ())}
    told = {name for name in names if f"`{name}" in summary}
    assert {name for name in names - told if not name.startswith("_")} == ours


def test_the_readme_fits_a_screen_and_ci_runs_its_test_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 70
    assert "python3 dev.py test " in readme
    assert "\npython3 dev.py test\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("server", ["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def test_the_consumer_suite_passes(
    server: str,
    request: pytest.FixtureRequest,
    models_dir: Path,
    run_in: Callable[..., str],
) -> None:
    arguments = []
    if server == "real":
        path = request.getfixturevalue("real_shimmy")
        arguments = [f"--shimmy-path={path}", f"--shimmy-models-dir={models_dir}"]
    output = run_in(ROOT / "examples", *arguments)
    assert "6 passed" in output if server == "real" else "5 passed, 1 skipped" in output


@pytest.fixture
def run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run pytest in a directory, and return what it printed."""
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))

    def run_in(directory: Path, *arguments: str) -> str:
        command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run_in
