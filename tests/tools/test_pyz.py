"""fake-shimmy.pyz: one file that a bare Python runs."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from fake_shimmy import NEWEST
from tools import distribution, pyz


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A module of it is found in another folder than this one's tests have on their path.
    target = tmp_path_factory.mktemp("pyz") / "fake-shimmy.pyz"
    pyz.build(target)
    return target


def test_it_has_all_modules_and_runs_without_packages(built: Path) -> None:
    assert distribution.pyz_problems(built) == []
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_the_same_sources_make_the_same_bytes(built: Path, tmp_path: Path) -> None:
    pyz.build(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == built.read_bytes()


def test_it_is_named_as_it_is_called(built: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "shimmy"
    renamed.write_bytes(built.read_bytes())
    renamed.chmod(0o755)
    done = subprocess.run([renamed, "serve", "--no"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: shimmy serve " in done.stderr


def test_it_serves_and_ends_with_stdin(built: Path, tmp_path: Path) -> None:
    variables = ("FAKE_SHIMMY_READY", "FAKE_SHIMMY_MODELS", "FAKE_SHIMMY_CONTROL")
    environ = dict.fromkeys(variables, "x") | {"FAKE_SHIMMY_ENDS_WITH": "stdin"}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", built, "serve", "--bind", "127.0.0.1:0"],
        env=environ,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("fake-shimmy listens on "))
        url = line.split()[-1]
        with urllib.request.urlopen(f"{url}/v1/models", timeout=20) as answer:
            assert b'"x"' in answer.read()
        headers = {"x-fake-shimmy-control": "x"}
        asked = urllib.request.Request(
            f"{url}/fake-shimmy/control", b'{"op": "totals"}', headers, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.read() == b'{"requests": 1}'
        server.communicate(timeout=20)
    assert server.returncode == 0


def test_another_python_reads_the_sources(built: Path, tmp_path: Path) -> None:
    """As for one that the builder did not have."""
    bare = tmp_path / "bare.pyz"
    with zipfile.ZipFile(built) as old, zipfile.ZipFile(bare, "w") as new:
        for name in old.namelist():
            if not name.startswith(f"{sys.implementation.cache_tag}/"):
                new.writestr(name, old.read(name))
    done = subprocess.run([sys.executable, "-I", bare, "--version"], capture_output=True, text=True)
    assert done.stdout == f"shimmy {NEWEST}\n"


def test_what_is_missing_is_told(built: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.pyz"
    with zipfile.ZipFile(built) as old, zipfile.ZipFile(spoilt, "w") as new:
        for name in old.namelist():
            if not name.endswith(("clap.py", "clap.pyc")):
                new.writestr(name, old.read(name))
    found = distribution.pyz_problems(spoilt)
    assert "the pyz lacks fake_shimmy/commands/clap.py" in found
    assert found[-1].startswith("the pyz does not run: Traceback")
