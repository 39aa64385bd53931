"""How names and models are shown to a person: in one line each, and in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..models.progress import human

HEADINGS = ("", "ID", "SIZE", "PARAMETERS", "QUANTISATION", "SOURCE", "PATH")


def shown(text: str) -> str:
    """`text` with what could move a terminal's cursor, or is no character, as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def table(models: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Models, as `findings.summary` has them, with headings; no lines without models."""
    rows = [
        (
            "*" if model["is_default"] else "",
            shown(model["id"]),
            "-" if model["size_bytes"] is None else human(model["size_bytes"]),
            model["parameters"] or "-",
            model["quantization"] or "-",
            (model["source"] or "-") + (" + LoRA" if model["lora"] else ""),
            "-" if model["path"] is None else shown(model["path"]),
        )
        for model in models
    ]
    if not rows:
        return
    columns = list(zip(HEADINGS, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in (HEADINGS, *rows):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
