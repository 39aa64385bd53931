"""What a user can set: one table, from which flags, ini keys, variables and help text follow.

Precedence: flag, environment, ini, default. Unset is distinct from empty and from zero. The
table is read once per run, into a frozen `Settings`; nothing else reads options.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from .defaults import ShimmyProcessDefaults

Mode = Literal["fake", "real", "attached"]


class BadSettingError(ValueError):
    """A value that cannot be meant. The text names the setting, its source and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run, checked and with defaults filled in. Times are seconds."""

    path: str | None = None
    """Executable to run; None: the bundled fake, or `url`."""
    fake: bool = False
    """Use the bundled fake even where ini or environment say otherwise."""
    fake_version: str | None = None
    """Release that the fake imitates; None: the newest that it imitates."""
    url: str | None = None
    """Server to attach to, without ``/v1``."""
    model: str | None = None
    """Model id, or path of a model file to serve; None: the server's default."""
    models_dir: tuple[str, ...] = ()
    """Directories to search for models."""
    gpu: tuple[str, ...] = ("auto",)
    """Backends to ask for."""
    require: frozenset[str] = frozenset()
    """What a test may not be skipped for the lack of: ``real``, ``gpu``."""
    scope: str = "run"
    """``run``: one server for all xdist workers; ``worker``: one for each."""
    port: int | None = None
    """First port to try."""
    start_timeout: float | None = None
    """From spawn to healthy; None: by the kind of executable."""
    max_restarts: int = ShimmyProcessDefaults.max_restarts
    """Automatic restarts after unexpected exits."""
    args: tuple[str, ...] = ()
    """Further arguments for ``serve``."""
    env: tuple[tuple[str, str], ...] = ()
    """Further environment of the server."""
    log_dir: str | None = None
    """Where server logs are kept; None: a temporary file, kept only when a test failed."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each value that is not a default came from."""

    def but(self, **changes: Any) -> Settings:
        """A copy with `changes`, given as a test writes them: paths as `Path`, `env` as a
        mapping, one value where several are possible.

        ``path``, ``url`` and ``fake`` exclude each other: naming one drops the others.
        Raises `TypeError` for an unknown setting, `BadSettingError` for a value that cannot be
        meant.
        """
        rows = {row.name: row for row in TABLE}
        for name in changes:
            if name not in rows:
                raise TypeError(f"no setting {name!r}; there are: {', '.join(rows)}")
        values = {name: _from_python(rows[name], value) for name, value in changes.items()}
        chosen = [name for name in ("path", "url", "fake") if values.get(name)]
        if len(chosen) > 1:
            raise BadSettingError(f"{' and '.join(chosen)} contradict each other: give one of them")
        if chosen:
            values = {"path": None, "url": None, "fake": False, **values}
        return replace(self, **values)

    @property
    def mode(self) -> Mode:
        """Which kind of server these settings mean."""
        if self.url is not None:
            return "attached"
        return "fake" if self.path is None else "real"

    @property
    def model_file(self) -> str | None:
        """`model`, if it means a file."""
        return self.model if self.model is not None and _means_file(self.model) else None


class Setting(NamedTuple):
    """A row of the table."""

    name: str
    """Field of `Settings`; ``_`` is ``-`` in the flag."""
    help: str
    parse: Callable[[str], Any]
    """One value, from text. Raises `ValueError` saying what is allowed."""
    kind: Literal["one", "many", "switch"] = "one"
    """``many``: the flag may be repeated, ini has lines, the variable `separator`."""
    metavar: str | None = None
    split: Callable[[str], Sequence[str]] = str.splitlines
    """``many``: how one text holds several values."""
    collect: Callable[[list[Any]], Any] = tuple
    """``many``: the value of the field from the values of its parts."""
    is_path: Callable[[str], bool] = lambda _: False
    """Whether a text is a path; in an ini file it is relative to that file."""

    @property
    def flag(self) -> str:
        return f"--shimmy-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"shimmy_{self.name}"

    @property
    def variable(self) -> str:
        return f"PYTEST_SHIMMY_{self.name.upper()}"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a value that is not empty (to leave it unset, do not set it at all)")
    return value


def _executable(value: str) -> str:
    return str(Path(value).expanduser().absolute()) if _has_separator(_text(value)) else value


def _has_separator(value: str) -> bool:
    return os.sep in value or (os.altsep is not None and os.altsep in value)


def _directory(value: str) -> str:
    path = Path(_text(value)).expanduser().absolute()
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise ValueError(f"an existing directory ({path} {what})")
    return str(path)


def _writable_directory(value: str) -> str:
    path = Path(_text(value)).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"a directory ({path} is a file)")
    return str(path)


def _model(value: str) -> str:
    if not _means_file(_text(value)):
        return value
    path = Path(value).expanduser().absolute()
    if not path.exists():
        raise ValueError(f"a model id, or an existing model file ({path} does not exist)")
    return str(path)


def _means_file(value: str) -> bool:
    # A slash decides nothing: "org/model" is an id.
    return value.lower().endswith((".gguf", ".safetensors", ".bin")) or Path(value).is_absolute()


def _url(value: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(_text(value))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as http://127.0.0.1:11435")
    return value.rstrip("/").removesuffix("/v1")


def _port(value: str) -> int:
    if not value.strip().isdecimal() or not 1 <= int(value) <= 65535:
        raise ValueError("a port, 1 to 65535 (with port 0, shimmy never says which one it took)")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError("a number of seconds above 0")
    return seconds


def _count(value: str) -> int:
    if not value.strip().isdecimal():
        raise ValueError("a whole number, 0 or more")
    return int(value)


def _switch(value: str) -> bool:
    words = {
        **dict.fromkeys(("1", "true", "yes", "on"), True),
        **dict.fromkeys(("0", "false", "no", "off"), False),
    }
    if value.strip().lower() not in words:
        raise ValueError("one of: 1, true, yes, on, 0, false, no, off")
    return words[value.strip().lower()]


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"one of: {', '.join(allowed)}")
        return value

    return parse


def _fake_version(value: str) -> str:
    from fake_shimmy.releases import RELEASES

    return _choice(*RELEASES)(value)


def _gpu(value: str) -> str:
    from .dialect import GPU_MODES

    return _choice(*GPU_MODES)(value)


def _backends(values: list[str]) -> tuple[str, ...]:
    if not values:
        raise ValueError("at least one backend")
    return tuple(dict.fromkeys(values))


def _assignment(value: str) -> tuple[str, str]:
    name, equals, content = value.partition("=")
    if not equals or not name.strip() or "\0" in value:
        raise ValueError("NAME=value")
    return name.strip(), content


def _paths(value: str) -> list[str]:
    return value.split(os.pathsep)


def _words(value: str) -> list[str]:
    return value.replace(",", " ").split()


TABLE: tuple[Setting, ...] = (
    Setting(
        "path",
        "shimmy executable to run; a bare name is looked up on PATH "
        "(default: the bundled fake, which behaves like it)",
        _executable,
        metavar="EXECUTABLE",
        is_path=_has_separator,
    ),
    Setting(
        "fake",
        "use the bundled fake, even where ini or environment name an executable or a URL",
        _switch,
        "switch",
    ),
    Setting(
        "fake_version",
        "shimmy release that the bundled fake imitates (default: the newest it knows)",
        _fake_version,
        metavar="RELEASE",
    ),
    Setting(
        "url",
        "attach to a server that already runs, and never stop it",
        _url,
        metavar="URL",
    ),
    Setting(
        "model",
        "model that shimmy_model yields, or a model file to serve "
        "(default: the server's default model)",
        _model,
        metavar="ID|FILE",
        is_path=_means_file,
    ),
    Setting(
        "models_dir",
        "directory to search for models; may be repeated",
        _directory,
        "many",
        "DIR",
        _paths,
        is_path=bool,
    ),
    Setting(
        "gpu",
        "GPU backend to ask for: auto, cpu, cuda, vulkan, opencl, metal, mlx; repeated, the "
        "tests that use the server run once per backend (default: auto)",
        _gpu,
        "many",
        "BACKEND",
        _words,
        _backends,
    ),
    Setting(
        "require",
        "real, gpu: a test that is marked for it and does not get it fails instead of being "
        "skipped; may be repeated",
        _choice("real", "gpu"),
        "many",
        "WHAT",
        _words,
        frozenset,
    ),
    Setting(
        "scope",
        "run: one server for the whole run; worker: one per xdist worker (default: run)",
        _choice("run", "worker"),
        metavar="SCOPE",
    ),
    Setting(
        "port",
        "first port to try; the next free one is taken (default: any of "
        f"{ShimmyProcessDefaults.port_range.start}-{ShimmyProcessDefaults.port_range.stop - 1})",
        _port,
        metavar="PORT",
    ),
    Setting(
        "start_timeout",
        "seconds from spawn to healthy "
        f"(default: {ShimmyProcessDefaults.start_timeout_fake:g} for the fake, "
        f"{ShimmyProcessDefaults.start_timeout_real:g} for a real executable)",
        _seconds,
        metavar="SECONDS",
    ),
    Setting(
        "max_restarts",
        "restarts after unexpected exits of the server "
        f"(default: {ShimmyProcessDefaults.max_restarts})",
        _count,
        metavar="N",
    ),
    Setting(
        "args",
        "further arguments for 'shimmy serve', quoted as for a shell; may be repeated",
        str,
        "many",
        "ARGS",
        shlex.split,
    ),
    Setting(
        "env",
        "further environment of the server; may be repeated",
        _assignment,
        "many",
        "NAME=VALUE",
    ),
    Setting(
        "log_dir",
        "keep server logs in this directory (default: a log is kept only when a test failed)",
        _writable_directory,
        metavar="DIR",
        is_path=bool,
    ),
)


class Parser(Protocol):
    """The part of `pytest.Parser` that is used here."""

    def getgroup(self, name: str, description: str = ...) -> Any: ...
    def addini(self, name: str, help: str, type: Any = ..., default: Any = ...) -> None: ...


INI_TYPES = {"one": "string", "many": "linelist", "switch": "bool"}


def register(parser: Parser) -> None:
    """Add every row of the table to pytest's command line and ini file."""
    add_arguments(parser.getgroup("shimmy", "shimmy (LLM server)").addoption)
    for row in TABLE:
        parser.addini(row.ini, row.help, type=INI_TYPES[row.kind], default=None)


def add_arguments(add: Callable[..., Any]) -> None:
    """Add every row's flag through `add`, which takes what `argparse` takes."""
    for row in TABLE:
        how: dict[str, Any] = {"metavar": row.metavar}
        if row.kind == "many":
            how["action"] = "append"
        elif row.kind == "switch":
            how = {"action": argparse.BooleanOptionalAction}
        add(row.flag, dest=row.ini, default=None, help=row.help, **how)


def load(
    option: Callable[[str], Any],
    ini: Callable[[str], Any],
    environ: Mapping[str, str],
    ini_base: Path,
) -> Settings:
    """Read the table. `option` and `ini` look a row's ini name up; None means unset.

    Paths that come from the ini file are relative to `ini_base`.

    Raises `BadSettingError`.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for row in TABLE:
        here = Path()
        for text, source, base in (
            (option(row.ini), row.flag, here),
            (environ.get(row.variable), f"environment variable {row.variable}", here),
            (_from_ini(row, ini), f"ini option {row.ini}", ini_base),
        ):
            if text is not None:
                values[row.name] = _parse(row, text, source, base)
                sources[row.name] = source
                break
    return _settle(Settings(**values, sources=sources))


def _from_ini(row: Setting, ini: Callable[[str], Any]) -> Any:
    try:
        value = ini(row.ini)
    except (ValueError, TypeError) as error:  # TOML knows types, and pytest insists on them
        raise BadSettingError(f"ini option {row.ini}: {error}") from None
    if isinstance(value, list) and row.kind != "many":
        raise BadSettingError(f"ini option {row.ini}: {value!r} is not a single value")
    return value


def _parse(row: Setting, text: Any, source: str, base: Path) -> Any:
    if isinstance(text, bool):  # a switch's flag
        return text

    def parse(word: str) -> Any:
        is_relative = row.is_path(word) and not word.startswith("~")
        return row.parse(str(base / word) if is_relative else word)

    try:
        if row.kind != "many":
            return parse(text)
        # The flag comes as a list of texts, one for each time it was given.
        texts = text if isinstance(text, list) else [text]
        try:
            words = [word for each in texts for word in row.split(each)]
        except ValueError as error:  # unbalanced quotes
            raise ValueError(f"words as for a shell ({error})") from None
        values = [parse(word.strip()) for word in words if word.strip()]
        return row.collect(values)
    except ValueError as error:
        shown = " ".join(text) if isinstance(text, list) else text
        raise BadSettingError(f"{source}: {shown!r} is not {error}") from None


def _from_python(row: Setting, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        value = [f"{name}={content}" for name, content in value.items()]
    single = isinstance(value, str | bytes | os.PathLike | int | float)
    texts = [os.fspath(each) if isinstance(each, os.PathLike) else str(each)
             for each in ([value] if single else value)]  # fmt: skip
    try:
        if row.kind == "many":
            return row.collect([row.parse(text) for text in texts])
        return row.parse(texts[0])
    except ValueError as error:
        raise BadSettingError(f"{row.name}: {value!r} is not {error}") from None


def _settle(settings: Settings) -> Settings:
    """Decide between fake, path and URL, as the table's help texts promise."""
    sources = settings.sources
    if settings.fake:
        for name in ("path", "url"):
            if sources.get(name, "").startswith("--"):
                raise BadSettingError(
                    f"{sources['fake']} and {sources[name]} contradict each other: the first asks "
                    f"for the bundled fake, the second for another server. Drop one of them"
                    + ("." if sources["fake"].startswith("--") else ", or add --no-shimmy-fake.")
                )
        return replace(settings, path=None, url=None)
    if settings.path is not None and settings.url is not None:
        strength = ["--", "env", "ini"]
        path_rank, url_rank = (
            next(rank for rank, start in enumerate(strength) if sources[name].startswith(start))
            for name in ("path", "url")
        )
        if path_rank == url_rank:
            raise BadSettingError(
                f"{sources['path']} and {sources['url']} contradict each other: the first starts "
                "a server, the second attaches to one. Drop one of them."
            )
        if path_rank < url_rank:
            return replace(settings, url=None)
        return replace(settings, path=None)
    return settings
