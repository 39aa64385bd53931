"""``pytest-shimmy completion`` and the help of every command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_shimmy.cli import main
from tests.support.command_line import run

COMMANDS = (
    *("doctor", "models", "models list", "models ensure", "serve", "agent", "agent run"),
    *("verify", "record", "completion"),
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_their_flags(tmp_path: Path) -> None:
    done = run(tmp_path, "completion", "bash")
    assert (done.returncode, done.stderr) == (0, "")
    script = tmp_path / "completion.bash"
    script.write_text(done.stdout)
    assert "agent" in completed(script, "pytest-shimmy", "ag")
    assert "--shimmy-models-dir" in completed(script, "pytest-shimmy", "serve", "--shimmy-mo")


def completed(script: Path, *words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    program = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; '
        "f=$(complete -p pytest-shimmy | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        '$f pytest-shimmy "${@: -1}" "${@: -2:1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", program, "bash", str(script), *words]
    return subprocess.check_output(command, text=True, timeout=60).split()


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_writes_a_script_for_other_shells(shell: str, tmp_path: Path) -> None:
    done = run(tmp_path, "completion", shell)
    assert done.returncode == 0
    assert "pytest-shimmy" in done.stdout
    assert "agent" in done.stdout


def test_a_shell_that_it_does_not_know_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path, "completion", "fish")
    assert done.returncode == 2
    assert "invalid choice: 'fish'" in done.stderr


def test_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ImportError('not here')")
    done = run(tmp_path, "completion", "bash", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "[CLIENT_MISSING] " in done.stderr
    assert 'pip install "pytest-shimmy[completion]"' in done.stderr


def test_the_help_has_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of("", capsys)
    for code in (0, 1, 2, 129, 130, 141, 143):
        assert f"\n  {code:3d}  " in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, examples = help_of(command, capsys).partition("\nexamples:\n")
    assert f"pytest-shimmy {command}" in examples


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out
