"""A document as one file that a browser opens from disk: data, style and program in it."""

from __future__ import annotations

import json
from importlib.resources import files

from .collect import Document


def page(document: Document) -> str:
    """The page. It fetches nothing."""
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # No text in the data can end the element that holds it.
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("__DATA__", data)
