"""The settings that pytest would have in this folder: flags, variables, and its ini file.

Strategy: pytest itself finds and reads the file, with no plugin but ours and no ``conftest.py``,
so that nothing of the project runs. ``addopts`` is read like flags, which go before it.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import settings

_FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
_BARE = (
    *("-p", "pytest_shimmy.plugin", "-p", "no:cacheprovider", "--noconftest", "--capture=no"),
    *("--assert=plain", "--override-ini=required_plugins="),
)


class Project(NamedTuple):
    """What is set for the present folder."""

    settings: settings.Settings
    config_file: Path | None
    """The one that pytest reads: ``pytest.ini``, ``pyproject.toml``, ``tox.ini``, …"""


def load(chosen: argparse.Namespace) -> Project:
    """Read everything. `chosen` has the flags, by the settings' ini names.

    Raises `settings.BadSettingError`, also for a file that pytest cannot read.
    """
    import pytest
    from _pytest.config import get_config  # public in all but name: pytest.main begins with it

    from_variable = _split(os.environ.get("PYTEST_ADDOPTS", ""), "PYTEST_ADDOPTS")
    where, from_variable = _places().parse_known_args(from_variable)
    args = [*_BARE, *(f"{name}={value}" for name, value in _given(where))]
    with _bare_environment():
        config = get_config(args)
        try:
            config.parse(args, addopts=False)
            extra = _flags(list(config.getini("addopts")) + from_variable)
            base = config.inipath.parent if config.inipath is not None else config.rootpath

            def option(name: str) -> object:
                value = getattr(chosen, name, None)
                return getattr(extra, name) if value is None else value

            loaded = settings.load(option, settings.ini_of(config), os.environ, base)
        except (pytest.UsageError, ValueError, OSError) as error:
            if isinstance(error, settings.BadSettingError):
                raise
            raise settings.BadSettingError(f"pytest cannot be configured: {error}") from error
        finally:
            config._ensure_unconfigure()
    sources = {
        name: f"{source} in addopts"
        if source.startswith("--") and getattr(chosen, f"shimmy_{name}", None) is None
        else source
        for name, source in loaded.sources.items()
    }
    return Project(loaded.without_cassettes()._replace(sources=sources), config.inipath)


def _flags(words: Sequence[str]) -> argparse.Namespace:
    """Our flags among `words`; the others are other plugins'."""
    parser = _Quiet(add_help=False, allow_abbrev=False)
    settings.add_arguments(parser.add_argument)
    return parser.parse_known_args(words)[0]


def _places() -> argparse.ArgumentParser:
    """The flags with which ``PYTEST_ADDOPTS`` may say which file is read."""
    parser = _Quiet(add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config-file")
    parser.add_argument("--rootdir")
    parser.add_argument("-o", "--override-ini", action="append")
    return parser


class _Quiet(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise settings.BadSettingError(f"addopts: {message}")


def _given(where: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for name, value in vars(where).items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield f"--{name.replace('_', '-')}", each


def _split(text: str, source: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise settings.BadSettingError(
            f"{source}: {text!r} cannot be split into words: {error}"
        ) from None


@contextmanager
def _bare_environment() -> Iterator[None]:
    kept = dict(os.environ)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in _FOREIGN:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
