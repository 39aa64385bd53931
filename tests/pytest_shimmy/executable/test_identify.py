"""Which executable is meant, and whether it is a shimmy: every bad input has its own answer."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_shimmy.releases import NEWEST, RELEASES
from pytest_shimmy import ShimmyError, ShimmyErrorCode, ShimmyProcessDefaults
from pytest_shimmy.executable.executable import Executable
from pytest_shimmy.executable.identify import (
    bundled_fake,
    identify,
    locate,
)
from pytest_shimmy.executable.python import python_command
from pytest_shimmy.process.process import ExitStatus

posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts and modes")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def refusal(path: str | Path, code: ShimmyErrorCode) -> ShimmyError:
    """The error that `path` is refused with."""
    with pytest.raises(ShimmyError) as caught:
        identify(path)
    assert caught.value.code is code
    return caught.value


@posix
def test_a_path_is_asked_for_its_version(tmp_path: Path) -> None:
    path = script(tmp_path / "my shimmy", 'test "$*" = --version && echo shimmy 1.9.0-rc.1')
    executable = identify(path)
    known = Executable((str(path),), "1.9.0-rc.1", False)
    assert executable.to_json() == known.to_json()
    assert executable.name == str(path)


@posix
def test_a_bare_name_is_looked_up_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "shimmy-x", "echo shimmy 2.5.0")
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}{tmp_path}")
    assert locate("shimmy-x") == tmp_path / "shimmy-x"
    assert identify("shimmy-x").command == (str(tmp_path / "shimmy-x"),)


@posix
def test_a_bare_name_in_the_working_directory_is_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "shimmy-x", "echo shimmy 2.5.0")
    monkeypatch.chdir(tmp_path)
    refusal("shimmy-x", ShimmyErrorCode.BINARY_NOT_FOUND)
    assert locate("./shimmy-x") == tmp_path / "shimmy-x"


@posix
def test_a_path_that_is_relative_or_in_the_home_directory_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "shimmy", "echo shimmy 2.5.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert locate("~/shimmy") == locate("./shimmy") == tmp_path / "shimmy"


def test_a_name_that_is_not_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(("/first", "/second")))
    error = refusal("no-such-shimmy", ShimmyErrorCode.BINARY_NOT_FOUND)
    assert "'no-such-shimmy' on PATH" in error.message
    assert "  /first\n  /second\n" in error.message
    assert "cargo install shimmy" in error.message
    assert "bundled fake" in error.message
    assert error.details["looked_in"] == ["/first", "/second"]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone", ShimmyErrorCode.BINARY_NOT_FOUND)
    assert f"{tmp_path / 'gone'}: No such file" in error.message
    assert "cargo install shimmy" in error.message
    assert error.details["path"] == str(tmp_path / "gone")


@posix
def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal(tmp_path / "file" / "shimmy", ShimmyErrorCode.BINARY_NOT_FOUND)
    assert "Not a directory" in error.message


@posix
def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    refusal(tmp_path / "link", ShimmyErrorCode.BINARY_NOT_FOUND)


@posix
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/a\0b", "null"),
        ("~no-such-user/shimmy", "home directory"),
        ("/" + "a" * 300, "too long"),
    ],
)
def test_a_path_that_cannot_be_one(path: str, why: str) -> None:
    error = refusal(path, ShimmyErrorCode.BINARY_NOT_FOUND)
    # Control characters are shown escaped in a message.
    shown = path.replace("\0", r"\x00")
    assert f"at {shown}: " in error.message
    assert why in error.message
    assert error.details["path"] == path


def test_an_empty_path() -> None:
    error = refusal("", ShimmyErrorCode.BINARY_NOT_FOUND)
    assert "empty" in error.message


def test_a_directory(tmp_path: Path) -> None:
    error = refusal(tmp_path, ShimmyErrorCode.BINARY_NOT_EXECUTABLE)
    assert f"{tmp_path} is a directory" in error.message
    assert str(tmp_path / "shimmy") not in error.message


def test_a_directory_that_has_the_executable_points_at_it(tmp_path: Path) -> None:
    (tmp_path / "shimmy").touch()
    error = refusal(tmp_path, ShimmyErrorCode.BINARY_NOT_EXECUTABLE)
    assert str(tmp_path / "shimmy") in error.message


@posix
def test_a_file_that_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "shimmy").write_text("x")
    (tmp_path / "shimmy").chmod(0o644)
    error = refusal(tmp_path / "shimmy", ShimmyErrorCode.BINARY_NOT_EXECUTABLE)
    assert "-rw-r--r--" in error.message
    assert f"chmod +x {tmp_path / 'shimmy'}" in error.message


@posix
@pytest.mark.parametrize(
    "content",
    [
        b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(44),
        b"\xcf\xfa\xed\xfe" + bytes(60),
        b"MZ" + bytes(62),
        b"",
        b"#!/no/such/interpreter\n",
    ],
    ids=["another processor", "another system", "windows", "empty", "no interpreter"],
)
def test_a_file_that_the_system_refuses_to_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shimmy").write_bytes(content)
    (tmp_path / "shimmy").chmod(0o755)
    error = refusal(tmp_path / "shimmy", ShimmyErrorCode.BINARY_NOT_EXECUTABLE)
    assert f"{tmp_path / 'shimmy'} cannot be executed" in error.message
    assert "built for this machine" in error.message


@posix
@pytest.mark.parametrize(
    ("text", "ended", "shown"),
    [
        ("exit 0", "exit code 0", "It wrote nothing."),
        ("echo shimmy; exit 0", "exit code 0", "On stdout:\n  shimmy\n"),
        ("echo shimmy 2.5; exit 0", "exit code 0", "  shimmy 2.5\n"),
        ("echo ollama version is 0.5.1", "exit code 0", "  ollama version is 0.5.1"),
        ("echo shimmy 2.5.0; exit 3", "exit code 3", "  shimmy 2.5.0\n"),
        ("echo shimmy 2.5.0; echo and more", "exit code 0", "  and more"),
        ("echo shimmy 2.5.0 >&2", "exit code 0", "On stderr:\n  shimmy 2.5.0\n"),
        ("echo unknown option >&2; exit 2", "exit code 2", "On stderr:\n  unknown option"),
        ("printf '\\377\\376'", "exit code 0", "  \ufffd\ufffd"),
        ("echo shimmy 2.5.0; kill -SEGV $$", "killed by SIGSEGV", "  shimmy 2.5.0\n"),
    ],
)
def test_something_that_runs_but_is_no_shimmy(
    tmp_path: Path, text: str, ended: str, shown: str
) -> None:
    path = script(tmp_path / "other", text)
    error = refusal(path, ShimmyErrorCode.BINARY_NOT_SHIMMY)
    assert f"{path} is not a shimmy.\n{path} --version\nended with {ended}." in error.message
    assert shown in error.message
    assert "Check the path" in error.message
    details = error.details
    assert details["path"] == str(path)
    status = (details["exit_code"], details["signal"])
    assert str(ExitStatus(*status)) == ended


@posix
def test_what_others_say_on_stderr_is_no_part_of_the_version(tmp_path: Path) -> None:
    path = script(tmp_path / "shimmy", "echo a library is old >&2; echo shimmy 2.5.0")
    assert identify(path).version == "2.5.0"


@posix
@pytest.mark.parametrize("flood", ["exec yes", "cat /dev/zero", "yes >&2", "seq 100000"])
def test_somebody_who_talks_without_end_is_stopped_and_quoted_in_part(
    tmp_path: Path, flood: str
) -> None:
    path = script(tmp_path / "other", flood)
    error = refusal(path, ShimmyErrorCode.BINARY_NOT_SHIMMY)
    assert "wrote more than 256 KiB and was stopped" in error.message
    assert len(error.message) < 4000
    assert len(error.details["stdout"] + error.details["stderr"]) == 4000


@pytest.mark.slow
@posix
def test_somebody_who_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until_gone: Callable[[int], None]
) -> None:
    monkeypatch.setattr(ShimmyProcessDefaults, "version_timeout", 0.5)
    pids = tmp_path / "pids"
    path = script(
        tmp_path / "other",
        f"trap '' TERM; echo thinking; sleep 600 & echo $$ $! > {shlex.quote(str(pids))}; wait",
    )
    error = refusal(path, ShimmyErrorCode.BINARY_NOT_SHIMMY)
    assert "thinking" in error.message
    assert "had not ended after 0.5 s and was stopped" in error.message
    for pid in pids.read_text().split():
        wait_until_gone(int(pid))


@posix
def test_somebody_who_waits_for_input_finds_none(tmp_path: Path) -> None:
    path = script(tmp_path / "other", "cat; echo the end")
    assert "the end" in refusal(path, ShimmyErrorCode.BINARY_NOT_SHIMMY).message


@pytest.mark.shimmy_real
def test_the_real_executable_is_a_shimmy(real_shimmy: Path) -> None:
    executable = identify(real_shimmy)
    assert executable.command == (str(real_shimmy),)
    assert executable.version.split(".")[0] in ("1", "2")
    assert not executable.is_fake


def test_the_bundled_fake_imitates_the_newest_release_by_default() -> None:
    executable = bundled_fake()
    assert (executable.version, executable.is_fake) == (NEWEST, True)
    assert executable.name == "the bundled fake"


@pytest.mark.parametrize("release", RELEASES)
def test_the_bundled_fake_answers_as_the_release_it_imitates(release: str) -> None:
    executable = bundled_fake(release)
    answer = subprocess.check_output(
        [*executable.command, "--version"], env={"FAKE_SHIMMY_RELEASE": release}, text=True
    )
    assert answer == f"shimmy {executable.version}\n" == f"shimmy {release}\n"


def test_a_release_that_the_fake_does_not_imitate() -> None:
    with pytest.raises(ShimmyError) as caught:
        bundled_fake("0.0.1")
    assert caught.value.code is ShimmyErrorCode.BINARY_NOT_FOUND
    for release in RELEASES:
        assert release in caught.value.message


def test_programs_of_ours_run_whatever_the_environment_does_to_python(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('a hook ran')")
    (tmp_path / "fake_shimmy.py").write_text("raise SystemExit('a stranger was imported')")
    answer = subprocess.check_output(
        [*bundled_fake().command, "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x", "PYTHONHOME": str(tmp_path)},
        text=True,
    )
    assert answer == f"shimmy {NEWEST}\n"


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(ShimmyError) as caught:
        python_command("x", "no_such_package_of_ours")
    assert caught.value.code is ShimmyErrorCode.BINARY_NOT_FOUND
    assert "'no_such_package_of_ours'" in caught.value.message
    assert sys.executable in caught.value.message
