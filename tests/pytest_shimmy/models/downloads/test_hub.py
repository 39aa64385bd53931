"""A file of a Hugging Face repository, from a local stand-in for the hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.models.downloads import from_hub
from tests.programs.fileserver import FileServer, cut
from tests.support.downloads import (
    CONTENT,
    FETCHER,
    HALF,
    left_in,
)

pytestmark = pytest.mark.slow


def test_without_huggingface_hub_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ShimmyError) as caught:
        from_hub("org/repo", "x.gguf")("any", tmp_path)
    assert caught.value.code is ShimmyErrorCode.CLIENT_MISSING
    assert "pip install 'pytest-shimmy[hub]'" in caught.value.message


def from_stand_in(files: FileServer, name: str, target: Path) -> tuple[str, str]:
    """Have a process fetch from `files` as if it were Hugging Face; what it wrote."""
    pytest.importorskip("huggingface_hub")
    files.etag = f'"{files.sha256}"'
    done = subprocess.run(
        [sys.executable, FETCHER, "hub", "org/name-GGUF", name, target],
        env={**os.environ, "HF_ENDPOINT": files.base, "HF_HOME": str(target.parent / "hf")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", ["model.Q4_K_M.gguf", "sub/model.gguf"])
def test_a_repository_s_file_arrives_and_nothing_else(
    name: str, files: FileServer, target: Path
) -> None:
    assert from_stand_in(files, name, target) == ("", "")
    assert [path for path in target.rglob("*") if path.is_file()] == [target / name]
    assert (target / name).read_bytes() == CONTENT
    assert not (target / ".cache").exists()


def test_a_repository_s_file_that_is_cut_off_arrives_all_the_same(
    files: FileServer, target: Path
) -> None:
    files.answers = [cut(HALF)]
    out, _ = from_stand_in(files, "model.gguf", target)
    assert out == ""
    assert (target / "model.gguf").read_bytes() == CONTENT
    assert len(files.requests) == 2


def test_a_repository_s_missing_file_is_an_error_that_leaves_nothing(
    files: FileServer, target: Path
) -> None:
    out, _ = from_stand_in(files, "missing.gguf", target)
    assert out == "DOWNLOAD_FAILED\n"
    assert left_in(target) == []
