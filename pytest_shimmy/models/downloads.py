"""Ready-made download handlers: a URL, and a file of a Hugging Face repository.

A handler is called with a model id and a directory and puts the model's files there; these ignore
the id, because shimmy names a model after its file. Libraries are loaded when a download runs.
"""

from __future__ import annotations

import importlib
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

from ..errors import ShimmyError, ShimmyErrorCode
from .locks import LOCK_TIMEOUT, only_one
from .progress import ProgressListener, display
from .summary import DownloadHandler
from .transfer import Transfer, has_digest

RETRIES = 5
TIMEOUT = 30.0

_SHA256 = re.compile(r"[0-9a-f]{64}")


def from_url(
    url: str,
    *,
    sha256: str | None = None,
    filename: str | None = None,
    retries: int = RETRIES,
    timeout: float = TIMEOUT,
    progress: bool | TextIO | ProgressListener | None = None,
    cancel: threading.Event | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> DownloadHandler:
    """A handler that fetches one file over HTTP.

    `filename` is by default the last part of the URL's path. `retries` is how often it asks again
    without having gained a byte since, `timeout` the seconds in which at least something must
    arrive. `progress`: True for a bar on stderr, or lines where that is no terminal; another
    stream; or a callable that is given a `Progress` and ends the download by raising. Without it
    nothing is printed. `cancel`, when another thread sets it, ends the download, within `timeout`
    seconds where the server is silent.

    Proxies, certificates and credentials are taken from the environment, as requests does:
    ``HTTPS_PROXY``, ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``, ``~/.netrc``. Of many processes that
    fetch the same file, one does and the others wait. A file that is there (with the right digest,
    if that is known) is not fetched again. An interrupted download leaves ``NAME.part``, and the
    next call goes on from there.

    Raises `ValueError` for arguments that cannot be right; the handler raises `ShimmyError`:
    ``DOWNLOAD_FAILED`` (with ``cancelled`` in its `details` if so), ``LOCK_TIMEOUT``.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https address")
    name = unquote(parts.path.rpartition("/")[2]) if filename is None else filename
    if not name or name in (".", "..") or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(
            f"{name!r} cannot be a file's name; give filename='….gguf' (from {parts.path!r})"
        )
    wanted = None if sha256 is None else sha256.lower().removeprefix("sha256:")
    if wanted is not None and not _SHA256.fullmatch(wanted):
        raise ValueError(f"{sha256!r} is no SHA-256: 64 hexadecimal digits")
    if retries < 0 or not timeout > 0:
        raise ValueError(f"retries {retries} is negative, or timeout {timeout} is not positive")

    def download(_model_id: str, target_dir: Path) -> None:
        destination = Path(target_dir, name)
        with _alone(destination, lock_timeout):
            if destination.is_file() and (wanted is None or has_digest(destination, wanted)):
                return
            shown = display(progress)
            try:
                Transfer(
                    url,
                    destination,
                    sha256=wanted,
                    retries=retries,
                    timeout=timeout,
                    display=shown,
                    cancel=cancel or threading.Event(),
                ).run()
            finally:
                shown.close()

    return download


def from_hub(
    repo: str,
    filename: str,
    *,
    revision: str | None = None,
    progress: bool = False,
    lock_timeout: float = LOCK_TIMEOUT,
) -> DownloadHandler:
    """A handler that fetches one file of a Hugging Face repository, such as
    ``from_hub("org/name-GGUF", "name.Q4_K_M.gguf")``.

    It needs huggingface-hub, and honours what that does: ``HF_TOKEN``, ``HF_ENDPOINT``,
    ``HF_HUB_OFFLINE``. Interrupted downloads are resumed.

    The handler raises `ShimmyError`: ``CLIENT_MISSING``, ``DOWNLOAD_FAILED``, ``LOCK_TIMEOUT``.
    """

    def download(_model_id: str, target_dir: Path) -> None:
        hub = _hub()
        destination = Path(target_dir, filename)
        with _alone(destination, lock_timeout):
            if destination.is_file():
                return
            try:
                with _bars(progress):
                    hub.hf_hub_download(
                        repo_id=repo, filename=filename, revision=revision, local_dir=target_dir
                    )
            except Exception as error:
                _tidy(target_dir)
                raise ShimmyError(
                    ShimmyErrorCode.DOWNLOAD_FAILED,
                    f"{filename} could not be fetched from the Hugging Face repository {repo}"
                    f"{f' at {revision}' if revision else ''}: {type(error).__name__}: {error}\n"
                    "Check the names; a private or gated repository needs HF_TOKEN.",
                    {"repo": repo, "filename": filename, "revision": revision},
                ) from error
            _tidy(target_dir)

    return download


@contextmanager
def _alone(destination: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a file, in its directory, which is made when missing."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        key = str(destination.resolve())
    except OSError as error:
        raise ShimmyError(
            ShimmyErrorCode.DOWNLOAD_FAILED,
            f"there is no place for {destination}: {error}.\nChoose another directory.",
            {"path": str(destination)},
        ) from error
    with only_one(f"the file {key}", key, timeout):
        yield


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ShimmyError(
            ShimmyErrorCode.CLIENT_MISSING,
            f"huggingface-hub, which fetches from Hugging Face, cannot be imported: {error}.\n"
            "Install it: pip install 'pytest-shimmy[hub]'",
        ) from error


def _tidy(target_dir: Path) -> None:
    """Remove what huggingface-hub notes beside its files, unless a download can be resumed.

    shimmy does look into directories called ``.cache`` (seen on 2.5.0).
    """
    cache = Path(target_dir, ".cache")
    if not any(cache.rglob("*.incomplete")):
        shutil.rmtree(cache / "huggingface", ignore_errors=True)
        with suppress(OSError):  # another process may use it too
            cache.rmdir()


@contextmanager
def _bars(wanted: bool) -> Iterator[None]:
    """Its progress bars, which are on unless they are switched off."""
    switch = importlib.import_module("huggingface_hub.utils")
    if wanted or switch.are_progress_bars_disabled():
        yield
        return
    switch.disable_progress_bars()
    try:
        yield
    finally:
        switch.enable_progress_bars()
