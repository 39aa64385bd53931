"""The code on the pages runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.clients import environments
from tests.clients.conftest import demand
from tests.support.consumer_suite import FEW_PLUGINS, PATIENT_HYPOTHESIS
from tests.support.pages import (
    PAGES,
    ROOT,
    Foreign,
    Suite,
    blocks,
    foreign,
    programs,
    suites,
    suites_by_files,
    title,
)
from tests.support.type_checking import run_mypy

pytestmark = pytest.mark.slow

PLUGINS = ("anyio", "asyncio", "recording", "requests_mock", "socket")
"""What pages use, by the names with which ``-p`` has them."""


@pytest.fixture
def run_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Suite], None]:
    """Run tests on the bundled fake, and see all of them pass."""
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))

    def run_tests(suite: Suite) -> None:
        for name, text in suite.files.items():
            (pytester.path / name).write_text(text)
        for name, code in suite.modules.items():
            module = f"test_{re.sub(r'[^a-z0-9]', '_', name)}.py"
            (pytester.path / module).write_text(code)
        code = "".join(suite.modules.values())
        if "hypothesis" in code:
            pytester.makeconftest(PATIENT_HYPOTHESIS)
        needed = [part for name in PLUGINS if name in code for part in ("-p", name)]
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *FEW_PLUGINS, *needed)
        xfailed = code.count("mark.xfail(")
        skipped = code.count("mark.skip(")
        passed = code.count("def test_") - xfailed - skipped
        result.assert_outcomes(passed=passed, xfailed=xfailed, skipped=skipped)

    return run_tests


@pytest.mark.parametrize("suite", suites_by_files(PAGES), ids=lambda suite: suite.name)
def test_example_tests_pass_on_the_bundled_fake(
    suite: Suite, run_tests: Callable[[Suite], None]
) -> None:
    """With a test for each row of the tables of recipes, which does what the row says."""
    run_tests(suite)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(code, id=f"{title(page)}-{number}")
        for page in PAGES
        for number, code in enumerate(programs(page), 1)
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


def test_code_that_is_annotated_passes_mypy(tmp_path: Path) -> None:
    annotated = [
        (f"{re.sub('[^a-z]', '_', title(page))}_{number}", {**files, "": code})
        for page in PAGES
        for files, codes in suites(page)
        for number, code in enumerate(codes)
        if re.search(r"def test_.*?\) -> None:", code, re.DOTALL)
    ]
    assert len(annotated) > 2
    for name, texts in annotated:
        for file, text in texts.items():
            if not file or file.endswith(".py"):
                (tmp_path / f"{name}_{file or 'test.py'}").write_text(text)
    done = run_mypy(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(block.text, id=f"{title(page)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page), 1)
        if block.language == "yaml" and not block.name
    ],
)
def test_a_job_for_ci_has_steps_that_do_something(text: str) -> None:
    (job,) = yaml.safe_load(text).values()
    assert job["runs-on"]
    assert all("run" in step or "uses" in step for step in job["steps"])


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{title(page)}-{'-'.join(block.packages)}")
        for page in PAGES
        for block in foreign(page)
    ],
)
def test_code_beside_other_libraries_runs(
    block: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demand(environments.RECIPES)
    for name, text in {**block.files, "test_page.py": block.code}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = ["-p", "pytest_shimmy.plugin", "-q"]
    python, *_ = environments.RECIPES.command(tmp_path)
    done = subprocess.run(
        [python, "-B", "-m", "pytest", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    skipped = block.code.count("mark.skip(")
    expected = [("passed", block.code.count("def test_") - skipped), ("skipped", skipped)]
    for outcome, count in expected:
        assert f"{count} {outcome}" in done.stdout or not count


@pytest.mark.parametrize("server", ["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
def test_the_consumer_suite_passes(
    server: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    arguments = []
    if server == "real":
        path = request.getfixturevalue("real_shimmy")
        arguments = [f"--shimmy-path={path}", "--shimmy-tiny-model"]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT / "examples",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout if server == "real" else "5 passed, 1 skipped" in done.stdout
