"""A document as one file that a browser opens from disk: data, style and program in it."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from .collect import Document

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def page(document: Document) -> str:
    """The page. It fetches nothing."""
    # Thousands of requests: their members' names stand once.
    requests = document["requests"]
    names = list(requests[0]) if requests else []
    rows = [[request[name] for name in names] for request in requests]
    document = {**document, "requests": {"names": names, "rows": rows}}
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # No text in the data can end the element that holds it.
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("__DATA__", data)


def data_of(text: str) -> Document | None:
    """The document in a page; None where `text` is no page. Raises `ValueError` if it is broken."""
    found = _DATA.search(text)
    if found is None:
        return None
    document: Document = json.loads(found[1])
    requests = document["requests"]
    document["requests"] = [
        dict(zip(requests["names"], row, strict=True)) for row in requests["rows"]
    ]
    return document
