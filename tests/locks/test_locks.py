"""What the tests install is locked: exact, hashed, for every Python, and from no index by name."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.locks import resolve

PYTHON = [resolve.ROOT / path for path in resolve.PYTHON]
NPM = [resolve.ROOT / path for path in resolve.NPM]


def requirements(path: Path) -> list[str]:
    """Each requirement of a lock file, with the lines that continue it."""
    text = path.read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("path", [*PYTHON, *NPM], ids=lambda path: path.parent.name + path.name)
def test_a_lock_file_names_no_host_and_no_path(path: Path) -> None:
    text = path.read_text().replace(f"file:{resolve.OWN}", "")
    assert not re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|\bfile:|@ ", text)
    assert not re.findall(r"(?:^|[\s\"'=])/\w+|\b[A-Z]:\\", text, re.MULTILINE)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_each_requirement_is_exact_and_hashed(path: Path) -> None:
    found = requirements(path)
    assert len(found) > 10
    for line in found:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.+!]+( ; [^-]+)? +--hash=sha256:\w{64}", line)


@pytest.mark.parametrize("path", NPM, ids=lambda path: path.parent.name)
def test_each_npm_package_is_exact_and_hashed(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    assert len(packages) > 1
    for name, package in packages.items():
        is_ours = name in ("", resolve.OWN) or package.get("resolved") == resolve.OWN
        assert is_ours or package["integrity"].startswith("sha512-")


def test_the_locks_cover_what_the_project_asks_for() -> None:
    project = tomllib.loads((resolve.ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *(each for extra in extras.values() for each in extra),
    ]
    names = {re.split(r"[\[<>=; ]", each, maxsplit=1)[0].lower() for each in asked}
    locked = {name.lower() for name in resolve.versions(resolve.ROOT / resolve.LOCKS / "test.txt")}
    assert names - locked == {"pytest-shimmy"}


def test_every_client_environment_has_a_lock_file() -> None:
    folder = resolve.ROOT / resolve.CLIENTS
    assert {path.stem for path in folder.glob("*.in")} == {
        path.stem for path in folder.glob("*.txt")
    }


def test_what_moved_is_told_by_name_and_version(tmp_path: Path) -> None:
    before, after = tmp_path / "before.txt", tmp_path / "after.txt"
    before.write_text("one==1.0 \\\n    --hash=sha256:0\ntwo==2 ; sys_platform == 'win32'\n")
    after.write_text("one==1.1 \\\n    --hash=sha256:1\nthree==3\n")
    assert resolve.versions(tmp_path / "missing.txt") == {}
    assert resolve.moved(resolve.versions(before), resolve.versions(after)) == [
        "one 1.0 -> 1.1",
        "three (new) -> 3",
        "two 2 -> (gone)",
    ]
