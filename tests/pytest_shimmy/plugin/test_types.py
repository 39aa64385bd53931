"""What a consumer's editor knows of the fixtures, and what a run says to the same mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from fake_shimmy.script import rules
from pytest_shimmy import SettingChanges
from pytest_shimmy.executable.dialect import GPU_MODES
from pytest_shimmy.fake_control import conditions
from pytest_shimmy.outcomes import Cut, Damage, Inside, Place, RealFailure
from pytest_shimmy.settings_table import TABLE
from tests.support.consumer_suite import Run
from tests.support.language_server import HERE, LanguageServer
from tests.support.type_checking import run_mypy

ROOT = Path(__file__).parents[3]
SUITES = ROOT / "tests" / "programs" / "typed"
MARKED = re.compile(r"# (seen|run)$")

TELL = """
import json, os, pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None:
        shown = report.longrepr.reprtraceback.reprentries[-1].reprfileloc
        usage = isinstance(call.excinfo.value, (TypeError, ValueError))
        with open("told", "a") as file:
            print(json.dumps([shown.path, shown.lineno, usage, str(call.excinfo.value)]), file=file)
    return report
"""


def marked(*kinds: str) -> set[int]:
    """The lines of the wrong suite that have one of these marks."""
    lines = (SUITES / "test_wrong.py").read_text(encoding="utf-8").splitlines()
    found = [(number, MARKED.search(line)) for number, line in enumerate(lines, 1)]
    return {number for number, mark in found if mark is not None and mark[1] in kinds}


def mypy(tmp_path: Path) -> list[tuple[str, int, str]]:
    """What mypy says: file, line, text."""
    done = run_mypy(tmp_path)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = [re.fullmatch(r"(.+):(\d+): error: (.*)", line) for line in done.stdout.splitlines()]
    return [(Path(line[1]).name, int(line[2]), line[3]) for line in lines if line is not None]


def need_pyright() -> None:
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed; the extra check has it")
    if shutil.which("node") is None:
        pytest.skip("pyright needs node")


def pyright(tmp_path: Path) -> list[tuple[str, int, str]]:
    """The same of pyright."""
    need_pyright()
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"include": ["."], "typeCheckingMode": "strict"})
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=tmp_path, env={**os.environ, **HERE}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["message"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_type_checkers_see_the_mistakes_and_nothing_else(
    tmp_path: Path, checker: Callable[[Path], list[tuple[str, int, str]]]
) -> None:
    shutil.copytree(SUITES, tmp_path, dirs_exist_ok=True)
    told = checker(tmp_path)
    assert [each for each in told if each[0] != "test_wrong.py"] == []
    assert {line for _, line, _ in told} == marked("seen"), told


@pytest.mark.slow
def test_editors_offer_settings_options_and_words(tmp_path: Path) -> None:
    need_pyright()
    file = tmp_path / "test_it.py"
    lines = [
        "from pytest_shimmy import FakeShimmy, MakeShimmyServer",
        "def test_it(make_shimmy_server: MakeShimmyServer, shimmy_fake: FakeShimmy) -> None:",
        "    make_shimmy_server(max_|)",
        '    make_shimmy_server(gpu="|")',
        '    shimmy_fake.garble("|")',
        '    shimmy_fake.reply("x", per_|)',
    ]
    file.write_text("\n".join(lines).replace("|", ""))
    with LanguageServer(tmp_path) as server:
        server.open(file)
        setting, backends, damages, option = (
            server.offers(file, number, line.index("|"))
            for number, line in enumerate(lines)
            if "|" in line
        )
    assert "max_restarts=" in setting
    assert backends == [f'"{name}"' for name in GPU_MODES]
    assert damages == [f'"{name}"' for name in rules.GARBLES]
    assert "per_token=" in option


@pytest.mark.slow
def test_a_run_says_each_mistake_in_its_own_line_as_a_usage_error(
    pytester: pytest.Pytester, run: Run
) -> None:
    shutil.copy(SUITES / "test_wrong.py", pytester.path)
    pytester.makeconftest(TELL)
    run()
    told = [json.loads(line) for line in (pytester.path / "told").read_text().splitlines()]
    assert {(Path(path).name, line) for path, line, *_ in told} == {
        ("test_wrong.py", line) for line in marked("seen", "run")
    }
    assert [each for each in told if not each[2] or "CONTROL_FAILED" in each[3]] == []


@pytest.mark.slow
def test_the_careful_suite_passes(pytester: pytest.Pytester, run: Run) -> None:
    shutil.copy(SUITES / "test_right.py", pytester.path)
    run().assert_outcomes(passed=6)


@pytest.mark.parametrize(
    ("names", "there_are"),
    [
        (Damage, rules.GARBLES),
        (RealFailure, rules.REAL_FAILURES),
        (Cut, [name for name in rules.ACTIONS if name not in ("stall", "hang", "exit", "garble")]),
        (Place, rules.PLACES),
        (Inside, rules.INSIDES),
        (conditions.Endpoint, [*rules.ENDPOINTS, *rules.OTHER_ENDPOINTS]),
    ],
)
def test_the_names_that_editors_offer_are_those_that_there_are(names: Any, there_are: Any) -> None:
    assert sorted(get_args(names)) == sorted(there_are)


def test_the_settings_that_editors_offer_are_those_that_there_are() -> None:
    assert list(get_type_hints(SettingChanges)) == [row.name for row in TABLE]
