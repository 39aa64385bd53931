"""A document as one file that a browser opens from disk: data, style and program in it."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from .collect import Document

_WORDS = ("server", "worker", "method", "path", "model", "ended", "rule")
"""Members of requests whose values are the same for many."""

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def page(document: Document) -> str:
    """The page. It fetches nothing."""
    # Thousands of requests: their members' names stand once, and so do words that many have.
    requests = document["requests"]
    names = list(requests[0]) if requests else []
    words = {name: list(dict.fromkeys(each[name] for each in requests)) for name in _WORDS}
    numbers = {name: {word: at for at, word in enumerate(words[name])} for name in _WORDS}
    rows = [
        [numbers[name][each[name]] if name in numbers else each[name] for name in names]
        for each in requests
    ]
    document = {**document, "requests": {"names": names, "words": words, "rows": rows}}
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
    found_requests = document["requests"]
    words = found_requests["words"]
    document["requests"] = [
        {
            name: words[name][value] if name in words else value
            for name, value in zip(found_requests["names"], row, strict=True)
        }
        for row in found_requests["rows"]
    ]
    return document
