"""Executables that misbehave when they are asked: refused, with what they said."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import ShimmyError, ShimmyErrorCode
from pytest_shimmy.models import registry as room
from pytest_shimmy.models.registry import ModelRegistry
from tests.support.model_files import (
    HEADING,
    ONE,
    TOTAL,
    add,
    by_id,
    is_1x,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")


@pytest.fixture
def saying(tmp_path: Path) -> Callable[..., ModelRegistry]:
    """A registry of an executable that answers ``list`` with this script."""

    def saying(script: str, **how: Any) -> ModelRegistry:
        path = tmp_path / "shimmy"
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo shimmy 2.5.0\n{script}\n')
        path.chmod(0o755)
        return ModelRegistry(path, **how)

    return saying


def refusal(registry: ModelRegistry) -> ShimmyError:
    with pytest.raises(ShimmyError) as caught:
        registry.list_local()
    assert caught.value.code is ShimmyErrorCode.LIST_FAILED
    return caught.value


@posix
@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("", "no list of models"),
        ("Hello, world\n", "no list of models"),
        ("{}", "no list of models"),
        (f"{HEADING}\n", "breaks off"),
        (ONE, "breaks off"),
        (f"{ONE}\n", "breaks off"),
        (f"{ONE}\n✅ Total available models: 1", "breaks off"),
        (f"{ONE}\n✅ Total available models: 2\n", "counts 2 models, but names 1"),
        (f"{ONE}  b => /m/b.gguf [0MB]\n{TOTAL}", "'  b => /m/b.gguf [0MB]'"),
        (f'{ONE}  b => "/m/b.gguf" [0GB]\n{TOTAL}', "'  b =>"),
        (f'{ONE}  b => "/m/b.gguf\n{TOTAL}', "'  b =>"),
        (f"{ONE}  b\n{TOTAL}", "'  b'"),
        (f"{ONE}thread 'main' panicked\n", "thread 'main' panicked"),
    ],
)
def test_what_is_no_list_is_refused_with_its_output(
    output: str, why: str, saying: Callable[..., ModelRegistry], tmp_path: Path
) -> None:
    (tmp_path / "output").write_text(output)
    error = refusal(saying(f"cat {shlex.quote(str(tmp_path / 'output'))}; echo dear me >&2"))
    assert why in error.message
    assert f"{tmp_path / 'shimmy'} list\nended with exit code 0." in error.message
    assert "On stderr:\n  dear me" in error.message
    assert error.details == {
        "command": [str(tmp_path / "shimmy"), "list"],
        "exit_code": 0,
        "signal": None,
        "stopped": None,
        "stdout": output,
        "stderr": "dear me\n",
    }


@posix
def test_bytes_that_are_no_text_are_refused(saying: Callable[..., ModelRegistry]) -> None:
    assert "no UTF-8" in refusal(saying("printf '\\377\\376'")).message


@posix
@pytest.mark.parametrize(
    ("ending", "ended", "details"),
    [
        ("exit 101", "exit code 101", {"exit_code": 101, "signal": None}),
        ("kill -ABRT $$", "killed by SIGABRT", {"exit_code": None, "signal": 6}),
    ],
)
def test_an_exit_code_makes_a_good_list_bad(
    ending: str,
    ended: str,
    details: dict[str, int | None],
    saying: Callable[..., ModelRegistry],
    tmp_path: Path,
) -> None:
    (tmp_path / "output").write_text(ONE + TOTAL)
    error = refusal(saying(f"cat {shlex.quote(str(tmp_path / 'output'))}; {ending}"))
    assert f"ended with {ended}." in error.message
    assert "Total available models" in error.message
    assert details.items() <= error.details.items()


@pytest.mark.slow
@posix
def test_an_executable_that_hangs_is_stopped_with_its_children(
    saying: Callable[..., ModelRegistry], tmp_path: Path, wait_until_gone: Callable[[int], None]
) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; echo thinking; sleep 600 & echo $$ $! > {shlex.quote(str(pids))}; wait"
    error = refusal(saying(script, timeout=1.0))
    assert "had not ended after 1 s and was stopped" in error.message
    assert "thinking" in error.message
    assert error.details["stopped"]
    for pid in pids.read_text().split():
        wait_until_gone(int(pid))


@posix
def test_an_executable_that_talks_without_end_is_stopped(
    saying: Callable[..., ModelRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LIST_LIMIT", 1 << 20)
    error = refusal(saying("exec yes"))
    assert "wrote more than 1 MiB and was stopped" in error.message
    assert len(error.message) < 1000
    assert len(error.details["stdout"]) == 4000


@posix
def test_warnings_and_what_a_wrapper_prints_do_no_harm(
    saying: Callable[..., ModelRegistry], tmp_path: Path
) -> None:
    (tmp_path / "output").write_text(f"starting container\n{ONE}{TOTAL}container is gone\n")
    registry = saying(f"echo Warning: >&2; cat {shlex.quote(str(tmp_path / 'output'))}")
    assert by_id(registry).keys() == {"a"}


@posix
def test_an_executable_that_disappears_is_named(saying: Callable[..., ModelRegistry]) -> None:
    registry = saying("true")
    Path(registry.executable.name).unlink()
    assert registry.executable.name in refusal(registry).message


def test_a_missing_executable_is_said_when_it_is_asked(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "gone")
    with pytest.raises(ShimmyError) as caught:
        registry.list_local()
    assert caught.value.code is ShimmyErrorCode.BINARY_NOT_FOUND


@pytest.mark.shimmy_real
def test_a_panic_of_the_real_one_is_shown(real_shimmy: Path, models: Path) -> None:
    registry = ModelRegistry(real_shimmy, models)
    if not is_1x(registry):
        pytest.skip("2.4 and later do not panic")
    add(models / "x.GGUF")
    error = refusal(registry)
    assert error.details["exit_code"] == 101
    assert "GGUF files must use Llama backend" in error.message
