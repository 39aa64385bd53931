"""What the pages and the hooks say of ``dev.py`` is there."""

from __future__ import annotations

import re
import subprocess

import pytest

import dev
from tests.support.pages import PAGES, ROOT


def test_every_task_that_is_named_anywhere_exists() -> None:
    workflows = [*ROOT.glob(".github/**/*.yml"), ROOT / ".ci" / "run"]
    files = [*PAGES, ROOT / "CONTRIBUTING.md", *workflows]
    named = {
        task
        for path in files
        for task in re.findall(r"python3? dev\.py (\w+)", path.read_text(encoding="utf-8"))
    }
    assert {"demo", "test", "packages", "build"} <= named <= set(dev.TASKS)


def test_hooks_run_the_tools_of_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(dev, "run", lambda *command: ran.append(" ".join(command)) or 0)
    monkeypatch.setattr(dev, "run_all", lambda commands: ran.extend(map(" ".join, commands)) or 0)
    assert dev.check("python") == 0
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: (python -m \w+(?: check| format)?)", hooks)
    assert len(entries) == 3
    for entry in entries:
        assert any(command.startswith(entry) for command in ran), entry


def test_a_name_of_no_build_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["dev.py", "shimmy", "9.9.9-default"])
    with pytest.raises(SystemExit, match=r"no build is called '9\.9\.9-default'; there are: 2"):
        dev.main()


def test_missing_packages_are_those_that_debian_does_not_have_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/dpkg-query")
    said = "".join(f"{name} installed\n" for name in dev.PACKAGES if name != "libegl1")
    answer = subprocess.CompletedProcess([], 1, stdout=f"{said}libegl1 config-files\n")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: answer)
    assert dev.missing_packages() == ["libegl1"]


def test_where_there_is_no_debian_no_package_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert dev.missing_packages() == []
