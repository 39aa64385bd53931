"""A run as one file that a browser opens from disk: data, style and program in it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from .collect import Collected, Document, finished, is_without_secrets

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_PART = re.compile(r'<script type="text/plain" class="part">(.*?)</script>', re.DOTALL)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

_ESCAPES = {b"^": b"^^", b"~": b"^t", b"<": b"^l", b"\0": b"^0", b"\r": b"~"}
"""What a browser would not read as it stands there, and what stands there instead of it. Of the
line ends of chunks there are many, so theirs is no longer than they are."""


def write_page(path: Path, run: Collected | Document) -> None:
    """Write the page of what was collected, or of a finished document. It fetches nothing."""
    if isinstance(run, Collected) and not is_without_secrets(run):
        run = finished(run)
    document, parts = run if isinstance(run, Collected) else (run, ())
    # No text in the data can end the element that holds it.
    data = _encode(document).replace("<", "\\u003c")
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    before, after = template.split("__DATA__")
    between, after = after.split("__PARTS__")
    with open(path, "wb") as file:
        file.write(f"{before}{data}{between}".encode("utf-8", "replace"))
        for part in parts:
            file.write(b'<script type="text/plain" class="part">')
            file.write(_escaped(part))
            file.write(b"</script>\n")
        file.write(after.encode())


def data_of(text: str) -> Document | None:
    """The document in a page; None where `text` is no page. Raises `ValueError` if it is broken."""
    found = _DATA.search(text)
    if found is None:
        return None
    document: Document = json.loads(found[1])
    if "whose" not in document:
        return document
    return finished(Collected(document, [_read(part[1]) for part in _PART.finditer(text)]))


def _escaped(part: bytes) -> bytes:
    """The part, with a character for each byte."""
    for character, escape in _ESCAPES.items():
        part = part.replace(character, escape)
    return part if part.isascii() else part.decode("latin-1").encode()


def _read(text: str) -> bytes:
    plain = {escape: character for character, escape in _ESCAPES.items()}
    return re.sub(rb"\^.|~", lambda found: plain[found[0]], text.encode("latin-1"))
