"""The tables of reference/clients.md and how-to/fuzz.md in docs; ``python -m tests.clients.page``
writes them anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.clients.expectations import Row
from tests.clients.expected.anthropic import ANTHROPIC
from tests.clients.expected.langchain import LANGCHAIN
from tests.clients.expected.litellm import LITELLM
from tests.clients.expected.npm import NPM
from tests.clients.expected.openai import OPENAI
from tests.clients.expected.streams import STREAMS
from tests.clients.expected.websockets import WEBSOCKETS
from tests.clients.streams import CLIENTS, KINDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "clients.md"
STREAMS_PAGE = DOCS / "how-to" / "fuzz.md"
TABLES = {
    "openai": OPENAI,
    "npm": NPM,
    "anthropic": ANTHROPIC,
    "langchain": LANGCHAIN,
    "litellm": LITELLM,
    "websockets": WEBSOCKETS,
}


def generate(page: str) -> str:
    """The page with its tables as they should be."""
    for name, rows in TABLES.items():
        table = "\n".join(["| call | what it does |", "|---|---|", *map(_line, rows)])
        page = _put(page, name, table)
    return _put(page, "versions", _versions())


def _versions() -> str:
    """The clients as the tests install them."""
    locks = Path(__file__).parent / "requirements"
    found: dict[str, str] = {}
    for name in ("sdks", "litellm"):
        text = (locks / f"{name}.txt").read_text()
        found.update(re.findall(r"^([a-z-]+)==(\S+)", text, re.MULTILINE))
    packages = json.loads((locks / "package-lock.json").read_text())["packages"]
    names = ("openai", "anthropic", "websockets", "langchain-openai", "litellm")
    python = ", ".join(f"{name} {found[name]}" for name in names)
    npm = packages["node_modules/openai"]["version"]
    return f"The clients were {python}, and openai {npm} of npm."


def generate_streams(page: str) -> str:
    """The page about strategies, with its table as it should be."""
    names = list(CLIENTS)
    lines = [f"| stream | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for kind in KINDS:
        cells = [STREAMS.get(kind, {}).get(name, "") for name in names]
        lines += [f"| {kind} | {' | '.join(cells)} |"] if any(cells) else []
    return _put(page, "streams", "\n".join(lines))


def _put(page: str, name: str, table: str) -> str:
    begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def _line(row: Row) -> str:
    return f"| {row.call} | {'**silent:** ' if row.silent else ''}{row.outcome} |"


if __name__ == "__main__":
    PAGE.write_text(generate(PAGE.read_text()))
    STREAMS_PAGE.write_text(generate_streams(STREAMS_PAGE.read_text()))
