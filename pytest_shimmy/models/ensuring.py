"""Have a model there: look, lock, look again, download beside its place, move, check."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..defaults import ShimmyProcessDefaults
from ..errors import ShimmyError, ShimmyErrorCode
from ..process.command import Outcome
from .locks import only_one
from .staging import Staging
from .summary import DownloadHandler, ShimmyModelSummary

PROBE_TIMEOUT = ShimmyProcessDefaults.start_timeout_real
"""Seconds that a model may take to load."""

# What `probe` says when no other file of its kind would help. Seen on 2.5.0: the first two on a
# default build without a GPU and with too small a one, the third on a CPU-only build.
_NOT_THE_FILE = (
    "No GPU adapter found",
    "storage buffer binding limit",
    "GGUF models require the Airframe GPU engine",
    # Said of a file by its name alone (seen on 2.6.5 CPU-only).
    "File is not in SafeTensors format",
)


class Models(Protocol):
    """What is asked of `ModelRegistry` here."""

    def list_local(self) -> list[ShimmyModelSummary]: ...

    def find(self, model_id: str) -> ShimmyModelSummary | None: ...

    def probe(self, model_id: str, timeout: float) -> Outcome: ...

    def download_directory(self, expected: Path | None) -> Path: ...


def ensure(
    registry: Models,
    model_id: str,
    download: DownloadHandler,
    target: Path | None,
    check: bool,
    lock_timeout: float,
) -> ShimmyModelSummary:
    """See `ModelRegistry.ensure_default`."""
    model = registry.find(model_id)
    if model is not None and _is_whole(registry, model, check):
        return model
    if target is None:
        target = registry.download_directory(None if model is None else model.path)
    target = target.absolute()
    with only_one(f"the model {model_id!r}", f"{target}\0{model_id}", lock_timeout):
        model = registry.find(model_id)  # the one that we have waited for may have brought it
        if model is not None and _is_whole(registry, model, check):
            return model
        staging = Staging(target, model_id)
        try:
            staging.prepare()
            _download(staging, model_id, download)
            return _place(registry, staging, model_id, check)
        except OSError as error:
            raise _failed(
                model_id, f"{target} cannot be written: {error}", "Choose another directory."
            ) from error
        finally:
            staging.leave()


def _download(staging: Staging, model_id: str, download: DownloadHandler) -> None:
    try:
        download(model_id, staging.path)
    except ShimmyError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise _failed(model_id, f"the download handler raised {said}", "") from error
    if not staging.contents():
        raise _failed(
            model_id,
            "the download handler returned, but has written nothing",
            "It is called with the model's id and a directory, and puts the files there.",
        )


def _place(registry: Models, staging: Staging, model_id: str, check: bool) -> ShimmyModelSummary:
    """Put what was downloaded into its place, and take it away again unless shimmy accepts it."""
    brought = staging.contents()
    try:
        staging.place()
        model = registry.find(model_id)
        if model is None:
            raise _not_listed(registry, staging.target, model_id, brought)
        if model.path is None or not model.path.exists():
            raise _failed(
                model_id,
                f"shimmy expects it at {model.path}, and the download brought "
                f"{', '.join(brought)} to {staging.target}",
                "Have the handler use that name, and give that directory as models_dir.",
            )
        if check and (answer := _load(registry, model_id)) is not None:
            raise _failed(model_id, f"what was downloaded does not load.\n{answer.told()}", "")
    except ShimmyError as error:
        if error.code is ShimmyErrorCode.UNSUPPORTED_ACCEL:
            raise  # it is the right file, on the wrong machine
        staging.take_back()
        if error.code is ShimmyErrorCode.DOWNLOAD_FAILED:
            raise
        raise _failed(
            model_id, f"shimmy stumbles over what was downloaded: {error.message}", ""
        ) from error
    except BaseException:
        staging.take_back()
        raise
    return model


def _is_whole(registry: Models, model: ShimmyModelSummary, check: bool) -> bool:
    if model.path is None or not model.path.exists():
        return False  # registered models are listed whether or not there is a file
    return not check or _load(registry, model.id) is None


def _load(registry: Models, model_id: str) -> Outcome | None:
    """None if it loads, else what `probe` answered.

    Raises `ShimmyError` when that says nothing about the file.
    """
    answer = registry.probe(model_id, PROBE_TIMEOUT)
    if answer.exit.code == 0 and answer.cut is None:
        return None
    said = answer.stderr.decode("utf-8", "replace")
    if any(reason in said for reason in _NOT_THE_FILE):
        raise ShimmyError(
            ShimmyErrorCode.UNSUPPORTED_ACCEL,
            f"the model {model_id!r} is there, but this shimmy cannot load it on this machine.\n"
            f"{answer.told()}\nUse another build, another machine, or a model of another format.",
            {"model": model_id, **answer.details()},
        )
    if answer.cut is not None:
        raise _failed(
            model_id,
            f"whether it loads could not be found out.\n{answer.told()}",
            "Try again without check=True.",
        )
    return answer


def _not_listed(registry: Models, target: Path, model_id: str, brought: list[str]) -> ShimmyError:
    here = [
        model.id
        for model in registry.list_local()
        if model.path is not None and model.path.is_relative_to(target)
    ]
    return _failed(
        model_id,
        f"shimmy does not list it after the download, which brought {', '.join(brought)} to "
        f"{target}. From there it lists: {', '.join(map(repr, here)) or 'nothing'}",
        "Its name comes from the file's: in lower case, with '-' for '_' and space, without the "
        "extension. It looks into no directory that begins with a dot or is called tmp, home, "
        "var, …, and only into those that it was told of (models_dir) or always searches.",
        {"brought": brought, "directory": str(target), "listed": here},
    )


def _failed(
    model_id: str, what: str, advice: str, details: dict[str, object] | None = None
) -> ShimmyError:
    return ShimmyError(
        ShimmyErrorCode.DOWNLOAD_FAILED,
        f"the model {model_id!r} is not available: {what}.\n{advice}".rstrip(),
        {"model": model_id, **(details or {})},
    )
