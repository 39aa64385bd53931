"""One run of the fake's command line, with any bytes as arguments, variables and files.

Strategy: a seed makes a plan; the plan can be carried out in any empty folder, and fails unless
the process ends by itself as the real one could.
"""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.support.fake_process import DEADLINE, ROOT
from tests.support.fuzz import inputs

if TYPE_CHECKING:
    from pathlib import Path

STATUSES = (0, 1, 2, 101)
"""Success, failure, wrong usage, panic."""


class Command(NamedTuple):
    """Arguments, variables, and the seed of the folder tree."""

    arguments: list[bytes]
    variables: dict[bytes, bytes]
    tree: int

    @classmethod
    def planned(cls, seed: str) -> Command:
        """The command that ``seed`` makes."""
        choice = Random(seed)
        arguments = inputs.command_line(choice)
        return cls(arguments, inputs.environment(choice), choice.randrange(1 << 30))

    def run(self, folder: Path) -> None:
        """Run it among files in ``folder``; fail where it ends otherwise than the real one can."""
        (folder / "models").mkdir()
        inputs.grow_tree(Random(self.tree), os.fsencode(folder / "models"))
        home = {b"HOME": os.fsencode(folder / "models"), b"OLLAMA_MODELS": b"models"}
        started = {b"PATH": os.environb[b"PATH"], b"PYTHONPATH": os.fsencode(ROOT)}
        done = subprocess.run(
            [os.fsencode(sys.executable), b"-m", b"fake_shimmy", *self.arguments],
            cwd=folder,
            env=home | self.variables | started,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode in STATUSES, done
        assert b"Traceback" not in done.stderr, done
        assert b"Warning: " not in done.stderr.replace(b"Warning: Failed to discover", b""), done
