"""What ``shimmy list`` prints, read back.

Strategy: paths are printed in Rust's ``Debug`` form, where a quote or a line break is escaped, so
they are the fixed points; names are printed raw and may hold anything, headings of the list
included. A name therefore ends at the first ``=>`` with a quoted path and the end of an entry
behind it, wherever lines end. The total at the end, which counts names, tells whether everything
was read. Seen on 1.8.1, 2.5.0 and 2.6.5, all alike.
"""

from __future__ import annotations

import os
import re
from typing import Literal, NamedTuple

Source = Literal["registered", "discovered"]

MEBIBYTE = 1 << 20

_HEADING = re.compile(
    r"^(?:📋 Registered Models:|🔍 Auto-Discovered Models:|❌ No models found\.)", re.MULTILINE
)
_REGISTERED = "📋 Registered Models:\n"
_DISCOVERED = "🔍 Auto-Discovered Models:\n"
_TOTAL = re.compile(r"\n✅ Total available models: (\d+)\n")

_PATH = r'"(?P<path>(?:[^"\\\n]|\\.)*)"'
_REGISTERED_ENTRY = re.compile(rf"  (?P<name>.*?) => {_PATH}\n", re.DOTALL)
_DISCOVERED_ENTRY = re.compile(
    rf"  (?P<name>.*?) => {_PATH} "
    r"\[(?P<size>\d+)MB(?: \((?P<traits>[^)\n]*)\))?(?P<lora> \+ LoRA)?\]\n",
    re.DOTALL,
)
_PARAMETERS = re.compile(r"[\d.]+[BM]")
_MORE_SHARDS = re.compile(r" \(\+\d+ more files\)$")
"""1.8 appends this to the path of a model in several files; 2.x does not."""

_ESCAPE = re.compile(rb"\\(?:u\{([0-9a-f]+)\}|x([0-9A-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}


class Entry(NamedTuple):
    """One line of the list, which may be several where a name has line breaks."""

    name: str
    path: str
    source: Source
    mebibytes: int | None = None
    """Its size, rounded down; registered models are listed without."""
    parameters: str | None = None
    quantization: str | None = None
    lora: bool = False


def parse(text: str) -> list[Entry]:
    """The entries in the order in which they are printed, which is random.

    What is printed before or after the list, by a wrapper or as log lines (which 1.8.1 writes to
    stdout when ``RUST_LOG`` asks for them), is passed over. Raises `ValueError`, whose text
    says what is wrong, when it is no whole list.
    """
    start = _HEADING.search(text)
    if start is None:
        raise ValueError("there is no list of models in it")
    if start[0].startswith("❌"):
        return []
    at = start.start()
    entries: list[Entry] = []
    if text.startswith(_REGISTERED, at):
        at += len(_REGISTERED)
        while match := _REGISTERED_ENTRY.match(text, at):
            entries.append(Entry(match["name"], unescape(match["path"]), "registered"))
            at = match.end()
        if text.startswith(f"\n{_DISCOVERED}", at):
            at += 1
    if text.startswith(_DISCOVERED, at):
        at += len(_DISCOVERED)
        while match := _DISCOVERED_ENTRY.match(text, at):
            entries.append(_discovered(match))
            at = match.end()
    total = _TOTAL.match(text, at)
    if total is None:
        line = text[at:].lstrip("\n").partition("\n")[0]
        raise ValueError(f"it breaks off or goes on unexpectedly at {line[:100]!r}")
    read = len({entry.name for entry in entries})
    if read != int(total[1]):
        raise ValueError(f"it counts {total[1]} models, but names {read}")
    return entries


def unescape(text: str) -> str:
    """The path behind its ``Debug`` form; bytes that are no UTF-8 as `os.fsdecode` has them."""

    def plain(match: re.Match[bytes]) -> bytes:
        scalar, byte, other = match.groups()
        if scalar is not None:
            return chr(int(scalar, 16)).encode()
        if byte is not None:
            return bytes.fromhex(byte.decode())
        return _ESCAPED.get(other, other)

    return os.fsdecode(_ESCAPE.sub(plain, text.encode()))


def _discovered(match: re.Match[str]) -> Entry:
    traits = match["traits"].split("·") if match["traits"] else []
    sizes = [trait for trait in traits if _PARAMETERS.fullmatch(trait)]
    others = [trait for trait in traits if trait not in sizes]
    return Entry(
        match["name"],
        _MORE_SHARDS.sub("", unescape(match["path"])),
        "discovered",
        int(match["size"]),
        sizes[0] if sizes else None,
        others[0] if others else None,
        match["lora"] is not None,
    )
