"""What llama.cpp finds in a model file, and what it finds wrong with it, in its own words.

Strategy: header, metadata and the list of tensors are read as far as their structure goes, without
keeping any of it; the first thing wrong gives the lines that llama.cpp writes to stderr. Whatever
it checks beyond that (hyperparameters, vocabulary, shapes) is not looked at: what has an
architecture and all of its data is taken. Seen on 1.8.1.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_INIT = "gguf_init_from_file_impl: "
_LOADING = "llama_model_load: error loading model: "
_FAILED = "llama_model_load_from_file_impl: failed to load model"
_LORA = "llama_adapter_lora_init: failed to apply lora adapter: "
_NEWEST = 3
_MOST_LAYERS = 512
"""Of any model that llama.cpp takes."""

_COUNT_LIMITS = (("tensors", 53624256028225440), ("key value pairs", 209622091746699450))
"""What is counted in a header, and how many of it fit into 64 bits of memory."""

_STRING, _ARRAY = 8, 9
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value, by the number of its type."""

_SINGLE = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_BLOCKS_OF_32 = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34}
_BLOCKS_OF_256 = {10: 84, 11: 110, 12: 144, 13: 176, 14: 210}
_BLOCKS = {
    kind: (numbers, size)
    for numbers, table in ((1, _SINGLE), (32, _BLOCKS_OF_32), (256, _BLOCKS_OF_256))
    for kind, size in table.items()
}
"""Numbers in a block of a tensor and its bytes, by the number of the tensor's type."""


class _BrokenError(Exception):
    """What is wrong, as lines for stderr."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.lines = lines


class _EndedError(Exception):
    """The file is shorter than it says."""


class Contents:
    """What a file turned out to be."""

    __slots__ = ("complaints", "embedding_bytes", "layers", "tensor_bytes")

    def __init__(
        self,
        complaints: tuple[str, ...] = (),
        layers: int = 1,
        embedding_bytes: int = 0,
        tensor_bytes: int = 0,
    ) -> None:
        self.complaints = complaints
        """The lines about it; none where it is taken."""
        self.layers = layers
        """How many its metadata tell of, or one."""
        self.embedding_bytes = embedding_bytes
        """Size of the tensor that stays with the CPU."""
        self.tensor_bytes = tensor_bytes
        """Size of all tensors."""


class _File:
    """What is needed of a file: parts of its metadata, and where its tensors would lie."""

    __slots__ = (
        "architecture",
        "embedding_bytes",
        "general_type",
        "layers",
        "lost_tensor",
        "tensor_bytes",
    )

    def __init__(self) -> None:
        self.architecture = ""
        self.general_type = ""
        self.layers = 1
        self.embedding_bytes = 0
        self.tensor_bytes = 0
        self.lost_tensor: str | None = None
        """The first tensor whose data is not wholly in the file."""


def read(path: str) -> Contents:
    """The model at ``path``, or the lines about what is wrong with it."""
    try:
        file = _read(path)
    except _BrokenError as error:
        loader = f"llama_model_loader: failed to load model from {rust.lossy(path)}"
        return Contents((*error.lines, _LOADING + loader, _FAILED))
    if file.lost_tensor is not None:
        text = (
            f"tensor '{file.lost_tensor}' data is not within the file bounds, "
            "model is corrupted or incomplete"
        )
        return Contents((_LOADING + text, _FAILED))
    if not file.architecture:
        text = "error loading model architecture: unknown model architecture: ''"
        return Contents((_LOADING + text, _FAILED))
    return Contents((), file.layers, file.embedding_bytes, file.tensor_bytes)


def adapter_complaints(path: str) -> list[str]:
    """The lines about the LoRA adapter at ``path``; none where it is taken."""
    try:
        file = _read(path)
    except _BrokenError as error:
        text = f"failed to load lora adapter file from {rust.lossy(path)}"
        return [*error.lines, _LORA + text]
    if file.general_type != "adapter":
        return [f"{_LORA}expect general.type to be 'adapter', but got: {file.general_type}"]
    return []


def _read(path: str) -> _File:
    try:
        with files.opened(path) as file:
            return _Reader(file).read()
    except OSError:
        text = f"gguf_init_from_file: failed to open GGUF file '{rust.lossy(path)}'"
        raise _BrokenError(text) from None


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._alignment = 32
        self._found = _File()
        file.seek(0)

    def read(self) -> _File:
        """Read everything up to the tensors' data."""
        self._magic()
        try:
            tensors, pairs = self._counts()
        except _EndedError:
            raise _BrokenError(f"{_INIT}failed to read header") from None
        try:
            for _ in range(pairs):
                self._pair()
        except _EndedError:
            raise _BrokenError(f"{_INIT}failed to read key-value pairs") from None
        try:
            spans = [self._tensor() for _ in range(tensors)]
        except _EndedError:
            raise _BrokenError(f"{_INIT}failed to read tensor info") from None
        start = -(-self._file.tell() // self._alignment) * self._alignment
        lost = (name for name, end in spans if start + end > self._size)
        self._found.lost_tensor = next(lost, None)
        return self._found

    def _magic(self) -> None:
        magic = self._file.read(4)
        if len(magic) < 4:
            raise _BrokenError(f"{_INIT}failed to read magic")
        if magic != b"GGUF":
            shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in magic)
            text = f"invalid magic characters: '{shown}', expected 'GGUF'"
            raise _BrokenError(_INIT + text)

    def _counts(self) -> list[int]:
        version = self._number(4)
        text = ""
        if version == 0:
            text = "bad GGUF version: 0"
        elif not version & 0xFFFF:
            text = (
                f"failed to load model: this GGUF file version {version} is extremely large, "
                "is there a mismatch between the host and model endianness?"
            )
        elif version == 1:
            text = "GGUFv1 is no longer supported, please use a more up-to-date version"
        elif version > _NEWEST:
            text = (
                f"this GGUF file is version {version} but this software only supports up to "
                f"version {_NEWEST}"
            )
        counts = []
        for what, limit in () if text else _COUNT_LIMITS:
            count = int.from_bytes(self._bytes(8), "little", signed=True)
            if not 0 <= count <= limit:
                text = f"number of {what} is {count} but must be in [0, {limit}]"
                break
            counts.append(count)
        if text:
            raise _BrokenError(_INIT + text, f"{_INIT}failed to read header")
        return counts

    def _pair(self) -> None:
        key = self._string()
        kind = self._number(4)
        if kind == _STRING and key == b"general.architecture":
            self._found.architecture = self._string().decode("utf-8", "replace")
        elif kind == _STRING and key == b"general.type":
            self._found.general_type = self._string().decode("utf-8", "replace")
        elif kind == 4 and key == b"general.alignment":
            self._alignment = self._number(4) or 1
        elif kind == 4 and key.endswith(b".block_count"):
            self._found.layers = min(self._number(4), _MOST_LAYERS)
        else:
            self._skip_value(key, kind)

    def _skip_value(self, key: bytes, kind: int) -> None:
        count = 1
        if kind == _ARRAY:
            kind, count = self._number(4), self._number(8)
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._number(8))
        elif kind in _VALUE_BYTES:
            self._skip(count * _VALUE_BYTES[kind])
        else:
            text = f"key '{key.decode('utf-8', 'replace')}' has invalid GGUF type {kind}"
            raise _BrokenError(_INIT + text, f"{_INIT}failed to read key-value pairs")

    def _tensor(self) -> tuple[str, int]:
        """A tensor's name, and where its data ends."""
        name = self._string().decode("utf-8", "replace")
        numbers = 1
        dimensions = self._number(4)
        if dimensions > 4:
            text = f"tensor '{name}' has invalid number of dimensions: {dimensions} > 4"
            raise _BrokenError(_INIT + text, f"{_INIT}failed to read tensor info")
        for _ in range(dimensions):
            numbers *= self._number(8)
        block, block_bytes = _BLOCKS.get(self._number(4), (1, 0))
        size = numbers // block * block_bytes
        self._found.tensor_bytes += size
        if name == "token_embd.weight":
            self._found.embedding_bytes = size
        return name, self._number(8) + size

    def _string(self) -> bytes:
        return self._bytes(self._number(8))

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "little")

    def _bytes(self, count: int) -> bytes:
        if count > self._size:
            raise _EndedError
        found = self._file.read(count)
        if len(found) < count:
            raise _EndedError
        return found

    def _skip(self, count: int) -> None:
        if self._file.tell() + count > self._size:
            raise _EndedError
        self._file.seek(count, 1)
