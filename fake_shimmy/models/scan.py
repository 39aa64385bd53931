"""One folder's models, found and named as the real executable does.

Strategy: the walk is written rule by rule in the order in which shimmy applies them, quirks
included (seen on 2.5.0 CPU-only and 1.8.1); each rule that is only a set of words is a table. File
content is never looked at.
"""

from __future__ import annotations

import os

from fake_shimmy import rust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fake_shimmy.releases import Release

MAX_DEPTH = 4
"""Folder levels that are searched: the path itself and three below it."""

_HIDDEN_ALLOWED = frozenset({".cache", ".ollama", ".local"})
_SYSTEM_FOLDERS = frozenset(
    {
        *("Library", "Applications", "System", "Developer", "private", "Volumes", "cores"),
        *("usr", "var", "tmp", "dev", "etc", "home", "net", "proc", "opt", "sbin", "bin"),
    }
)
_SKIPPED_EXACT = frozenset({"target", "cmake", "incremental"})
_SKIPPED_PARTS = ("whisper", "wav2vec", "bert", "clip")
_HUB_WORDS = ("llama", "phi", "mistral", "qwen", "gemma", "gguf")
_BIN_EXCLUDED = (
    "target\\",
    "target/",
    "cmake",
    "incremental",
    "work-products",
    "dep-graph",
    "query-cache",
    "ompver",
    "whisper",
    "wav2vec",
    "pytorch_model",
)
_BIN_WORDS = ("model", "llama", "phi", "mistral", "qwen", "gemma")
_SIDE_FILES = ("tokenizer", "config")

# Tried in this order; the first hit wins, so 13B is never reached and bf16 counts as F16.
_TYPES = tuple((word.lower(), word) for word in ("Llama", "Phi", "Gemma", "Mistral", "Qwen"))
_PARAMETERS = (
    ("3b", "3B"),
    ("3.0b", "3B"),
    ("7b", "7B"),
    ("7.0b", "7B"),
    ("70b", "70B"),
    ("70.0b", "70B"),
)
_QUANTIZATIONS = tuple((word.lower(), word) for word in ("Q4_K_M", "Q4_0", "Q8_0", "F16", "F32"))


class DiscoveredModel:
    """One model file (or group of shards) that discovery found; sizes in bytes."""

    __slots__ = (
        "lora_path",
        "model_type",
        "name",
        "parameter_count",
        "path",
        "quantization",
        "size_bytes",
    )

    def __init__(
        self,
        name: str,
        path: str,
        size_bytes: int,
        model_type: str,
        parameter_count: str | None = None,
        quantization: str | None = None,
        lora_path: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.size_bytes = size_bytes
        self.model_type = model_type
        self.parameter_count = parameter_count
        self.quantization = quantization
        self.lora_path = lora_path


def parse_file_name(name: str) -> tuple[str, str | None, str | None]:
    """Model type, parameter count and quantisation that a file name tells."""
    lower = name.lower()
    return (
        _first(lower, _TYPES) or "Unknown",
        _first(lower, _PARAMETERS),
        _first(lower, _QUANTIZATIONS),
    )


def model_name(file_name: str) -> str:
    """The name a file is served under: up to the last dot, dashes for ``_`` and space."""
    head, dot, _ = file_name.rpartition(".")
    stem = head if dot else file_name
    return stem.replace("_", "-").replace(" ", "-").lower()


def is_model_file(path: str, name: str) -> bool:
    """Whether the file at ``path`` counts as a model, by its names alone."""
    extension = rust.split_extension(name)[1]
    if extension is None:
        return False
    kind = rust.lossy(extension).lower()
    if kind == "gguf":
        return True
    if kind not in ("safetensors", "bin"):
        return False
    whole = rust.lossy(path).lower()
    if _any_in(_SIDE_FILES, whole):
        return False
    if kind == "safetensors":
        return True
    return not _any_in(_BIN_EXCLUDED, whole) and _any_in(_BIN_WORDS, whole)


class Scanner:
    """One discovery run as ``release`` does it; remembers the LoRA files of each folder."""

    def __init__(self, release: Release) -> None:
        self._gguf_type = release.gguf_type
        self._shards = release.shards
        self._loras: dict[str, list[str]] = {}

    def scan(self, folder: str, depth: int) -> list[DiscoveredModel]:
        """The models in ``folder`` and below."""
        if depth >= MAX_DEPTH or _is_skipped_folder(folder):
            return []
        models: list[DiscoveredModel] = []
        files: list[tuple[str, str]] = []
        for name, path, is_folder in entries(folder) or ():
            if is_folder:
                if _is_worth_entering(name, path):
                    models += self.scan(path, depth + 1)
            elif is_model_file(path, name):
                files.append((name, path))
        return models + self._group_shards(folder, files)

    def _group_shards(self, folder: str, files: list[tuple[str, str]]) -> list[DiscoveredModel]:
        groups: dict[str, list[tuple[str, str]]] = {}
        models = []
        for name, path in files:
            group = _shard_group(name)
            if group is not None:
                groups.setdefault(group, []).append((name, path))
            elif (model := self.analyze(name, path)) is not None:
                models.append(model)
        for group, shards in groups.items():
            # A group of one vanishes: the real one counts it as grouped and then skips it.
            if len(shards) > 1 and (model := self._merge(folder, group, shards)) is not None:
                model.size_bytes = sum(_size(path) or 0 for _, path in shards)
                models.append(model)
        return models

    def _merge(
        self, folder: str, group: str, shards: list[tuple[str, str]]
    ) -> DiscoveredModel | None:
        if self._shards == "file":
            shards.sort(key=lambda shard: rust.sort_key(shard[1]))
        model = self.analyze(*shards[0])
        if model is None:
            return None
        model.name = model_name(group)
        if self._shards == "folder":
            # Whichever shard the folder lists first, and a path that no file has.
            own_name = rust.file_name(folder)
            model.name = own_name if own_name is not None and rust.is_utf8(own_name) else group
            model.path = f"{rust.lossy(model.path)} (+{len(shards) - 1} more files)"
            loras = (self._find_lora(*shard) for shard in shards)
            model.lora_path = next((lora for lora in loras if lora is not None), None)
        return model

    def analyze(self, name: str, path: str) -> DiscoveredModel | None:
        """The model for one file, or None where the file cannot be looked at."""
        size = _size(path)
        if size is None:
            return None
        file_name = name if rust.is_utf8(name) else "unknown"
        model_type, parameters, quantization = parse_file_name(file_name)
        if self._gguf_type is not None and rust.split_extension(name)[1] == "gguf":
            model_type = self._gguf_type
        lora = self._find_lora(name, path)
        return DiscoveredModel(
            model_name(file_name), path, size, model_type, parameters, quantization, lora
        )

    def _find_lora(self, name: str, path: str) -> str | None:
        if not rust.is_utf8(name):
            return None
        folder = path[: len(path) - len(name)]
        if folder not in self._loras:
            self._loras[folder] = _lora_names(rust.parent(path) or "")
        stem = rust.split_extension(name)[0]
        for lora in self._loras[folder]:
            if not rust.is_utf8(lora):
                return None
            lora_stem = rust.split_extension(lora)[0]
            if stem in lora_stem or lora_stem in stem:
                return rust.join(rust.parent(path) or "", lora)
        return None


def entries(folder: str) -> list[tuple[str, str, bool]] | None:
    """(name, path, is a folder) in directory order; None where it cannot be read."""
    try:
        with os.scandir(rust.os_path(folder)) as listing:
            found = []
            for entry in listing:
                name = rust.from_os(entry.name)
                try:
                    is_folder = entry.is_dir()
                except OSError:
                    is_folder = False
                found.append((name, rust.join(folder, name), is_folder))
            return found
    except OSError:
        return None


def _lora_names(folder: str) -> list[str]:
    names = []
    for name, _, _ in entries(folder) or ():
        extension = rust.split_extension(name)[1]
        if extension is not None and rust.lossy(extension).lower() in ("gguf", "ggml"):
            lower = name.lower() if rust.is_utf8(name) else ""
            if "lora" in lower or "adapter" in lower:
                names.append(name)
    return names


def _is_skipped_folder(folder: str) -> bool:
    name = rust.file_name(folder)
    if name is None or not rust.is_utf8(name):
        return False
    return (name.startswith(".") and name not in _HIDDEN_ALLOWED) or name in _SYSTEM_FOLDERS


def _is_worth_entering(name: str, path: str) -> bool:
    lower = name.lower() if rust.is_utf8(name) else ""
    if lower in _SKIPPED_EXACT or lower.startswith(".git") or _any_in(_SKIPPED_PARTS, lower):
        return False
    whole = rust.lossy(path)
    return "huggingface" not in whole or _any_in(_HUB_WORDS, whole.lower())


def _shard_group(name: str) -> str | None:
    # Cheap test first: the pattern's compiler is needed only where shards are.
    if "-of-" not in name or not rust.is_utf8(name):
        return None
    import re

    match = re.match(r"(.+)-\d{5}-of-\d{5}(\..+)\Z", name)
    return None if match is None else match[1] + match[2]


def _size(path: str) -> int | None:
    try:
        return os.stat(rust.os_path(path)).st_size  # noqa: PTH116 - bytes, and no pathlib
    except OSError:
        return None


def _first(lower: str, table: tuple[tuple[str, str], ...]) -> str | None:
    return next((value for word, value in table if word in lower), None)


def _any_in(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
