"""The header of a GGUF file as Airframe reads it: what it prints, what it finds, where it panics.

Strategy: the real reader trusts its file: it allocates what a length says, and unwraps every read.
So a file that is no GGUF, or is cut anywhere in its header, is a panic at the place of the read
that failed, after the lines of all reads before it. Seen on 2.6.5 default, cut at each byte of a
header; the lines about tensors that are fused (Phi, StarCoder2) are left out.
"""

from __future__ import annotations

import os
import struct
import sys

from fake_shimmy import rust
from fake_shimmy.models import files
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, TypeAlias

    from fake_shimmy.releases import Airframe

    Value: TypeAlias = int | float | bool | str | None
    """A metadata value; of an array its length, of 8- and 16-bit numbers nothing."""

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
"""Types of metadata values by their number."""

_FORMATS = ("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?")
_WIDE_FORMATS = {10: "<Q", 11: "<q", 12: "<d"}
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value by the number of its type."""

_SHOWN = {
    UINT32: (
        *("head_count", "block_count", "embedding", "context_length", "feed_forward"),
        "file_type",
    ),
    FLOAT32: ("epsilon", "freq_base"),
    STRING: ("architecture", "name", "model"),
}
"""Which values are printed: by their type, those with one of these in their key."""

TEMPLATE = "tokenizer.chat_template"
_ALIGNMENT = 32
_LARGEST = 2**63 - 1
_NOT_FILLED = 'Error { kind: UnexpectedEof, message: "failed to fill whole buffer" }'


class Tensor:
    """A row of the list of tensors. ``offset`` is from the file's beginning, in bytes."""

    __slots__ = ("dimensions", "kind", "offset")

    def __init__(self, kind: int, dimensions: list[int], offset: int) -> None:
        self.kind = kind
        self.dimensions = dimensions
        self.offset = offset


class AbortError(Exception):
    """What ends the whole process; the text is the allocator's."""


class Header:
    """What a file's header turned out to be, as far as it could be read."""

    __slots__ = ("data_start", "lines", "panic", "shown", "tensors", "values")

    def __init__(self) -> None:
        self.lines: list[str] = []
        """What is printed."""
        self.shown = ""
        """The same as one text."""
        self.panic: Panic | AbortError | None = None
        """What ended the reading before its time."""
        self.values: dict[str, tuple[int, Value]] = {}
        """Type and value of each pair of metadata."""
        self.tensors: dict[str, Tensor] = {}
        self.data_start = 0
        """Where the tensors' data begins, in bytes."""

    def value(self, suffix: str, kind: int) -> Value:
        """The value whose key ends in ``suffix`` after its first dot, if it is of that type."""
        for key, (found, value) in self.values.items():
            if found == kind and key.partition(".")[2] == suffix:
                return value
        return None

    def number(self, suffix: str) -> int | None:
        """The same for an unsigned number of 32 bits."""
        value = self.value(suffix, UINT32)
        return None if value is None else int(value)

    def text(self, key: str) -> str | None:
        """The text of exactly that key."""
        kind, value = self.values.get(key, (0, None))
        return str(value) if kind == STRING else None


def read(path: str, engine: Airframe) -> Header | None:
    """The header of the file at ``path`` as ``engine`` reads it; None if it cannot be opened."""
    header = Header()
    if rust.is_dir(path):
        # A folder can be opened; it is the first read that fails.
        error = 'Os { code: 21, kind: IsADirectory, message: "Is a directory" }'
        header.panic = panic(engine, "metadata.rs", "48:39", _unwrapped(error), _UNWRAP)
        return header
    try:
        file = files.opened(path)
    except OSError:
        return None
    with file:
        try:
            _Reader(file, header, engine).read()
        except (Panic, AbortError) as end:
            header.panic = end
    header.shown = "\n".join(header.lines)
    return header


_FOLDERS = {
    "metadata.rs": "backend/bindless",
    "loader.rs": "backend/bindless",
    "spec.rs": "core",
    "gpu.rs": "runtime",
}


def panic(engine: Airframe, file: str, place: str, reason: str, frames: tuple[str, ...]) -> Panic:
    """A panic of ``engine`` at a ``place`` in its source ``file``."""
    path = f"airframe-{engine.version}/src/{_FOLDERS[file]}/{file}:{place}"
    return Panic(reason, path, frames)


_UNWRAP: tuple[str, ...] = ("core::result::unwrap_failed",)
_ASSERTED = ("core::panicking::assert_failed_inner", "core::panicking::assert_failed")
_READER = "airframe::backend::bindless::metadata::"


def _unwrapped(error: str) -> str:
    return f"called `Result::unwrap()` on an `Err` value: {error}"


class _Reader:
    def __init__(self, file: IO[bytes], header: Header, engine: Airframe) -> None:
        self._file = file
        self._header = header
        self._engine = engine

    def read(self) -> None:
        """Read everything up to the tensors' data."""
        show = self._header.lines.append
        magic = self._take(4, "48:39", "BindlessMetadata::new")
        if magic != b"GGUF":
            reason = (
                "assertion `left == right` failed: Invalid Magic\n"
                f"  left: {list(magic)}\n right: {list(b'GGUF')}"
            )
            raise panic(self._engine, "metadata.rs", "49:9", reason, _ASSERTED)
        self._uint32()
        tensors, pairs = self._uint64(), self._uint64()
        show(f"[Metadata] Scanning {pairs} KV pairs...")
        for _ in range(pairs):
            self._pair()
        for _ in range(tensors):
            self._tensor()
        end = self._file.tell()
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        self._header.data_start = start
        for tensor in self._header.tensors.values():
            tensor.offset += start
        layers = 0
        while f"blk.{layers}.attn_norm.weight" in self._header.tensors:
            layers += 1
        show(f"[Metadata] Compiled {layers} layers into lookup table.")

    def _pair(self) -> None:
        key = self._string()
        kind = self._uint32()
        value = self._value(kind)
        self._header.values[key] = kind, value
        if key == TEMPLATE and kind == STRING:
            size = len(str(value).encode())
            self._header.lines.append(f"[Metadata] {key} present ({size} chars)")
        elif any(word in key for word in _SHOWN.get(kind, ())):
            shown = rust.display_f32(float(value or 0)) if kind == FLOAT32 else value
            self._header.lines.append(f"[Metadata] {key} = {shown}")

    def _value(self, kind: int) -> Value:
        line = self._engine.metadata_line
        if kind < STRING:
            raw = self._take(SIZES[kind], f"{line + 22 + 6 * kind}:36", "read_gguf_value")
            number: Value = struct.unpack(_FORMATS[kind], raw)[0]
            return number
        if kind in _WIDE_FORMATS:
            raw = self._take(8, f"{line + 83 + 6 * (kind - 10)}:36", "read_gguf_value")
            wide: Value = struct.unpack(_WIDE_FORMATS[kind], raw)[0]
            return wide
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            raise self._unknown(kind, line + 99)
        item, count = self._uint32(), self._uint64()
        self._skip(item, count)
        return count

    def _skip(self, kind: int, count: int) -> None:
        """Pass ``count`` values of an array, none of which needs to be there."""
        file = self._file
        if kind in SIZES:
            file.seek(min(SIZES[kind] * count, _LARGEST - file.tell()), 1)
        elif kind == STRING:
            for _ in range(count):
                file.seek(min(self._uint64("skip_value"), _LARGEST - file.tell()), 1)
        elif kind == ARRAY:
            for _ in range(count):
                self._skip(self._uint32("skip_value"), self._uint64("skip_value"))
        elif count:
            raise self._unknown(kind, self._engine.metadata_line + 139, "skip_value")

    def _unknown(self, kind: int, line: int, *functions: str) -> Panic:
        reason = f"Unknown GGUF value type {kind}"
        place = f"{line}:14"
        return panic(self._engine, "metadata.rs", place, reason, self._frames(*functions))

    def _tensor(self) -> None:
        name = self._string()
        dimensions = [self._uint64() for _ in range(self._uint32())]
        kind, offset = self._uint32(), self._uint64()
        self._header.tensors[name] = Tensor(kind, dimensions, offset)
        self._header.lines.append(
            f"[Metadata] Found {name}: Type={kind} Dims={dimensions} Offset={offset}"
        )

    def _uint32(self, *callers: str) -> int:
        raw = self._take(4, f"{self._engine.metadata_line}:28", "read_u32", *callers)
        return int.from_bytes(raw, "little")

    def _uint64(self, *callers: str) -> int:
        raw = self._take(8, f"{self._engine.metadata_line + 6}:28", "read_u64", *callers)
        return int.from_bytes(raw, "little")

    def _string(self) -> str:
        line = self._engine.metadata_line
        size = self._uint64("read_string")
        if size > _LARGEST:
            place = "library/alloc/src/raw_vec/mod.rs:28:5"
            frames = self._frames("alloc::raw_vec::handle_error", "alloc::vec::from_elem")
            frames = ("alloc::raw_vec::capacity_overflow", *frames, *self._frames("read_string"))
            raise Panic("capacity overflow", place, frames)
        if size > _memory():
            raise AbortError(f"memory allocation of {size} bytes failed")
        raw = self._take(size, f"{line + 13}:28", "read_string")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            reason = (
                f"FromUtf8Error {{ bytes: {list(raw)}, error: Utf8Error {{ valid_up_to: "
                f"{error.start}, error_len: {_error_length(error)} }} }}"
            )
            place = f"{line + 14}:28"
            string = (*_UNWRAP, *self._frames("read_string"))
            reason = _unwrapped(reason)
            raise panic(self._engine, "metadata.rs", place, reason, string) from None

    def _take(self, count: int, place: str, *functions: str) -> bytes:
        """``count`` bytes; ``functions`` are those of the reader that ask for them, the innermost
        first."""
        found = self._file.read(count)
        if len(found) < count:
            frames = (*_UNWRAP, *self._frames(*functions))
            raise panic(self._engine, "metadata.rs", place, _unwrapped(_NOT_FILLED), frames)
        return found

    def _frames(self, *functions: str) -> tuple[str, ...]:
        """What a backtrace shows of them."""
        shown = (each for each in functions if each not in self._engine.merged_frames)
        return tuple(each if each.startswith("alloc::") else _READER + each for each in shown)


def _error_length(error: UnicodeDecodeError) -> str:
    """``error_len`` of a ``Utf8Error``: None where the text only ends too early."""
    length = rust.utf8_error_length(error)
    return "None" if length is None else f"Some({length})"


def _memory() -> int:
    """Bytes of this machine's memory; where it cannot be asked for, as much as there may be."""
    if sys.platform == "win32":
        return _LARGEST
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
