"""The models of all folders that the real executable searches, merged as it merges them.

Strategy: the folders in its order (seen on 2.5.0 CPU-only), each scanned by ``scan``, then the
Ollama pass, then one list in which each path stands once.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models import ollama
from fake_shimmy.models.scan import DiscoveredModel, Scanner
from fake_shimmy.rust import variable
from fake_shimmy.rust.backtrace import Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TOO_MANY = 10_000
_HOME_FOLDERS = (
    ".cache/huggingface/hub",
    ".ollama/models",
    ".lmstudio/models",
    ".cache/lm-studio/models",
    "models",
    ".local/share/shimmy/models",
)
# Names with backslashes are what the real one joins on Linux, too.
_USERPROFILE_FOLDERS = (
    ".cache\\huggingface\\hub",
    ".ollama\\models",
    ".lmstudio\\models",
    ".cache\\lm-studio\\models",
    "AppData\\Roaming\\LM Studio\\models",
    "models",
    "AppData\\Local\\shimmy\\models",
    "Downloads",
)


def search_paths(environ: Mapping[str, str]) -> list[str]:
    """The folders to search, in order, existing or not."""
    paths = ["./models"]
    base = variable(environ, "SHIMMY_BASE_GGUF")
    if base is not None and (parent := rust.parent(base)) is not None:
        paths.append(parent)
    custom = variable(environ, "SHIMMY_MODEL_PATHS")
    if custom is not None:
        paths += [piece for piece in custom.split(";") if piece]
    ollama = variable(environ, "OLLAMA_MODELS")
    if ollama is not None:
        paths.append(ollama)
    if "HOME" in environ:
        paths += [rust.join(environ["HOME"], folder) for folder in _HOME_FOLDERS]
    if "USERPROFILE" in environ:
        paths += [rust.join(environ["USERPROFILE"], folder) for folder in _USERPROFILE_FOLDERS]
    return paths


def by_name(found: list[DiscoveredModel]) -> dict[str, DiscoveredModel]:
    """The models that can be asked for: of equal names the greatest path wins."""
    return {model.name: model for model in found}


def discover(environ: Mapping[str, str], warn: list[str]) -> list[DiscoveredModel]:
    """All models, sorted by path; lines for stderr are appended to ``warn``.

    Of equal paths the scan's result wins over the Ollama pass. Very many models are a panic.
    """
    scanner = Scanner()
    found: list[DiscoveredModel] = []
    for path in search_paths(environ):
        if rust.is_dir(path):
            found += scanner.scan(path, 0)
    try:
        found += ollama.discover(environ, scanner)
    except ollama.UnreadableFolderError as error:
        warn.append(f"Warning: Failed to discover Ollama models: {error}")
    found.sort(key=lambda model: rust.sort_key(model.path))
    distinct: list[DiscoveredModel] = []
    previous: list[str] | None = None
    for model in found:
        parts = rust.components(model.path)
        if parts != previous:
            distinct.append(model)
        previous = parts
    if len(distinct) >= _TOO_MANY:
        raise Panic(
            "INVARIANT VIOLATION: Model discovery must return reasonable count [discovery]",
            "shimmy-2.5.0/src/invariant_ppt.rs:31:9",
            (
                "shimmy::invariant_ppt::assert_invariant",
                "shimmy::auto_discovery::ModelAutoDiscovery::discover_models",
                "shimmy::model_registry::Registry::with_discovery",
            ),
        )
    return distinct
