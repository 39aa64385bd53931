"""Run a client program against a server and collect its records."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.clients.environments import LITELLM, NPM, SDKS, Environment, directory

MODEL, BROKEN = "tiny", "base-7b"
"""A model that answers, and one that never loads on a CPU-only build."""
DEADLINE = 120.0

Record = dict[str, Any]
Records = dict[str, Record]


class Program(NamedTuple):
    """A scenario program and where it runs."""

    environment: Environment
    file: str


PROGRAMS = {
    "openai": Program(SDKS, "openai_scenarios.py"),
    "anthropic": Program(SDKS, "anthropic_scenarios.py"),
    "websockets": Program(SDKS, "websockets_scenarios.py"),
    "langchain": Program(SDKS, "langchain_scenarios.py"),
    "litellm": Program(LITELLM, "litellm_scenarios.py"),
    "npm": Program(NPM, "openai_scenarios.mjs"),
}

_VARYING = [
    (
        r"(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b",
        "UUID",
    ),
    (r"cmpl-[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\b", "cmpl-ID"),
    (r"(created\W+)\d{10}\b", r"\g<1>0"),
]


def run(name: str, url: str, home: Path) -> Records:
    """What the program `name` sees of the server at `url`."""
    program = PROGRAMS[name]
    command = program.environment.command(Path(__file__).parent / "programs" / program.file)
    # Nothing of the caller's: proxies and API keys would decide what a client does.
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [*command, url, MODEL, BROKEN],
        cwd=directory(program.environment),
        env=environ,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records: Records = json.loads(neutral(done.stdout))
    return records


def neutral(text: str) -> str:
    """`text` without the ids and times that differ from one request to the next."""
    for pattern, replacement in _VARYING:
        text = re.sub(pattern, replacement, text)
    return text
