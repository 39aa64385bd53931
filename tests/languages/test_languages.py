"""Programs in other languages test themselves on the fake, each with its language's own tests, and
the same programs talk to a real shimmy."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from fake_shimmy.models import tiny_gguf
from fake_shimmy.models.files import SAFETENSORS
from pytest_shimmy.executable.identify import identify
from tests.languages.conftest import ROOT, Command, needs
from tools import distribution

pytestmark = pytest.mark.slow

SHELL_FAKE = '#!/bin/sh\nexec "{python}" "{pyz}" "$@"\n'


@pytest.fixture
def real(real_shimmy: Path, tmp_path: Path) -> dict[str, str]:
    """A real executable and a model that it serves, as the examples are told them."""
    is_adapter = identify(str(real_shimmy)).build().engine == "adapter"
    model = tmp_path / f"tiny{'.safetensors' if is_adapter else '.gguf'}"
    model.write_bytes(SAFETENSORS if is_adapter else tiny_gguf.contents())
    return {"SHIMMY": str(real_shimmy), "SHIMMY_MODEL": str(model)}


def test_the_package_of_npm_has_what_it_needs(packed: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert distribution.npm_problems(packed, version) == []
    assert (ROOT / "packaging/npm/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_what_the_package_of_npm_lacks_is_told(packed: Path) -> None:
    found = distribution.npm_problems(packed, "9.9.9")
    assert found == ["the package of npm is 0.1.0, the version is 9.9.9"]


def test_the_package_of_npm_passes_its_tests(installed: Path, run: Command) -> None:
    package = installed / "node_modules" / "fake-shimmy"
    tests = package / "test"
    tests.mkdir()
    for path in (ROOT / "packaging" / "npm" / "test").glob("*.js"):
        (tests / path.name).write_text(path.read_text())
    said = run("node", "--test", "test/", cwd=package, FAKE_SHIMMY_PYTHON=sys.executable)
    assert re.search(r"^# fail 0$", said, re.MULTILINE)
    assert re.search(r"^# pass [1-9]\d$", said, re.MULTILINE)


def test_the_example_in_its_readme_runs(installed: Path, run: Command) -> None:
    readme = (ROOT / "packaging" / "npm" / "README.md").read_text()
    (code,) = re.findall(r"^```js\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    (installed / "example.mjs").write_text(code)
    assert run("node", "example.mjs", cwd=installed) == "Paris.\nCapital of France?\n"


def test_an_application_in_typescript_tests_itself(example: Path, run: Command) -> None:
    said = run("node", "--test", "build/test/", cwd=example, FAKE_SHIMMY_PYTHON=sys.executable)
    assert re.search(r"^# pass 6\n# fail 0\n", said, re.MULTILINE)
    assert "# SKIP SHIMMY and SHIMMY_MODEL name no real one" in said


@pytest.mark.shimmy_real
def test_an_application_in_typescript_talks_to_a_real_one(
    example: Path, run: Command, real: dict[str, str]
) -> None:
    said = run("node", "--test", "--test-name-pattern=real", "build/test/", cwd=example, **real)
    assert re.search(r"^# pass [12]\n# fail 0\n", said, re.MULTILINE)
    assert "SKIP SHIMMY" not in said


@pytest.fixture
def fake_executable(built: Path, tmp_path: Path) -> str:
    path = tmp_path / "fake-shimmy"
    path.write_text(SHELL_FAKE.format(python=sys.executable, pyz=built / distribution.PYZ))
    path.chmod(0o755)
    return str(path)


def test_an_application_in_go_tests_itself(fake_executable: str, run: Command) -> None:
    needs("go")
    test = ("go", "test", "-count=1", "-json", ".")
    said = run(*test, cwd=ROOT / "examples" / "go", FAKE_SHIMMY=fake_executable)
    events = [json.loads(line) for line in said.splitlines()]
    outcomes = {each["Test"]: each["Action"] for each in events if "Test" in each}
    assert outcomes.pop("TestARealShimmyAnswers") == "skip"
    assert len(outcomes) == 7
    assert set(outcomes.values()) == {"pass"}


def test_an_application_in_go_says_why_it_tests_nothing(run: Command) -> None:
    needs("go")
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(each for each in folders if not Path(each, "fake-shimmy").exists())
    said = run("go", "test", "-count=1", "-v", ".", cwd=ROOT / "examples" / "go", PATH=path)
    assert "there is no fake-shimmy on the PATH, and FAKE_SHIMMY names none" in said


@pytest.mark.shimmy_real
def test_an_application_in_go_talks_to_a_real_one(run: Command, real: dict[str, str]) -> None:
    needs("go")
    only = ("-run", "TestARealShimmyAnswers")
    said = run("go", "test", "-count=1", "-v", *only, ".", cwd=ROOT / "examples" / "go", **real)
    assert "--- PASS: TestARealShimmyAnswers" in said
