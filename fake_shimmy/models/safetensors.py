"""The check that the toy SafeTensors engine makes of a model file.

Strategy: the file must be what the safetensors 0.4 reader takes: eight bytes of header length, a
JSON header, tensors that lie side by side and fill the rest. Errors carry the reader's own words,
because they reach the log and ``probe`` (seen on 2.5.0 CPU-only).
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models import files
from fake_shimmy.rust import backtrace, tracing
from fake_shimmy.rust.backtrace import Panic
from fake_shimmy.serde import jsonbody
from fake_shimmy.serde.jsonlexer import JsonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.rust.tracing import Tracer

TARGET = "shimmy::engine::safetensors_native"
"""Who logs."""

MAX_HEADER = 100_000_000
"""Longest JSON header in bytes."""

MAPPED_ABOVE = 100 * 1024 * 1024
"""Files longer than this many bytes are said to be memory-mapped."""

_TYPE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2}
_TYPE_BYTES |= {"F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}


class LoadError(Exception):
    """A model that an engine refuses; the text is what the real one logs.

    ``frames`` are the functions that were called, innermost first, for a backtrace.
    """

    def __init__(self, text: str, frames: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.frames = frames


class ModelFile:
    """What the toy engine tells about a file; layers and vocabulary size are counts."""

    __slots__ = ("layers", "mapped", "vocab_size")

    def __init__(self, layers: int, vocab_size: int, mapped: bool) -> None:
        self.layers = layers
        self.vocab_size = vocab_size
        self.mapped = mapped


def log_load(path: str, tracer: Tracer) -> None:
    """What is logged before a file is looked at."""
    tracer.event(tracing.INFO, TARGET, f"Loading SafeTensors model: {path}")


def load(path: str, tracer: Tracer) -> ModelFile:
    """Read the header of the file at ``path`` and the JSON files beside it.

    Raises :class:`LoadError` and :class:`Panic`; the caller adds the frames up to itself.
    """
    shown = rust.lossy(path)
    log_load(shown, tracer)
    tracer.event(tracing.INFO, TARGET, "Loading model file directly (cache disabled)")
    tracer.event(tracing.INFO, TARGET, f"Reading SafeTensors file: {shown}")
    try:
        size = files.size(path)
        mapped = size > MAPPED_ABOVE
        how = (
            "Using memory-mapped loading for large model" if mapped else "Loading model into memory"
        )
        tracer.event(tracing.INFO, TARGET, f"{how} ({size / 1024 / 1024:.1f} MB)")
        with files.opened(path) as file:
            tensors = _read_tensors(file.read(8), file.read, size)
    except OSError as error:
        raise _converted(rust.os_error(error)) from None
    tracer.event(tracing.DEBUG, TARGET, f"SafeTensors loaded with {len(tensors)} tensors")
    folder = rust.parent(path) or ""
    config = _read_json(rust.join(folder, "config.json"))
    if config is None:
        tracer.event(tracing.INFO, TARGET, "No config.json found, inferring from tensor shapes")
        vocab_size = _vocab_size_of(tensors)
        layers = _layers_of(tensors)
    else:
        layers = _number(config[0], "num_hidden_layers", 32)
        vocab_size = _number(config[0], "vocab_size", 32000)
    tokenizer = _read_json(rust.join(folder, "tokenizer.json"))
    if tokenizer is None or not _has_vocabulary(tokenizer[0]):
        text = "No tokenizer.json found, using simple character tokenizer"
        tracer.event(tracing.WARN, TARGET, text)
    return ModelFile(layers, vocab_size, mapped)


def _converted(text: str) -> LoadError:
    return LoadError(text, (backtrace.CONVERTED,))


def _has_vocabulary(tokenizer: object) -> bool:
    model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
    return isinstance(model, dict) and "vocab" in model


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
    """The document in a one-tuple, or None where there is no such file."""
    if not rust.exists(path):
        return None
    try:
        with open(rust.os_path(path), "rb") as file:
            raw = file.read()
    except OSError as error:
        raise _converted(rust.os_error(error)) from None
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise _converted("stream did not contain valid UTF-8") from None
    try:
        return (jsonbody.load_strict(raw),)
    except JsonError as error:
        raise _converted(error.without_path()) from None


def _number(document: object, key: str, default: int) -> int:
    value = document.get(key) if isinstance(document, dict) else None
    return value if type(value) is int and 0 <= value < 2**64 else default


def _vocab_size_of(tensors: dict[str, list[int]]) -> int:
    """The size that the shapes tell; a shape with too few numbers is a panic."""
    head, embedding = tensors.get("lm_head.weight"), tensors.get("embed_tokens.weight")
    size = 32000
    if head is not None:
        size = _extent(head, 0, "374:13")
    elif embedding is not None:
        size = _extent(embedding, 0, "376:13")
    if embedding is not None:
        # The hidden size is not used, but a missing one is an error.
        _extent(embedding, 1, "383:13")
    return size


def _extent(shape: list[int], index: int, position: str) -> int:
    if index < len(shape):
        return shape[index]
    raise Panic(
        f"index out of bounds: the len is {len(shape)} but the index is {index}",
        f"{backtrace.OWN}/src/engine/safetensors_native.rs:{position}",
        ("core::panicking::panic_bounds_check",),
    )


def _layers_of(tensors: dict[str, list[int]]) -> int:
    layers = 0
    for name in tensors:
        _, found, rest = name.partition("layers.")
        number = rest.split("layers.")[0].split(".")[0].removeprefix("+")
        if found and number.isascii() and number.isdigit():
            # Twenty digits hold every number that counts; the interpreter refuses very long ones.
            index = int(number.lstrip("0")[:21] or 0)
            if index < 2**64:
                layers = max(layers, (index + 1) % 2**64)
    return layers or 32
