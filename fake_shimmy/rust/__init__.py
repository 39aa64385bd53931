"""How Rust's standard library shows and takes apart text and paths.

Strategy: everything the imitated executable prints went through Rust's formatting, so the few
rules it relies on live here once, as plain functions on ``str``. Text that came from the system
is decoded as UTF-8 with ``surrogateescape``; bytes that are not UTF-8 therefore travel as lone
surrogates (U+DC80 to U+DCFF) and are made visible here the way Rust shows them.

Imports: nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT_ESCAPES = {
    "\0": "\\0",
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """``std::env::var``: a value that is not UTF-8 counts as unset."""
    value = environ.get(name)
    return value if value is not None and is_utf8(value) else None


def debug(text: str) -> str:
    """``{:?}`` of a string or path: quoted, with Rust's escapes."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_debug_char, text)) + '"'


def _debug_char(char: str) -> str:
    short = _SHORT_ESCAPES.get(char)
    if short is not None:
        return short
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02X}"
    if code < 0x7F:
        return char if code >= 0x20 else f"\\u{{{code:x}}}"
    # A combining mark would merge with the quote before it, so Rust escapes those too.
    import unicodedata

    if char.isprintable() and unicodedata.category(char) not in ("Mn", "Me"):
        return char
    return f"\\u{{{code:x}}}"


def debug_char(char: str) -> str:
    """``{:?}`` of a character."""
    return "'\\''" if char == "'" else "'" + ('"' if char == '"' else _debug_char(char)) + "'"


def duration(nanoseconds: int) -> str:
    """``{:?}`` of a ``Duration``: the largest unit that leaves something before the point."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1000)):
        if nanoseconds >= size:
            whole, rest = divmod(nanoseconds, size)
            digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0")
            return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"
    return f"{nanoseconds}ns"


def debug_list(items: list[str]) -> str:
    """``{:?}`` of a ``Vec<String>``."""
    return "[" + ", ".join(map(debug, items)) + "]"


def lossy(text: str) -> str:
    """``to_string_lossy``: what is not UTF-8 becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_utf8(text: str) -> bool:
    """Whether ``to_str`` would give a value."""
    return text.isascii() or not any(0xDC80 <= ord(char) <= 0xDCFF for char in text)


def os_path(path: str) -> bytes:
    """The bytes the system knows ``path`` by, whatever the locale."""
    return path.encode("utf-8", "surrogateescape")


def from_os(name: bytes) -> str:
    """The counterpart of :func:`os_path`."""
    return name.decode("utf-8", "surrogateescape")


def environment() -> dict[str, str]:
    """This process's environment, decoded alike under every locale."""
    if sys.platform == "win32":
        return dict(os.environ)
    return {from_os(name): from_os(value) for name, value in os.environb.items()}


def components(path: str) -> list[str]:
    """``Path::components``: ``/`` for the root, then the parts without empty and inner ``.``."""
    parts = [part for part in path.split("/") if part and part != "."]
    if path.startswith("/"):
        parts.insert(0, "/")
    elif path == "." or path.startswith("./"):
        parts.insert(0, ".")
    return parts


def sort_key(path: str) -> list[tuple[int, bytes]]:
    """The order of ``Path``: component by component, the root first, names by bytes."""
    ranks = {"/": 0, ".": 1, "..": 2}
    return [(ranks.get(part, 3), os_path(part)) for part in components(path)]


def file_name(path: str) -> str | None:
    """``Path::file_name``: the last component if it is a name."""
    parts = components(path)
    return parts[-1] if parts and parts[-1] not in ("/", ".", "..") else None


def parent(path: str) -> str | None:
    """``Path::parent``: ``""`` for a bare name, None for the root and the empty path."""
    trimmed = path
    while True:
        shorter = trimmed.rstrip("/")
        if shorter.endswith("/."):
            shorter = shorter[:-2]
        if shorter == trimmed:
            break
        trimmed = shorter
    if not trimmed:
        return None
    head, slash, _ = trimmed.rpartition("/")
    if not slash:
        return ""
    return head.rstrip("/") or "/"


def split_extension(name: str) -> tuple[str, str | None]:
    """``file_stem`` and ``extension`` of a file name; a leading dot starts no extension."""
    stem, dot, extension = name.rpartition(".")
    return (stem, extension) if dot and stem else (name, None)


def join(base: str, child: str) -> str:
    """``Path::join``."""
    if child.startswith("/") or not base:
        return child
    return base + child if base.endswith("/") else f"{base}/{child}"


def exists(path: str) -> bool:
    """``Path::exists``; a path with a NUL byte does not exist."""
    return "\0" not in path and os.path.exists(os_path(path))  # noqa: PTH110 - bytes, and no pathlib


def is_dir(path: str) -> bool:
    """``Path::is_dir``."""
    return "\0" not in path and os.path.isdir(os_path(path))  # noqa: PTH112 - bytes, and no pathlib


def os_error(error: OSError) -> str:
    """``{}`` of an ``io::Error`` that the system gave."""
    return f"{os.strerror(error.errno or 0)} (os error {error.errno})"


def utf8_error_length(error: UnicodeDecodeError) -> int | None:
    """``Utf8Error::error_len``: how many bytes are wrong, or None where more were to come."""
    if error.reason == "unexpected end of data":
        return None
    return error.end - error.start


def display_f32(number: float) -> str:
    """``{}`` of an ``f32``: the shortest digits that mean this number, never an exponent."""
    import struct
    from decimal import Decimal

    if number != number or number in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "inf", "-inf": "-inf"}[str(number)]
    exact = struct.pack("<f", number)
    for digits in range(1, 10):
        text = f"{number:.{digits}g}"
        if struct.pack("<f", float(text)) == exact:
            break
    shown = f"{Decimal(text):f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
