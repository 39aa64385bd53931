"""The Ollama pass of discovery: manifests with blobs, then model files in the same folders.

Strategy: a straight walk in shimmy's order (seen on 2.5.0 CPU-only). A manifests folder that
cannot be read drops the whole pass, which is why that is an exception here.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models.scan import DiscoveredModel, Scanner, entries, is_model_file
from fake_shimmy.rust import variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_MODEL_LAYER = "application/vnd.ollama.image.model"
_MAX_DEPTH = 5


class UnreadableFolderError(Exception):
    """A folder of manifests that cannot be listed; the text is shimmy's."""


def discover(environ: Mapping[str, str], scanner: Scanner) -> list[DiscoveredModel]:
    """All models of all Ollama folders, in order; may raise :class:`UnreadableFolderError`."""
    models: list[DiscoveredModel] = []
    for folder in _folders(environ):
        if not rust.exists(folder):
            continue
        manifests, blobs = rust.join(folder, "manifests"), rust.join(folder, "blobs")
        if rust.exists(manifests) and rust.exists(blobs):
            _walk_manifests(manifests, blobs, models)
        models += _direct(folder, scanner)
    return models


def _folders(environ: Mapping[str, str]) -> list[str]:
    folders = []
    configured = variable(environ, "OLLAMA_MODELS")
    if configured is not None:
        folders.append(configured)
    base = variable(environ, "SHIMMY_BASE_GGUF")
    parent = rust.parent(base) if base is not None else None
    if parent is not None:
        folders.append(parent)
        if rust.file_name(parent) == "blobs" and (above := rust.parent(parent)) is not None:
            folders.append(above)
    folders += [
        rust.join(environ[name], ".ollama/models")
        for name in ("HOME", "USERPROFILE")
        if name in environ
    ]
    return folders


def _walk_manifests(folder: str, blobs: str, models: list[DiscoveredModel]) -> None:
    # Folders may be nested deeper than calls may.
    above: list[str] = []
    listings = [_listing(folder)]
    while listings:
        found = next(listings[-1], None)
        if found is None:
            listings.pop()
            del above[-1:]
            continue
        raw_name, path, is_folder = found
        name = rust.lossy(raw_name)
        # The system knows no folder whose path is too long.
        if is_folder and rust.is_dir(path):
            above.append(name)
            listings.append(_listing(path))
            continue
        # Two levels or more below the folder: the path is the name.
        shown = "/".join([*above, name]) if len(above) >= 2 else "/".join(above) + ":" + name
        for digest, size in _model_layers(path):
            blob = rust.join(blobs, "sha256-" + digest)
            if _begins_with_gguf(blob):
                models.append(DiscoveredModel(shown, blob, size, "Ollama"))


def _listing(folder: str) -> Iterator[tuple[str, str, bool]]:
    listing = entries(folder)
    if listing is None:
        raise UnreadableFolderError(f"Cannot read directory: {rust.debug(folder)}")
    return iter(listing)


def _model_layers(path: str) -> list[tuple[str, int]]:
    """(digest without prefix, size in bytes) of each model layer of a well-formed manifest."""
    from fake_shimmy.serde import jsonbody
    from fake_shimmy.serde.jsonlexer import JsonError

    try:
        with open(rust.os_path(path), "rb") as file:
            manifest: Any = jsonbody.load_strict(file.read())
    except (OSError, JsonError):
        return []
    if not isinstance(manifest, dict) or not _has_manifest_shape(manifest):
        return []
    layers = []
    for layer in manifest["layers"]:
        digest = layer["digest"]
        if layer["mediaType"] == _MODEL_LAYER and digest.startswith("sha256:"):
            layers.append((digest.removeprefix("sha256:"), layer["size"] % 2**64))
    return layers


def _has_manifest_shape(manifest: dict[str, Any]) -> bool:
    layers = manifest.get("layers")
    return (
        _is_int(manifest.get("schemaVersion"), 31)
        and isinstance(manifest.get("mediaType"), str)
        and _has_layer_shape(manifest.get("config"))
        and isinstance(layers, list)
        and all(map(_has_layer_shape, layers))
    )


def _has_layer_shape(layer: object) -> bool:
    return (
        isinstance(layer, dict)
        and isinstance(layer.get("mediaType"), str)
        and isinstance(layer.get("digest"), str)
        and _is_int(layer.get("size"), 63)
    )


def _is_int(value: object, bits: int) -> bool:
    return type(value) is int and -(2**bits) <= value < 2**bits


def _begins_with_gguf(path: str) -> bool:
    try:
        with open(rust.os_path(path), "rb") as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def _direct(folder: str, scanner: Scanner) -> list[DiscoveredModel]:
    models = []
    for name, path, is_folder in entries(folder) or ():
        if is_folder:
            plain = name if rust.is_utf8(name) else ""
            if plain not in ("manifests", "blobs") and not plain.startswith("."):
                models += _direct_below(path, 0, scanner)
        elif is_model_file(path, name) and (model := scanner.analyze(name, path)) is not None:
            model.name = f"ollama:{model.name}"
            model.model_type = "Ollama"
            models.append(model)
    return models


def _direct_below(folder: str, depth: int, scanner: Scanner) -> list[DiscoveredModel]:
    if depth >= _MAX_DEPTH:
        return []
    models = []
    for name, path, is_folder in entries(folder) or ():
        if is_folder:
            plain = name if rust.is_utf8(name) else ""
            if not plain.startswith(".") and plain not in ("tmp", "cache"):
                models += _direct_below(path, depth + 1, scanner)
        elif is_model_file(path, name) and (model := scanner.analyze(name, path)) is not None:
            # The first level has no folder of its own in the relative path.
            label = rust.file_name(folder) if depth > 0 else None
            readable = label is not None and rust.is_utf8(label)
            model.name = f"ollama:{label if readable else 'unknown'}"
            model.model_type = "Ollama"
            models.append(model)
    return models
