"""A document as one file that a browser opens from disk: data, style and program in it."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from .collect import Document, finished

_WORDS = ("server", "worker", "method", "path", "model", "ended", "rule")
"""Members of requests whose values are the same for many."""

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def page(document: Document) -> str:
    """The page of what `collect` made, or of a finished document. It fetches nothing."""
    # Thousands of requests: their members' names stand once, and so do words that many have.
    requests = document["requests"]
    columns = {name: [each[name] for each in requests] for name in requests[0]} if requests else {}
    words = {name: list(dict.fromkeys(columns[name])) for name in _WORDS if name in columns}
    for name, values in words.items():
        numbers = {value: number for number, value in enumerate(values)}
        columns[name] = list(map(numbers.__getitem__, columns[name]))
    document = {**document, "requests": {"columns": columns, "words": words}}
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # No text in the data can end the element that holds it.
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    before, after = template.split("__DATA__")
    return f"{before}{data}{after}"


def data_of(text: str) -> Document | None:
    """The document in a page; None where `text` is no page. Raises `ValueError` if it is broken."""
    found = _DATA.search(text)
    if found is None:
        return None
    document: Document = json.loads(found[1])
    columns, words = document["requests"]["columns"], document["requests"]["words"]
    for name, values in words.items():
        columns[name] = [values[number] for number in columns[name]]
    document["requests"] = [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ]
    return finished(document) if "is_raw" in document else document
