"""The check that the toy SafeTensors engine makes of a model file.

Strategy: the file must be what the safetensors 0.4 reader takes: eight bytes of header length, a
JSON header, tensors that lie side by side and fill the rest. Errors carry the reader's own words,
because they reach the log and ``probe`` (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

from fake_shimmy import jsonbody, rust
from fake_shimmy.jsonlexer import JsonError

MAX_HEADER = 100_000_000
"""Longest JSON header in bytes."""

MAPPED_ABOVE = 100 * 1024 * 1024
"""Files longer than this many bytes are said to be memory-mapped."""

_TYPE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2}
_TYPE_BYTES |= {"F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}


class LoadError(Exception):
    """A model that an engine refuses; the text is what the real one logs."""


class ModelFile:
    """What the toy engine tells about a file; layers and vocabulary size are counts."""

    __slots__ = ("layers", "mapped", "vocab_size")

    def __init__(self, layers: int, vocab_size: int, mapped: bool) -> None:
        self.layers = layers
        self.vocab_size = vocab_size
        self.mapped = mapped


def load(path: str) -> ModelFile:
    """Read the header of the file at ``path`` and the JSON files beside it."""
    try:
        with open(rust.os_path(path), "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            tensors = _read_tensors(file.read(8), file.read, size)
    except OSError as error:
        raise LoadError(rust.os_error(error)) from None
    folder = rust.parent(path) or ""
    config = _read_json(rust.join(folder, "config.json"))
    _read_json(rust.join(folder, "tokenizer.json"))
    if config is None:
        layers, vocab_size = _layers_of(tensors), _vocab_size_of(tensors)
    else:
        layers = _number(config[0], "num_hidden_layers", 32)
        vocab_size = _number(config[0], "vocab_size", 32000)
    return ModelFile(layers, vocab_size, size > MAPPED_ABOVE)


def _read_tensors(prefix: bytes, read: object, size: int) -> dict[str, list[int]]:
    assert callable(read)
    if len(prefix) < 8:
        raise LoadError("HeaderTooSmall")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER:
        raise LoadError("HeaderTooLarge")
    if length + 8 > size:
        raise LoadError("InvalidHeaderLength")
    raw: bytes = read(length)
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise LoadError("InvalidHeader") from None
    try:
        header = jsonbody.load_strict(raw)
    except JsonError:
        raise LoadError("InvalidHeaderDeserialization") from None
    return _check_layout(header, size - 8 - length)


def _check_layout(header: object, data_bytes: int) -> dict[str, list[int]]:
    if not isinstance(header, dict):
        raise LoadError("InvalidHeaderDeserialization")
    spans = []
    shapes = {}
    types = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            if tensor is not None and not _is_text_map(tensor):
                raise LoadError("InvalidHeaderDeserialization")
            continue
        if isinstance(tensor, list) and len(tensor) == 3:
            # A Rust struct is also read from a sequence of its fields.
            tensor = dict(zip(("dtype", "shape", "data_offsets"), tensor, strict=True))
        if not _is_tensor(tensor):
            raise LoadError("InvalidHeaderDeserialization")
        begin, end = tensor["data_offsets"]
        spans.append((begin, end, name))
        shapes[name] = tensor["shape"]
        types[name] = tensor["dtype"]
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position or end < begin:
            raise LoadError(f"InvalidOffset({rust.debug(name)})")
        position = end
        count = _TYPE_BYTES[types[name]]
        for extent in shapes[name]:
            count *= extent
        if count >= 2**64:
            raise LoadError("ValidationOverflow")
        if end - begin != count:
            raise LoadError("TensorInvalidInfo")
    if position != data_bytes:
        raise LoadError("MetadataIncompleteBuffer")
    return shapes


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _is_tensor(value: object) -> bool:
    if not isinstance(value, dict) or getattr(value, "doubled", False):
        return False
    kind = value.get("dtype")
    if not isinstance(kind, str) or kind not in _TYPE_BYTES:
        return False
    offsets = value.get("data_offsets")
    return _is_sizes(value.get("shape")) and _is_sizes(offsets) and len(offsets or ()) == 2


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**64 for n in value)


def _read_json(path: str) -> tuple[object] | None:
    """The document in a one-tuple, or nothing where there is no such file."""
    if not rust.exists(path):
        return None
    try:
        with open(rust.os_path(path), "rb") as file:
            raw = file.read()
    except OSError as error:
        raise LoadError(rust.os_error(error)) from None
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise LoadError("stream did not contain valid UTF-8") from None
    try:
        return (jsonbody.load_strict(raw),)
    except JsonError as error:
        raise LoadError(error.without_path()) from None


def _number(document: object, key: str, default: int) -> int:
    value = document.get(key) if isinstance(document, dict) else None
    return value if type(value) is int and 0 <= value < 2**64 else default


def _vocab_size_of(tensors: dict[str, list[int]]) -> int:
    for name in ("lm_head.weight", "embed_tokens.weight"):
        if tensors.get(name):
            return tensors[name][0]
    return 32000


def _layers_of(tensors: dict[str, list[int]]) -> int:
    layers = 0
    for name in tensors:
        _, found, rest = name.partition("layers.")
        number = rest.split("layers.")[0].split(".")[0].removeprefix("+")
        if found and number.isascii() and number.isdigit() and int(number) < 2**64:
            layers = max(layers, int(number) + 1)
    return layers or 32
