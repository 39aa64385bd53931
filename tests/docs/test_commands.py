"""What the pages show as the output of a command is what comes out.

Ports, times, process ids and the length of rules differ from run to run; ``…`` on a page stands for
anything, alone on a line for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ON_ATTACHED, ON_REAL, PAGES, Commands, commands, title

pytestmark = pytest.mark.slow

VARIES = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\b(port|pid) \d+"), r"\1 N"),
    (re.compile(r"\b\d+(\.\d+)? ?s\b"), "TIME"),
    (re.compile(r"(={2,}|-{3,}|_{3,})"), "RULE"),
    (re.compile(r" +$", re.MULTILINE), ""),
)

TYPED = [
    pytest.param(
        each,
        id=f"{title(page)}-{number}",
        marks=[pytest.mark.shimmy_real] if each.needs == ON_REAL else [],
    )
    for page in PAGES
    for number, each in enumerate(commands(page), 1)
]


def neutral(text: str) -> str:
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text.strip()


def pattern_of(shown: str) -> str:
    """What is shown, as a regular expression."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in f"{neutral(shown)}\n".splitlines()
    ]
    return "".join(lines)


def typed(text: str) -> list[tuple[str, str]]:
    """Each command of a block, and what it prints."""
    _, *entries = re.split(r"^\$ ", text, flags=re.MULTILINE)
    commands = []
    for entry in entries:
        lines = entry.splitlines()
        # A command goes on where its line ends in a backslash.
        length = next(at for at, line in enumerate(lines, 1) if not line.endswith("\\"))
        commands.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return commands


@pytest.mark.parametrize("block", TYPED)
def test_a_command_prints_what_the_page_shows(
    block: Commands,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "project"
    path = [Path(sys.executable).parent, tmp_path / "bin"]
    address = "http://127.0.0.1:11435"
    for directory in (here, path[1]):
        directory.mkdir()
    for name, text in block.files.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    if block.needs == ON_REAL:
        (path[1] / "shimmy").symlink_to(request.getfixturevalue("real_shimmy"))
    if block.needs == ON_ATTACHED:
        address, _ = request.getfixturevalue("fake_server")
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, path), os.environ["PATH"]]))
    monkeypatch.setenv("PYTEST_SHIMMY_RUNTIME_DIR", str(tmp_path / "runtime"))
    # The reader need not have the other plugins of this environment.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv(
        "PYTEST_ADDOPTS", "-p xdist.plugin -p pytest_shimmy.plugin -p no:cacheprovider"
    )
    monkeypatch.setenv("COLUMNS", "100")
    for command, shown in typed(block.text):
        done = subprocess.run(
            command.replace("http://127.0.0.1:11435", address),
            shell=True,
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        printed = neutral(done.stdout.replace(str(here), "…"))
        if not re.fullmatch(pattern_of(shown), f"{printed}\n"):
            pytest.fail(f"$ {command}\n{done.stdout}\nis not, as the page says:\n{shown}")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("1 passed in 0.10s", "1 passed in 12.34s", True),
        ("at 127.0.0.1:22435", "at 127.0.0.1:26000", True),
        ("===== FAILURES =====", "=== FAILURES ===", True),
        ("a\n…\nd", "a\nb\nc\nd", True),
        ("a\n…\nd", "a\nd", True),
        ("a … d", "a b c d", True),
        ("1 passed in 0.10s", "2 passed in 0.10s", False),
        ("a\n…\nd", "a\nb", False),
        ("a", "a\nb", False),
    ],
)
def test_outputs_are_compared_by_what_does_not_vary(shown: str, printed: str, same: bool) -> None:
    matched = re.fullmatch(pattern_of(shown), f"{neutral(printed)}\n")
    assert (matched is not None) == same
