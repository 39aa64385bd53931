"""The table of settings: a row each, with how one value is read and what is allowed.

Flags, ini options, environment variables, help texts and the reference page follow from it; see
`settings` for how it is read.
"""

# Not "from __future__ import annotations": typing compiles each field of a NamedTuple that it gets
# as text, which would be a third of what the plugin costs every pytest run.

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from .defaults import ShimmyProcessDefaults

PREFIX = "PYTEST_SHIMMY_"
"""What the variables of all settings begin with."""


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines() if line.strip()]


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
    split: Callable[[str], Sequence[str]] = _lines
    """``many``: how one text holds several values."""
    collect: Callable[[list[Any]], Any] = tuple
    """``many``: the value of the field from the values of its parts."""
    is_path: Callable[[str], bool] = lambda _: False
    """Whether a text is a path; in an ini file it is relative to that file."""
    has_pairs: bool = False
    """``many``: texts are ``NAME=VALUE``, for which Python code may give a mapping or pairs."""

    @property
    def flag(self) -> str:
        return f"--shimmy-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"shimmy_{self.name}"

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.name.upper()}"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty (for the default, leave the setting out)")
    return value


def _absolute(value: str) -> Path:
    """The path of `value`, without ``..`` unless a link makes that another place."""
    path = Path(value).expanduser().absolute()
    if os.pardir not in path.parts:
        return path
    normal = Path(os.path.normpath(path))
    return normal if os.path.realpath(normal) == os.path.realpath(path) else path


def _executable(value: str) -> str:
    return str(_absolute(value)) if _has_separator(_text(value)) else value


def _has_separator(value: str) -> bool:
    return os.sep in value or (os.altsep is not None and os.altsep in value)


def _directory(value: str) -> str:
    path = _absolute(_text(value))
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise ValueError(f"an existing directory ({path} {what})")
    if ";" in str(path):
        raise ValueError("a directory without ';', which shimmy takes as a separator")
    return str(path)


def _writable_directory(value: str) -> str:
    path = _absolute(_text(value))
    if path.exists() and not path.is_dir():
        raise ValueError(f"a directory ({path} is a file)")
    return str(path)


def _report(value: str) -> str:
    path = _absolute(_text(value))
    if path.suffix not in (".html", ".json") or path.is_dir():
        raise ValueError("a file that ends in .html or .json")
    return str(path)


def _model(value: str) -> str:
    if not means_file(_text(value)):
        return value
    path = _absolute(value)
    if not path.exists():
        raise ValueError(f"a model id, or an existing model file ({path} does not exist)")
    return str(path)


def means_file(value: str) -> bool:
    """Whether a `model` setting is the path of a file, and not an id."""
    # A slash decides nothing: "org/model" is an id.
    return value.lower().endswith((".gguf", ".safetensors", ".bin")) or Path(value).is_absolute()


def _url(value: str) -> str:
    url = _text(value).strip()
    example = "an address such as http://127.0.0.1:11435"
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:  # the port
        raise ValueError(f"{example} ({error})") from None
    if not complete:
        raise ValueError(example)
    return url.rstrip("/").removesuffix("/v1")


def _port(value: str) -> int:
    if not value.strip().isdecimal() or not 1 <= int(value) <= 65535:
        why = " (with port 0, shimmy never says which one it took)" if value.strip() == "0" else ""
        raise ValueError(f"a port, 1 to 65535{why}")
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


def _fake_build(value: str) -> str:
    from fake_shimmy.releases import RELEASES

    return _choice(*dict.fromkeys(name for each in RELEASES.values() for name in each.builds))(
        value
    )


def _once_each(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _fake_script(value: str) -> str:
    from fake_shimmy.script import files

    path = _absolute(_text(value))
    try:
        files.load(str(path))
    except ValueError as error:
        raise ValueError(f"a script that the fake can follow ({error})") from None
    return str(path)


def _gpu(value: str) -> str:
    from .executable.dialect import GPU_MODES

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
    return [path.strip() for path in value.split(os.pathsep) if path.strip()]


def _shell_words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"words as for a shell ({error})") from None


def _serve_arguments(values: list[str]) -> tuple[str, ...]:
    if values:
        from .options import conflict

        if reason := conflict(values):
            raise ValueError(f"an addition to 'shimmy serve --bind …' ({reason})")
    return tuple(values)


def _words(value: str) -> list[str]:
    return value.replace(",", " ").split()


def _speed(value: str) -> float:
    try:
        speed = float(value)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < 1e6:
        raise ValueError("a number from 0 on: 0 is at once, 1 is as recorded, 2 is twice as fast")
    return speed


TABLE: tuple[Setting, ...] = (
    Setting(
        "path",
        "shimmy executable to run; a bare name is looked up on PATH (default: the bundled fake)",
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
        "shimmy release that the bundled fake imitates; repeated, the tests that use the server "
        "run once per release (default: the newest it knows)",
        _fake_version,
        "many",
        "RELEASE",
        _words,
        _once_each,
    ),
    Setting(
        "fake_build",
        "build of shimmy that the bundled fake imitates, such as cpu-only (default: the build that "
        "cargo makes without options)",
        _fake_build,
        metavar="BUILD",
    ),
    Setting(
        "fake_script",
        "script file (JSON or TOML) for the bundled fake; a test's own rules come first",
        _fake_script,
        metavar="FILE",
        is_path=bool,
    ),
    Setting(
        "strict_fidelity",
        "refuse scripts whose answers no shimmy gives, such as tool calls and embeddings",
        _switch,
        "switch",
    ),
    Setting(
        "seed",
        "random seed for chance and jitter in the fake's scripts (default: another number for "
        "every test; a failing test's report says which)",
        _count,
        metavar="N",
    ),
    Setting(
        "url",
        "use a server that is already running; it is never stopped",
        _url,
        metavar="URL",
    ),
    Setting(
        "record",
        "record the answers of the server (--shimmy-path, --shimmy-url) in this folder, "
        "a file per test",
        _writable_directory,
        metavar="DIR",
        is_path=bool,
    ),
    Setting(
        "record_mode",
        "what --shimmy-record writes: all: every test's answers; missing: only requests without "
        "a recording; failed: only tests that fail (default: all)",
        _choice("all", "missing", "failed"),
        metavar="MODE",
    ),
    Setting(
        "replay",
        "answer from the recordings in this folder, without a server",
        _directory,
        metavar="DIR",
        is_path=bool,
    ),
    Setting(
        "replay_speed",
        "how fast recordings are replayed: 0: at once, 1: as recorded, 2: twice as fast (default: "
        "0)",
        _speed,
        metavar="FACTOR",
    ),
    Setting(
        "replay_as_real",
        "run tests marked shimmy_real on a replay, too; it also satisfies --shimmy-require=real",
        _switch,
        "switch",
    ),
    Setting(
        "api_key",
        "API key: given to servers that are started (as SHIMMY_API_KEY, which shimmy reads from "
        "2.6.5 on), and sent to all servers; never shown",
        _text,
        metavar="KEY",
    ),
    Setting(
        "model",
        "model that shimmy_model yields, or a model file to serve "
        "(default: the server's default model)",
        _model,
        metavar="ID|FILE",
        is_path=means_file,
    ),
    Setting(
        "tiny_model",
        "generate and serve the smallest model that the executable can load on this machine, where "
        "no model file is named (default: off)",
        _switch,
        "switch",
    ),
    Setting(
        "warm_up",
        "have the run's server load its model before the first test that uses it, within "
        f"{ShimmyProcessDefaults.warm_up_timeout:g} s (default: on with a tiny model on a real "
        "executable, else off; an attached server is never asked)",
        _switch,
        "switch",
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
        "real, gpu: tests that are marked shimmy_real, shimmy_gpu and cannot run fail instead of "
        "being skipped; may be repeated",
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
        "seconds from the start to the first healthy answer "
        f"(default: {ShimmyProcessDefaults.start_timeout_fake:g} for the fake, "
        f"{ShimmyProcessDefaults.start_timeout_real:g} for a real executable)",
        _seconds,
        metavar="SECONDS",
    ),
    Setting(
        "max_restarts",
        "how often the server is restarted after unexpected exits "
        f"(default: {ShimmyProcessDefaults.max_restarts})",
        _count,
        metavar="N",
    ),
    Setting(
        "args",
        "additional arguments for 'shimmy serve', quoted as for a shell; may be repeated",
        str,
        "many",
        "ARGS",
        _shell_words,
        _serve_arguments,
    ),
    Setting(
        "env",
        "additional environment variable of the server; may be repeated",
        _assignment,
        "many",
        "NAME=VALUE",
        has_pairs=True,
    ),
    Setting(
        "log_dir",
        "keep server logs in this directory (default: a log is kept only when a test failed)",
        _writable_directory,
        metavar="DIR",
        is_path=bool,
    ),
    Setting(
        "report",
        "write a report of the run to this file: a page (.html), or its data (.json)",
        _report,
        metavar="FILE",
        is_path=bool,
    ),
)
