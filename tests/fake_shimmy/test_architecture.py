"""The fake's house: who imports whom, type imports included. The rules stand in the folders.

Each folder's docstring ends with ``Imports: a, b.`` and is held to it, so a new module needs no
entry here, and a new arrow between folders is a decision that a reader of the folder sees.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fake_shimmy
from tests.support.architecture import arrows, circles, folder, imports

FAKE = Path(fake_shimmy.__file__).parent
FOLDERS = sorted(path.parent.name for path in FAKE.glob("*/__init__.py"))
IMPORTS = list(imports(FAKE))
OWN = [each for each in IMPORTS if each.is_own and each.importer and each.imported]


def permitted(name: str) -> set[str]:
    """The folders and single modules that the docstring of a folder names."""
    source = (FAKE / name / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r"^Imports: (.+)\.$", ast.get_docstring(ast.parse(source)) or "", re.M)
    assert found, f"{name}/__init__.py does not say what {name} imports"
    return set() if found[1] == "nothing" else set(found[1].split(", "))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_imports_what_it_says(name: str) -> None:
    used = {folder(each.imported) for each in OWN if folder(each.importer) == name} - {name}
    assert used == permitted(name)


def test_no_modules_import_in_circles() -> None:
    assert circles(arrows((each.importer, each.imported) for each in OWN)) == []


def test_no_folders_import_in_circles() -> None:
    graph = arrows((folder(each.importer), folder(each.imported)) for each in OWN)
    assert len(graph) > len(FOLDERS)
    assert circles(graph) == []


@pytest.mark.parametrize("name", FOLDERS)
def test_only_what_stages_a_script_knows_of_scripts(name: str) -> None:
    knows = bool(permitted(name) & {"script", "stage"})
    assert knows == (name in ("stage", "commands"))


def test_it_is_a_program_of_its_own() -> None:
    allowed = sys.stdlib_module_names | {"fake_shimmy"}
    strangers = {
        (each.importer, each.imported)
        for each in IMPORTS
        if not each.is_own and folder(each.imported) not in allowed
    }
    assert not strangers


def test_nothing_that_costs_is_loaded_until_it_is_needed() -> None:
    program = (
        "import sys\n"
        "from fake_shimmy.commands import main, serve\n"
        "from fake_shimmy.api import application\n"
        "from fake_shimmy.serving import accept\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-S", "-c", program], cwd=FAKE.parent)
    costly = {*("typing", "dataclasses", "threading", "subprocess", "asyncio", "http", "inspect")}
    costly |= {"socket", "copy"}
    costly |= {"fake_shimmy.script", "fake_shimmy.stage", "fake_shimmy.serving.worker"}
    assert not costly & set(loaded.decode().split())


def test_a_token_is_compared_without_openssl() -> None:
    assert not {each.imported for each in IMPORTS} & {"hmac", "secrets", "ssl"}
