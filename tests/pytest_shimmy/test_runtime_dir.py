"""The meeting place of runs: one per user and machine, and trusted only if it is ours."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.runtime_dir import VARIABLE, runtime_dir, subdir

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def test_the_variable_moves_it_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a" / "b"))
    assert runtime_dir() == tmp_path / "a" / "b"
    assert runtime_dir().is_dir()


def test_a_relative_variable_is_resolved_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "here")
    assert runtime_dir() == tmp_path / "here"


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    usual = runtime_dir()
    monkeypatch.setenv(VARIABLE, "")
    assert runtime_dir() == usual


@posix
def test_runs_with_another_tmpdir_meet_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    usual = runtime_dir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert runtime_dir() == usual


@posix
def test_users_do_not_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert runtime_dir().name.endswith(str(os.getuid()))


@posix
def test_nobody_else_can_look_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "fresh"))
    assert stat.S_IMODE(runtime_dir().stat().st_mode) == 0o700
    assert stat.S_IMODE(subdir("ports").stat().st_mode) == 0o700


def test_a_file_in_its_place_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ShimmyError) as caught:
        runtime_dir()
    assert caught.value.code is ShimmyErrorCode.LOCK_TIMEOUT
    assert str(tmp_path / "file") in caught.value.message
    assert VARIABLE in caught.value.message


@posix
def test_a_link_that_somebody_planted_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "link"))
    with pytest.raises(ShimmyError, match="not a directory"):
        runtime_dir()


@posix
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can chown")
def test_a_directory_of_another_user_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "theirs"))
    with pytest.raises(ShimmyError, match="belongs to user 65534"):
        runtime_dir()


def test_subdirectories_may_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert subdir("x") == subdir("x") == tmp_path / "x"
