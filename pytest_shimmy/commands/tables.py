"""How names and models are shown to a person: in one line each, and in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..models.progress import human

GAP = "  "
"""Between two columns."""
HEADINGS = ("", "ID", "SIZE", "PARAMETERS", "QUANTISATION", "SOURCE", "PATH")


def shown(text: str) -> str:
    """`text` with what could move a terminal's cursor, or is no character, as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def in_columns(cells: Iterable[str], widths: Sequence[int]) -> str:
    """A row of a table whose columns have these widths."""
    return GAP.join(map(str.ljust, cells, widths)).rstrip()


def table(models: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Models, as `findings.summary` has them, with headings; no lines without models."""
    rows = [tuple(cell or "-" for cell in _cells(model)) for model in models]
    if not rows:
        return
    columns = list(zip(HEADINGS, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in (HEADINGS, *rows):
        yield in_columns(row, widths)


def blocks(models: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The same for a narrow terminal: the id, and below it what is known."""
    for model in models:
        mark, name, *facts, path = _cells(model)
        yield f"{mark or ' '} {name}"
        yield f"    {', '.join(filter(None, facts))}"
        if path:
            yield f"    {path}"


def _cells(model: Mapping[str, Any]) -> tuple[str, ...]:
    """What is shown of a model, by `HEADINGS`; empty where it is not known."""
    size = model["size_bytes"]
    return (
        "*" if model["is_default"] else " ",
        shown(model["id"]),
        "" if size is None else human(size),
        model["parameters"] or "",
        model["quantization"] or "",
        (model["source"] or "") + (" + LoRA" if model["lora"] else ""),
        "" if model["path"] is None else shown(model["path"]),
    )
