"""``pytest-shimmy models``: what the executable finds, and fetching what is missing."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import Commands, add_command, add_settings, settings_to_start

if TYPE_CHECKING:
    from ..models.summary import DownloadHandler

LIST_EXAMPLES = """\
  pytest-shimmy models list --shimmy-path=shimmy
  pytest-shimmy models list --shimmy-models-dir=models --json
"""

ENSURE_EXAMPLES = """\
  pytest-shimmy models ensure tiny --url https://example.org/tiny.safetensors --dir models
  pytest-shimmy models ensure phi-3-mini --shimmy-path=shimmy \\
      --hub someone/phi-3-mini-GGUF --file phi-3-mini.gguf
"""

TINY_EXAMPLES = """\
  pytest-shimmy models tiny models --shimmy-path=shimmy
"""

MODEL_SUFFIXES = (".gguf", ".safetensors")

WHICH = (
    *("path", "fake", "fake_version", "fake_build", "fake_script"),
    *("model", "tiny_model", "models_dir", "gpu"),
    "env",
)
"""The settings that decide which models there are."""


def add_to(commands: Commands) -> None:
    models = add_command(
        commands,
        "models",
        "the models that the executable finds",
        "The models that the executable finds.",
        LIST_EXAMPLES + ENSURE_EXAMPLES + TINY_EXAMPLES,
    )
    actions = models.add_subparsers(metavar="ACTION", required=True)
    listing = add_command(
        actions,
        "list",
        "list them, and say which is the default and why",
        "List the models that a session would have, and say which is the default and why.",
        LIST_EXAMPLES,
    )
    listing.add_argument("--json", action="store_true", help="print JSON")
    add_settings(listing, WHICH)
    listing.set_defaults(run=run_list)
    ensure = add_command(
        actions,
        "ensure",
        "fetch a model unless it is there",
        "Make sure that the executable finds a model, and fetch it if it does not. An\n"
        "interrupted download is kept, and the next call resumes it.",
        ENSURE_EXAMPLES,
    )
    ensure.add_argument("id", metavar="ID", help="the model's id, as 'models list' prints it")
    source = ensure.add_mutually_exclusive_group()
    source.add_argument("--url", help="the file's URL; without --url and --hub, nothing is fetched")
    source.add_argument("--hub", metavar="REPO", help="the Hugging Face repository that has it")
    ensure.add_argument("--sha256", metavar="HEX", help="with --url: the file's digest")
    ensure.add_argument(
        "--file",
        metavar="NAME",
        help="with --hub: the file in it (default: the one that gives a model of that id); with "
        "--url: the name to save it under (default: the URL's)",
    )
    ensure.add_argument(
        "--dir",
        metavar="DIR",
        type=Path,
        help="where to put it (default: the first --shimmy-models-dir, or shimmy's own place)",
    )
    add_settings(ensure, ("path", "fake", "fake_version", "models_dir", "env"))
    ensure.set_defaults(run=run_ensure)
    tiny = add_command(
        actions,
        "tiny",
        "make the smallest model that the executable can serve",
        "Make the smallest model that the executable can serve on this machine, for servers that\n"
        "are started by hand. Tests have it with --shimmy-tiny-model.",
        TINY_EXAMPLES,
    )
    tiny.add_argument("dir", metavar="DIR", type=Path, help="where to put it")
    add_settings(tiny, ("path", "fake", "fake_version", "fake_build", "env"))
    tiny.set_defaults(run=run_tiny)


def run_list(chosen: argparse.Namespace) -> int:
    """Print the models. Raises `ShimmyError`."""
    from ..launch.target import Targets
    from ..supervisor.failures import GIVE_MODELS
    from .findings import summary
    from .model_preview import offered
    from .tables import shown, table

    seen = offered(Targets().of(settings_to_start(chosen)), where=not chosen.json)
    models = [summary(model) for model in seen.models]
    if chosen.json:
        print(json.dumps(models, indent=2))
        return 0
    for line in table(models):
        print(line)
    if seen.default is None:
        print("no models; shimmy looked in:" if seen.searched else "no models")
        for path in seen.searched or ():
            print(f"  {shown(str(path))}")
        print(GIVE_MODELS)
    else:
        there = "" if any(model["is_default"] for model in models) else " (which is not there)"
        print(f"default: {shown(seen.default.id)}{there}, because {seen.default.reason}")
    return 0


def run_ensure(chosen: argparse.Namespace) -> int:
    """Have a model there. Raises `ShimmyError`."""
    from ..launch.hermetic import HERMETIC
    from ..models.progress import human
    from ..models.registry import ModelRegistry
    from .tables import shown

    settings = settings_to_start(chosen)
    if chosen.sha256 and not chosen.url:
        chosen.parser.error("--sha256 goes with --url: Hugging Face checks its files itself")
    if settings.mode == "fake" and chosen.dir is None and not settings.models_dir:
        chosen.parser.error(
            "the bundled fake searches only directories that it is told of: give --dir or "
            "--shimmy-models-dir, or an executable (--shimmy-path)"
        )
    directory: Path | None = chosen.dir and chosen.dir.expanduser().absolute()
    searched = [*settings.models_dir]
    if directory is not None and str(directory) not in searched:
        searched.append(str(directory))
    with tempfile.TemporaryDirectory(prefix="pytest-shimmy-") as empty:
        # As in a session, the fake sees nothing of the person who runs it.
        is_fake = settings.mode == "fake"
        alone = {**HERMETIC, "HOME": empty} if is_fake else {}
        try:
            download = _Noted(_source(chosen))
            registry = ModelRegistry(
                settings.path,
                searched,
                fake_version=next(iter(settings.fake_version), None),
                env={**alone, **dict(settings.env)},
                cwd=empty if is_fake else None,
            )
        except ValueError as error:
            chosen.parser.error(str(error))
        model = registry.ensure_default(chosen.id, download, models_dir=directory)
    size = "" if model.size_bytes is None else f", {human(model.size_bytes)}"
    done = "fetched" if download.was_called else "there already, nothing to do"
    print(f"{shown(model.id)}: {done}\n{shown(str(model.path))}{size}")
    if directory is not None and str(directory) not in settings.models_dir:
        print(f"if a session does not find it there: --shimmy-models-dir={directory}")
    return 0


def run_tiny(chosen: argparse.Namespace) -> int:
    """Make the smallest model. Raises `ShimmyError`."""
    from ..launch.hermetic import TINY_ID
    from ..launch.target import Targets
    from ..launch.tiny_model import tiny_model
    from .tables import shown

    model = tiny_model(Targets().of(settings_to_start(chosen)).executable)
    path: Path = chosen.dir.expanduser().absolute() / f"{TINY_ID}{model.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.content)
    except OSError as error:
        chosen.parser.error(f"{path} cannot be written: {error.strerror or error}")
    print(shown(str(path)))
    how = " ".join(["serve it: serve --model-path", shown(str(path)), *model.arguments])
    print(how)
    return 0


class _Noted:
    """A download handler that knows whether it was needed."""

    def __init__(self, handler: DownloadHandler) -> None:
        self._handler = handler
        self.was_called = False

    def __call__(self, model_id: str, target: Path) -> None:
        self.was_called = True
        self._handler(model_id, target)


def _source(chosen: argparse.Namespace) -> DownloadHandler:
    """What fetches it. Raises `ValueError` for what cannot be right."""
    from ..models import downloads

    if chosen.url:
        return downloads.from_url(
            chosen.url, sha256=chosen.sha256, filename=chosen.file, progress=True
        )
    if chosen.hub:
        return _from_hub(chosen.hub, chosen.file)
    return _nowhere


def _nowhere(model_id: str, _target: Path) -> None:
    from ..errors import ShimmyError, ShimmyErrorCode

    raise ShimmyError(
        ShimmyErrorCode.MODEL_NOT_FOUND,
        f"there is no model {model_id!r}, and nothing says where to fetch it.\n"
        "Say so: --url URL, or --hub REPO. 'pytest-shimmy models list' shows what there is.",
        {"model": model_id},
    )


def _from_hub(repo: str, name: str | None) -> DownloadHandler:
    def download(model_id: str, target: Path) -> None:
        from ..models import downloads

        filename = name or _file_for(repo, model_id)
        terminal = sys.stderr.isatty()
        if not terminal:
            print(f"fetching {filename} from {repo}", file=sys.stderr, flush=True)
        downloads.from_hub(repo, filename, progress=terminal)(model_id, target)

    return download


def _file_for(repo: str, model_id: str) -> str:
    """The file in a Hugging Face repository that gives a model of that id, or its only one."""
    from ..errors import ShimmyError, ShimmyErrorCode

    hub: Any
    try:
        import huggingface_hub as hub
    except ImportError:
        return model_id  # what fetches it says what is missing
    details = {"repo": repo, "model": model_id}
    try:
        files = [
            file for file in hub.list_repo_files(repo) if file.lower().endswith(MODEL_SUFFIXES)
        ]
    except Exception as error:
        raise ShimmyError(
            ShimmyErrorCode.DOWNLOAD_FAILED,
            f"what the Hugging Face repository {repo} has could not be found out: "
            f"{type(error).__name__}: {error}\n"
            "Check its name; a private or gated one needs HF_TOKEN. Or name the file: --file NAME.",
            details,
        ) from error
    fitting = [file for file in files if _id_of(file) == model_id]
    found = fitting or files
    if len(found) == 1:
        return str(found[0])
    raise ShimmyError(
        ShimmyErrorCode.DOWNLOAD_FAILED,
        f"which file of the Hugging Face repository {repo} is meant is not clear. It has: "
        f"{', '.join(found) or 'no model'}.\nName one: --file NAME.",
        details | {"files": files},
    )


def _id_of(file: str) -> str:
    """What shimmy calls the model in a file of this name (seen on 1.8.1 and 2.5.0)."""
    return Path(file).stem.lower().replace("_", "-").replace(" ", "-")
