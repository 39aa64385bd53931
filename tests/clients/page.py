"""The tables of docs/reference/clients.md; ``python -m tests.clients.page`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from tests.clients.expectations import Row
from tests.clients.expected.anthropic import ANTHROPIC
from tests.clients.expected.langchain import LANGCHAIN
from tests.clients.expected.litellm import LITELLM
from tests.clients.expected.npm import NPM
from tests.clients.expected.openai import OPENAI
from tests.clients.expected.websockets import WEBSOCKETS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clients.md"
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
        begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
        table = "\n".join(["| call | what it does |", "|---|---|", *map(_line, rows)])
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return page


def _line(row: Row) -> str:
    return f"| {row.call} | {'**silent:** ' if row.silent else ''}{row.outcome} |"


if __name__ == "__main__":
    PAGE.write_text(generate(PAGE.read_text()))
