"""`ModelRegistry`: the models that an executable finds, and how a missing one gets there.

Strategy: shimmy alone knows where it looks, what counts as a model and what it is called, so it is
asked (``shimmy list``) and never imitated. What it prints is rounded and random in order; sizes are
made exact by a look at the files, and the order is that of ``/v1/models``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ShimmyError, ShimmyErrorCode
from ..executable import dialect
from ..executable.executable import Executable
from ..executable.identify import bundled_fake, identify
from ..process.command import Outcome, run
from ..setting_types import StrPath
from . import ensuring, listing
from .default_model import PHANTOM_MODEL, DefaultModel, default_model, named_model
from .locks import LOCK_TIMEOUT
from .refresh_server import Manager, offer
from .summary import DownloadHandler, ShimmyModelSummary

LIST_TIMEOUT = 30.0
"""Seconds. Ten thousand models take less than one; directories on a network may take many."""

LIST_LIMIT = 32 * 1024 * 1024
"""Bytes. Ten thousand models take a tenth; shimmy refuses to list more (seen on 2.5.0)."""

OWN_DIRECTORY = (".local", "share", "shimmy", "models")
"""Below HOME: where shimmy looks without being told (seen on 1.8.1 and 2.5.0)."""

_SHARD = re.compile(r"^(.+)-\d{5}-of-\d{5}(\..+)$")
_OLLAMA = "ollama:"
"""Begins the name of a file that lies among Ollama's; there, shards are models of their own."""


class ModelRegistry:
    """The models that a shimmy executable finds on this machine.

    The environment is this process's own with `env` on top (None removes a variable). Every method
    asks the executable anew, within `timeout` seconds, and raises `ShimmyError`: ``LIST_FAILED``
    when its answer is no list, or what `identify` raises. `executable` is the one that
    `shimmy_path` or `fake_version` mean, where it is known already.
    """

    def __init__(
        self,
        shimmy_path: StrPath | None = None,
        models_dir: StrPath | Sequence[StrPath] = (),
        *,
        fake_version: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: StrPath | None = None,
        timeout: float = LIST_TIMEOUT,
        executable: Executable | None = None,
    ) -> None:
        if isinstance(models_dir, str | os.PathLike):
            models_dir = (models_dir,)
        self.models_dir = tuple(os.fspath(path) for path in models_dir)
        """Directories that are searched besides those that shimmy always searches."""
        for path in self.models_dir:
            if dialect.MODEL_PATHS_SEPARATOR in path:
                raise ValueError(f"models_dir {path!r}: shimmy takes ';' as a separator")
        self._shimmy_path = None if shimmy_path is None else os.fspath(shimmy_path)
        self._fake_version = fake_version
        self._env = dict(env or {})
        self._cwd = None if cwd is None else Path(cwd)
        self._timeout = timeout
        self._executable = executable

    def __repr__(self) -> str:
        of = "the bundled fake" if self._shimmy_path is None else self._shimmy_path
        return f"<ModelRegistry of {of}, models_dir={list(self.models_dir)}>"

    @property
    def executable(self) -> Executable:
        """The executable that is asked. Raises `ShimmyError`, see `identify`."""
        if self._executable is None:
            if self._shimmy_path is None:
                self._executable = bundled_fake(self._fake_version)
            else:
                self._executable = identify(self._shimmy_path)
        return self._executable

    def list_local(self) -> list[ShimmyModelSummary]:
        """Every model once, in the order of ``GET /v1/models``."""
        entries = self._entries()
        default = self._default(entries)
        return [
            ShimmyModelSummary(
                id=name,
                is_default=default is not None and name == default.id,
                path=self._absolute(entry.path),
                size_bytes=_size(entry, self._absolute(entry.path)),
                parameters=entry.parameters,
                quantization=entry.quantization,
                source=entry.source,
                lora=entry.lora,
            )
            for name, entry in sorted(entries.items())
        ]

    def default(self) -> DefaultModel | None:
        """The model that is used when none was asked for, and why; None where there is none."""
        return self._default(self._entries())

    def find(self, model_id: str) -> ShimmyModelSummary | None:
        """The model of that id, if shimmy lists it."""
        return next((model for model in self.list_local() if model.id == model_id), None)

    def ensure_default(
        self,
        model_id: str,
        download: DownloadHandler,
        *,
        models_dir: StrPath | None = None,
        check: bool = False,
        manager: Manager | None = None,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> ShimmyModelSummary:
        """Make sure that `model_id` is there, calling `download` if it is not.

        Of many processes that ask at once, one downloads and the others wait for it, each for
        `lock_timeout` seconds at most. The handler is given a hidden directory in `models_dir`;
        what it puts there is moved into place whole, and stays only if shimmy then lists the model.

        `models_dir` is by default where shimmy expects the file, else the first directory of this
        registry, else shimmy's own, ``~/.local/share/shimmy/models``. With `check`, the model must
        also load (``shimmy probe``), before it counts as present and after it was downloaded.

        With a `manager` (`ShimmyProcessManager`) whose server runs, or could not start for want of
        models, that server is ready and offers the model in the end; it is restarted for that if
        need be, since shimmy looks for models only when it starts (seen on 1.8.1 and 2.5.0).
        A server that was not started, or was stopped, is left alone.

        Raises `ShimmyError`: ``DOWNLOAD_FAILED`` with the cause, ``LOCK_TIMEOUT``,
        ``UNSUPPORTED_ACCEL`` when this build or machine cannot load any such model; of a `manager`,
        ``MODEL_NOT_FOUND`` when its server does not search there, and what its start ends with.
        """
        target = None if models_dir is None else Path(models_dir)
        model = ensuring.ensure(self, model_id, download, target, check, lock_timeout)
        if manager is not None:
            offer(manager, model)
        return model

    # For `ensuring`

    def probe(self, model_id: str, timeout: float) -> Outcome:
        """Have the executable load a model, and drop it again."""
        return self._ask(timeout, "probe", *self._search(), "--", model_id)

    def download_directory(self, expected: Path | None) -> Path:
        """Where a model without a named path goes, given the file that is missing."""
        if expected is not None:
            return expected.parent
        if self.models_dir:
            return Path(self._cwd or Path.cwd(), self.models_dir[0])
        home = self._environment().get("HOME")
        return Path(home, *OWN_DIRECTORY) if home else Path.home().joinpath(*OWN_DIRECTORY)

    def _entries(self) -> dict[str, listing.Entry]:
        """What is listed, by name: of a registered and a discovered model of one name, shimmy
        loads the registered one (seen on 1.8.1 and 2.5.0)."""
        answer = self._ask(self._timeout, "list", *self._search())
        if answer.cut is not None or answer.exit.code != 0:
            raise _list_failed(answer, "")
        try:
            entries = listing.parse(answer.stdout.decode())
        except UnicodeDecodeError as error:
            raise _list_failed(answer, f"that is no UTF-8 ({error})") from error
        except ValueError as error:
            raise _list_failed(answer, str(error)) from error
        by_name = {entry.name: entry for entry in entries if entry.source == "discovered"}
        for entry in entries:
            if entry.source == "registered":
                by_name[entry.name] = entry._replace(lora=self._registered_lora())
                if self._is_phantom(entry):
                    del by_name[entry.name]
        return by_name

    def _is_phantom(self, entry: listing.Entry) -> bool:
        """Whether shimmy registered this model by itself."""
        if not entry.path:
            return True
        if entry.name != PHANTOM_MODEL or named_model(self.executable.version) != PHANTOM_MODEL:
            return False
        path = self._absolute(entry.path)
        return not self._environment().get("SHIMMY_BASE_GGUF") and not (path and path.exists())

    def _default(self, entries: Mapping[str, listing.Entry]) -> DefaultModel | None:
        return default_model(entries, self.executable.version, phantom_is_real=True)

    def _registered_lora(self) -> bool:
        return bool(self._environment().get("SHIMMY_LORA_GGUF"))

    def _search(self) -> list[str]:
        if not self.models_dir:
            return []
        return ["--model-dirs", dialect.MODEL_PATHS_SEPARATOR.join(self.models_dir)]

    def _absolute(self, path: str) -> Path | None:
        return Path(self._cwd or Path.cwd(), path) if path else None

    def _environment(self) -> dict[str, str]:
        merged = {**os.environ, **self._env}
        return {name: value for name, value in merged.items() if value is not None}

    def _ask(self, timeout: float, *arguments: str) -> Outcome:
        executable = self.executable
        env = {**self._environment(), **executable.env}
        command = [*executable.command, *arguments]
        try:
            return run(command, env=env, cwd=self._cwd, timeout=timeout, limit=LIST_LIMIT)
        except (OSError, ValueError) as error:
            where = f" in {self._cwd}" if self._cwd is not None else ""
            raise ShimmyError(
                ShimmyErrorCode.LIST_FAILED,
                f"{executable.name} could not be asked for its models{where}: {error}.\n"
                "Check the executable, the directories and the environment.",
                {"command": command},
            ) from error


def _size(entry: listing.Entry, path: Path | None) -> int | None:
    """To the byte where that agrees with what shimmy says."""
    measured = None if path is None else _measure(path, alone=entry.name.startswith(_OLLAMA))
    if entry.mebibytes is None:
        return measured
    if measured is not None and measured // listing.MEBIBYTE == entry.mebibytes:
        return measured
    return entry.mebibytes * listing.MEBIBYTE


def _measure(path: Path, *, alone: bool) -> int | None:
    """The size of a file, together with those that are one model with it unless it is `alone`."""
    shard = None if alone else _SHARD.match(path.name)
    try:
        if shard is None:
            return path.stat().st_size if path.is_file() else None
        others = [_SHARD.match(other.name) for other in path.parent.iterdir()]
        names = [other[0] for other in others if other and other.groups() == shard.groups()]
        return sum((path.parent / name).stat().st_size for name in names)
    except OSError:
        return None


def _list_failed(answer: Outcome, why: str) -> ShimmyError:
    told = answer.told()
    return ShimmyError(
        ShimmyErrorCode.LIST_FAILED,
        f"the executable's list of models could not be read{f': {why}' if why else ''}.\n{told}\n"
        "Run the command yourself: it names the file or directory that it cannot read on stderr.",
        answer.details(),
    )
