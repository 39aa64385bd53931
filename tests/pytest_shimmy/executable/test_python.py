"""Programs of ours in a bare interpreter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_shimmy.executable.python import python_command


def output(package: Path, program: str) -> str:
    """What ``main()`` of a module in `package` prints."""
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "program.py").write_text(program)
    command = python_command(f"{package.name}.program", package.name)
    return subprocess.check_output(command, text=True)


def test_a_module_beside_a_package_does_not_replace_one_of_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('not the one of the standard library')")
    monkeypatch.syspath_prepend(tmp_path)
    program = "import json\n\ndef main(): print(json.dumps([1]))\n"
    assert output(tmp_path / "beside_json", program) == "[1]\n"


def test_garbage_is_collected_once_a_program_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    program = (
        "import gc\n"
        "while_loading = gc.isenabled()\n"
        "def main(): print(while_loading, gc.isenabled(), gc.get_freeze_count() > 0)\n"
    )
    assert output(tmp_path / "with_garbage", program) == "False True True\n"
