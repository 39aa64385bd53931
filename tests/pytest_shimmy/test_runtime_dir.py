"""The meeting place of runs: one per user and machine, and trusted only if it is ours."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy import runtime_dir as module
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


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where it is looked for, without the variable."""
    monkeypatch.delenv(VARIABLE, raising=False)
    bases = [tmp_path / name for name in ("tmp", "xdg", "home")]
    for base in bases:
        base.mkdir()
    monkeypatch.setattr(module, "TMP", str(bases[0]))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bases[1]))
    monkeypatch.setenv("HOME", str(bases[2]))
    return [
        bases[0] / f"pytest-shimmy-{os.getuid()}",
        bases[1] / "pytest-shimmy",
        bases[2] / ".cache" / "pytest-shimmy" / "runtime",
    ]


@posix
def test_where_a_place_was_planted_the_next_is_taken(places: list[Path]) -> None:
    for planted, fallback in itertools.pairwise(places):
        assert runtime_dir() == planted
        planted.chmod(0o777)
        assert runtime_dir() == fallback
    places[-1].chmod(0o770)
    with pytest.raises(ShimmyError, match="other users may write") as caught:
        runtime_dir()
    assert all(str(place) in caught.value.message for place in places)
    assert VARIABLE in caught.value.message


@posix
def test_a_file_or_a_link_in_its_place_blocks_nobody(places: list[Path]) -> None:
    places[0].touch()
    places[1].symlink_to(places[0].parent)
    assert runtime_dir() == places[2]


@posix
def test_it_can_be_used_whatever_the_umask(places: list[Path]) -> None:
    before = os.umask(0o777)
    try:
        made = [runtime_dir(), subdir("ports")]
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700, 0o700]


@posix
def test_a_file_where_a_subdirectory_should_be_is_said(places: list[Path]) -> None:
    (runtime_dir() / "ports").touch()
    with pytest.raises(ShimmyError, match="ports cannot be used") as caught:
        subdir("ports")
    assert caught.value.code is ShimmyErrorCode.LOCK_TIMEOUT


def test_for_want_of_a_descriptor_no_other_place_is_taken(
    places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ShimmyError, match="ulimit -n"):
        runtime_dir()
