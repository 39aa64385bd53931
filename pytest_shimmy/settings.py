"""What a user has set: the table, read once per run into a frozen `Settings`.

Precedence: flag, environment, ini, default. An empty value or 0 counts as set. Nothing
else reads options.
"""

# Not "from __future__ import annotations": typing compiles each field of a NamedTuple that it gets
# as text, which would be a third of what the plugin costs every pytest run.

import argparse
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .defaults import RUNTIME_DIR_VARIABLE, ShimmyProcessDefaults
from .settings_table import PREFIX, TABLE, Setting, means_file

if TYPE_CHECKING:
    from typing import Unpack

    from .setting_types import GpuMode, SettingChanges

Mode = Literal["fake", "real", "attached", "replayed"]


SERVERS = ("path", "url", "fake", "replay")
"""The settings that say which server is used."""

API_KEY_VARIABLE = "SHIMMY_API_KEY"
"""What shimmy reads its key from (seen on 2.6.5)."""


class BadSettingError(ValueError):
    """An invalid value. The text names the setting, its source and what is allowed."""


class Settings(NamedTuple):
    """The settings of one run, checked and with defaults filled in. Times are seconds."""

    path: str | None = None
    """Executable to run; None: the bundled fake, or `url`."""
    fake: bool = False
    """Use the bundled fake even where ini or environment say otherwise."""
    fake_version: tuple[str, ...] = ()
    """Releases that the fake imitates; none: the newest that it imitates."""
    fake_build: str | None = None
    """Build of it; None: the default build, or the one that can use the backend asked for."""
    fake_script: str | None = None
    """Script file that the fake follows; None: it answers as the real one does."""
    strict_fidelity: bool = False
    """Refuse scripts whose answers no shimmy gives."""
    seed: int | None = None
    """Random seed for the fake's chance and jitter; None: another number for every test."""
    url: str | None = None
    """Server to attach to, without ``/v1``."""
    record: str | None = None
    """Folder that the server's answers are recorded in."""
    record_mode: Literal["all", "missing", "failed"] = "all"
    """What is written: ``all``, ``missing``, ``failed``."""
    replay: str | None = None
    """Folder of recordings that the fake answers from."""
    replay_speed: float = 0.0
    """0: at once; 1: with the recorded pauses."""
    replay_as_real: bool = False
    """Tests that need a real server may run on a replay."""
    api_key: str | None = None
    """Key that the server asks for; None: it asks for no key."""
    model: str | None = None
    """Model id, or path of a model file to serve; None: the server's default."""
    tiny_model: bool = False
    """Serve the smallest model that can be served, where no model file is named."""
    warm_up: bool | None = None
    """Have the shared server load its model before the first test; None: see `warms_up`."""
    models_dir: tuple[str, ...] = ()
    """Directories to search for models."""
    gpu: "tuple[GpuMode, ...]" = ("auto",)
    """Backends to ask for."""
    require: frozenset[Literal["real", "gpu"]] = frozenset()
    """What a test may not be skipped for the lack of: ``real``, ``gpu``."""
    scope: Literal["run", "worker"] = "run"
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
    report: str | None = None
    """File for the report of the run: a page (``.html``) or its data (``.json``)."""
    sources: Mapping[str, str] = MappingProxyType({})
    """Where each value that is not a default came from."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.shown().items())
        return f"Settings({shown})"

    def shown(self) -> dict[str, Any]:
        """The settings as a person may read them: without the values of `env` and any secret."""
        from .masking import MASKED, masked, masked_values

        values = {name: masked_values(value) for name, value in self._asdict().items()}
        env = tuple((name, MASKED) for name, _ in self.env)
        return {
            **self._asdict(),
            **{name: masked(value) for name, value in values.items() if isinstance(value, str)},
            "args": tuple(values["args"]),
            "api_key": None if self.api_key is None else MASKED,
            "env": env,
            "sources": dict(self.sources),
        }

    def but(self, **changes: "Unpack[SettingChanges]") -> "Settings":
        """A copy with `changes`, given as a test writes them: paths as `Path`, `env` as a
        mapping, one value where several are possible.

        ``path``, ``url``, ``fake`` and ``replay`` exclude each other: naming one drops the others.
        Raises `TypeError` for an unknown setting, `BadSettingError`, a `ValueError`, for an invalid
        value.
        """
        __tracebackhide__ = True
        rows = {row.name: row for row in TABLE}
        for name in changes:
            if name not in rows:
                from difflib import get_close_matches

                from .errors import UnknownArgumentError

                near = get_close_matches(name, rows, 1)
                meant = f"did you mean {near[0]}? There are" if near else "there are"
                raise UnknownArgumentError(f"no setting {name!r}; {meant}: {', '.join(rows)}")
        values = {name: _from_python(rows[name], value) for name, value in changes.items()}
        chosen = [name for name in SERVERS if values.get(name)]
        if len(chosen) > 1:
            raise BadSettingError(f"{' and '.join(chosen)} contradict each other: give one of them")
        if chosen:
            values = {"path": None, "url": None, "fake": False, "replay": None, **values}
        return _hidden(self._replace(**values))

    def server_key(self, environ: Mapping[str, str] | None = None) -> str | None:
        """The key that the server asks for: what `env` says, else `api_key`; of an attached server
        also ``SHIMMY_API_KEY`` of `environ` (default: this process's). None: it asks for none."""
        if self.mode == "replayed":
            return None
        told = dict(self.env).get(API_KEY_VARIABLE)
        if told is not None or self.api_key is not None:
            return told if told is not None else self.api_key
        environ = os.environ if environ is None else environ
        return environ.get(API_KEY_VARIABLE) or None if self.mode == "attached" else None

    @property
    def mode(self) -> Mode:
        """Which kind of server these settings mean."""
        if self.replay is not None:
            return "replayed"
        if self.url is not None:
            return "attached"
        return "fake" if self.path is None else "real"

    @property
    def warms_up(self) -> bool:
        """Whether the run's server loads its model before the first test.

        By default only the tiny model of a real executable, which always loads, while a renderer
        may take 40 s for it (seen on 2.6.5). Whether tests generate at all, and with which of the
        models of a user, only the user knows; a large one takes minutes.
        """
        if self.mode in ("attached", "replayed"):
            return False
        return self.tiny_model and self.mode == "real" if self.warm_up is None else self.warm_up

    @property
    def uses_fake(self) -> bool:
        """Whether the bundled fake answers: as itself, or from recordings."""
        return self.mode in ("fake", "replayed")

    def without_cassettes(self) -> "Settings":
        """The same without recording and replaying, for commands that run no tests."""
        return self._replace(record=None, replay=None)

    @property
    def uses_cassettes(self) -> bool:
        """Whether answers are recorded or replayed."""
        return self.record is not None or self.replay is not None

    @property
    def model_file(self) -> str | None:
        """`model`, if it means a file."""
        return self.model if self.model is not None and means_file(self.model) else None


INI_TYPES = {"one": "string", "many": "linelist", "switch": "bool"}


def register(parser: Any) -> None:
    """Add every row of the table to the command line and ini file of a `pytest.Parser`."""
    add_arguments(parser.getgroup("shimmy", "shimmy (LLM server)").addoption)
    for row in TABLE:
        parser.addini(row.ini, row.help, type=INI_TYPES[row.kind], default=None)


def add_arguments(add: Callable[..., Any], only: Collection[str] | None = None) -> None:
    """Add the flags of the settings in `only` (default: of all) through `add`, which takes what
    `argparse` takes."""
    for row in TABLE:
        if only is not None and row.name not in only:
            continue
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
    here = Path.cwd()
    for row in TABLE:
        for text, source, base in (
            (option(row.ini), row.flag, here),
            (environ.get(row.variable), f"environment variable {row.variable}", here),
            (_from_ini(row, ini), f"ini option {row.ini}", ini_base),
        ):
            if text is not None:
                values[row.name] = _parse(row, text, source, base)
                sources[row.name] = source
                break
    return _settle(_hidden(Settings(**values, sources=sources)))


def _hidden(settings: Settings) -> Settings:
    """The settings; what is secret in them is never shown from now on."""
    if settings.env or settings.url is not None or settings.api_key is not None:
        from . import masking

        masking.hide([settings.server_key()])
        masking.hide(masking.secrets_of(dict(settings.env)))
        masking.hide(masking.url_secrets(settings.url or ""))
    return settings


def ini_of(config: Any) -> Callable[[str], Any]:
    """How `load` looks ini options up in a `pytest.Config`: as ``getini`` does, and numbers of
    TOML's own (``shimmy_port = 8080`` in pytest's own table) count as the text that says them."""

    def ini(name: str) -> Any:
        try:
            return config.getini(name)
        except Exception:
            number = _toml_number(config.inipath, name)
            if number is None:
                raise
            return number

    return ini


def _toml_number(path: Path | None, name: str) -> str | list[str] | None:
    """The value of `name` in the file that pytest read, as text; None where it has no number."""
    if path is None or path.suffix != ".toml":
        return None
    import tomllib

    with open(path, "rb") as file:
        table: Any = tomllib.load(file)
    for key in ("tool", "pytest") if path.name == "pyproject.toml" else ("pytest",):
        table = table.get(key, {})
    value = table.get(name)
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in values):
        return None
    return list(map(str, values)) if isinstance(value, list) else str(value)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """What to say about each variable that looks like a setting and is none."""
    known = [*(row.variable for row in TABLE), RUNTIME_DIR_VARIABLE]
    unknown = {name for name in environ if name.startswith(PREFIX)}.difference(known)
    if not unknown:
        return []
    from difflib import get_close_matches

    texts = []
    for name in sorted(unknown):
        near = get_close_matches(name, known, 1, 0)[0]
        texts.append(f"{name} is not a setting and is ignored; did you mean {near}?")
    return texts


def may_be_unknown(word: str) -> bool:
    """Whether an argument looks like an option of ours and is none."""
    option = word.partition("=")[0]
    return option.startswith("--shimmy-") and all(row.flag != option for row in TABLE)


def unknown_option(word: str) -> str | None:
    """What to say about an option that pytest does not know; None: it does not look like ours."""
    option = word.partition("=")[0]
    if not option.startswith("--shimmy-"):
        return None
    from difflib import get_close_matches

    flags = {row.name.replace("_", "-"): row.flag for row in TABLE}
    near = get_close_matches(option.removeprefix("--shimmy-"), flags, 1)
    meant = f"did you mean {flags[near[0]]}? " if near else ""
    return f"there is no option {option}; {meant}pytest --help lists all, below 'shimmy'"


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
        words = [word for each in texts for word in row.split(each)]
        return row.collect([parse(word) for word in words])
    except (ValueError, OSError, RuntimeError) as error:
        shown = " ".join(text) if isinstance(text, list) else text
        # The last two come from the path itself: too long, no such user.
        what = f"is not {error}" if isinstance(error, ValueError) else f"cannot be used: {error}"
        raise BadSettingError(f"{source}: {shown!r} {what}") from None


def _from_python(row: Setting, value: Any) -> Any:
    __tracebackhide__ = True
    if value is None:
        return Settings._field_defaults[row.name]
    if row.kind == "switch" and isinstance(value, bool):
        return value
    try:
        if row.kind == "many":
            return row.collect([row.parse(text) for text in _texts(row, value)])
        return row.parse(_text(value))
    except (ValueError, OSError, RuntimeError) as error:
        raise BadSettingError(f"{row.name}: {value!r} is not {error}") from None


def _texts(row: Setting, value: Any) -> list[str]:
    """The texts of one value, or of several. Raises `ValueError`."""
    if row.has_pairs and isinstance(value, Mapping):
        value = value.items()
    if isinstance(value, str | bytes | os.PathLike | int | float):
        return [_text(value)]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise ValueError("a value, or a list of values")
    return [
        "=".join(map(str, each)) if row.has_pairs and isinstance(each, tuple) else _text(each)
        for each in value
    ]


def _text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a text, number or path")
    return str(value)


def _settle(settings: Settings) -> Settings:
    """Decide between fake, path, URL and replay, as the table's help texts promise."""
    settings = _settle_replay(settings)
    sources = settings.sources
    if settings.fake:
        for name in ("path", "url"):
            if sources.get(name, "").startswith("--"):
                raise BadSettingError(
                    f"{sources['fake']} and {sources[name]} contradict each other: the first asks "
                    f"for the bundled fake, the second for another server. Drop one of them"
                    + ("." if sources["fake"].startswith("--") else ", or add --no-shimmy-fake.")
                )
        return settings._replace(path=None, url=None)
    if settings.path is not None and settings.url is not None:
        path_rank, url_rank = _rank(sources["path"]), _rank(sources["url"])
        if path_rank == url_rank:
            raise BadSettingError(
                f"{sources['path']} and {sources['url']} contradict each other: the first starts "
                "a server, the second attaches to one. Drop one of them."
            )
        if path_rank < url_rank:
            return settings._replace(url=None)
        return settings._replace(path=None)
    return settings


def _settle_replay(settings: Settings) -> Settings:
    """A replay gives way to a server, or to a recording, that was asked for more strongly."""
    if settings.replay is None:
        return settings
    sources = settings.sources
    others = [name for name in ("record", "path", "url", "fake") if getattr(settings, name)]
    # The strongest of them decides.
    other = min(others, key=lambda name: _rank(sources[name]), default=None)
    if other is not None and _rank(sources[other]) <= _rank(sources["replay"]):
        if _rank(sources[other]) < _rank(sources["replay"]):
            return settings._replace(replay=None)
        what = "records answers" if other == "record" else "asks for a server"
        raise BadSettingError(
            f"{sources['replay']} and {sources[other]} contradict each other: the first answers "
            f"from recordings, the second {what}. Drop one of them."
        )
    # Whatever server they name, it is not asked.
    return settings._replace(path=None, url=None, fake=False, record=None)


def _rank(source: str) -> int:
    """How strong a source is: 0 for the command line, which wins."""
    return next(rank for rank, start in enumerate(("--", "env", "ini")) if source.startswith(start))
