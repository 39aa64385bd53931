"""The models of all folders that the real executable searches, merged as it merges them.

Strategy: the folders in its order, each scanned by ``scan``, then the Ollama pass, then one list in
which each path stands once. Seen on 2.5.0 CPU-only and 1.8.1.
"""

from __future__ import annotations

from fake_shimmy import rust
from fake_shimmy.models import files, ollama
from fake_shimmy.models.scan import DiscoveredModel, Scanner, parse_file_name
from fake_shimmy.rust import variable
from fake_shimmy.rust.backtrace import OWN, Panic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fake_shimmy.releases import Release

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


def search_paths(environ: Mapping[str, str], release: Release) -> list[str]:
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
    for variable_name, folders in (("HOME", _HOME_FOLDERS), ("USERPROFILE", _USERPROFILE_FOLDERS)):
        if variable_name in environ:
            above = environ[variable_name]
            searched = [folder for folder in folders if folder not in release.missing_folders]
            paths += [rust.join(above, folder) for folder in searched]
    return paths


def by_name(found: list[DiscoveredModel]) -> dict[str, DiscoveredModel]:
    """The models that can be asked for: of equal names the greatest path wins."""
    return {model.name: model for model in found}


def discover(
    environ: Mapping[str, str], warn: list[str], release: Release
) -> list[DiscoveredModel]:
    """All models, sorted by path; lines for stderr are appended to ``warn``.

    Of equal paths the scan's result wins over the Ollama pass. Very many models are a panic, and
    so is a GGUF file of another type than the release gives it.
    """
    if files.discovered is not None:
        return _made_up(files.discovered, release)
    scanner = Scanner(release)
    found: list[DiscoveredModel] = []
    for path in search_paths(environ, release):
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
        raise _violation(release, "Model discovery must return reasonable count [discovery]")
    if release.gguf_type is not None:
        # The scan knows .gguf in small letters only, and the Ollama pass has a type of its own.
        for model in distinct:
            is_gguf = rust.lossy(model.path).lower().endswith(".gguf")
            if is_gguf and model.model_type != release.gguf_type:
                text = "GGUF files must use Llama backend [backend_selection]"
                raise _violation(release, text)
    return distinct


def _made_up(paths: Mapping[str, str], release: Release) -> list[DiscoveredModel]:
    found = []
    for name, path in sorted(paths.items()):
        kind, parameters, quantization = parse_file_name(name)
        if release.gguf_type is not None and path.endswith(".gguf"):
            kind = release.gguf_type
        found.append(DiscoveredModel(name, path, files.size(path), kind, parameters, quantization))
    return found


def _violation(release: Release, text: str) -> Panic:
    return Panic(
        f"INVARIANT VIOLATION: {text}",
        f"{OWN}/src/invariant_ppt.rs:{release.invariant_at}",
        (
            "shimmy::invariant_ppt::assert_invariant",
            "shimmy::auto_discovery::ModelAutoDiscovery::discover_models",
            "shimmy::model_registry::Registry::with_discovery",
        ),
    )
