"""The documents are true: their examples run, their tables are those of the code."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def cases(kind: str) -> list[object]:
    found = []
    for page in PAGES:
        for number, snippet in enumerate(snippets(page), 1):
            if ("def test_" in snippet) == (kind == "test"):
                found.append(pytest.param(snippet, id=f"{page.name}-{number}"))
    return found


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("snippet", cases("test"))
def test_example_tests_pass_on_the_bundled_fake(
    pytester: pytest.Pytester, snippet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    pytester.makepyfile(snippet)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=snippet.count("def test_"))


@pytest.mark.parametrize("snippet", cases("program"))
def test_example_programs_run(snippet: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=snippet,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_generated_tables_are_those_of_the_code(generator: ModuleType) -> None:
    page = generator.PAGE.read_text()
    assert page == generator.generate(page), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


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
