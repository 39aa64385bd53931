"""Settings read from rows' names, and samples of their texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fake_shimmy.releases import RELEASES
from pytest_shimmy import Settings
from pytest_shimmy.settings import BadSettingError, load
from pytest_shimmy.settings_table import TABLE

ROWS = {row.name: row for row in TABLE}

# The smallest scripts that there are, one for each sample.
SCRIPTS = [Path(__file__).with_name("scripts") / f"{name}.json" for name in ("one", "two", "three")]

# For each row three texts, and the values that they mean.
SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "path": [("one", "one"), ("two", "two"), ("three", "three")],
    "fake": [("1", True), ("no", False), ("On", True)],
    "fake_version": [
        *((release, (release,)) for release in (*RELEASES, *RELEASES)[:2]),
        (",".join(RELEASES), tuple(RELEASES)),
    ],
    "fake_build": [("default", "default"), ("cpu-only", "cpu-only"), ("cuda", "cuda")],
    "fake_script": [(str(path), str(path)) for path in SCRIPTS],
    "strict_fidelity": [("1", True), ("no", False), ("On", True)],
    "seed": [("0", 0), ("7", 7), (" 12345 ", 12345)],
    "url": [(f"http://h{n}", f"http://h{n}") for n in range(3)],
    "model": [("a", "a"), ("org/b", "org/b"), ("c:7b", "c:7b")],
    "tiny_model": [("1", True), ("no", False), ("On", True)],
    "warm_up": [("1", True), ("no", False), ("On", True)],
    "report": [(f"/tmp/{n}.html", f"/tmp/{n}.html") for n in range(3)],
    "models_dir": [("/", ("/",)), ("/tmp", ("/tmp",)), (os.devnull[:4], ("/dev",))],
    "gpu": [("cpu", ("cpu",)), ("cuda,cpu", ("cuda", "cpu")), ("mlx mlx", ("mlx",))],
    "require": [("gpu", {"gpu"}), ("real gpu", {"gpu", "real"}), ("", set())],
    "scope": [("run", "run"), ("worker", "worker"), ("run", "run")],
    "port": [("1", 1), ("65535", 65535), (" 80 ", 80)],
    "start_timeout": [("0.5", 0.5), ("7", 7.0), ("1e3", 1000.0)],
    "max_restarts": [("0", 0), ("7", 7), ("10", 10)],
    "args": [
        ("--ctx 512", ("--ctx", "512")),
        ("--a 'b c'", ("--a", "b c")),
        ("", ()),
    ],
    "env": [
        ("A=1", (("A", "1"),)),
        ("A=\nB=x=y", (("A", ""), ("B", "x=y"))),
        ("", ()),
    ],
    "api_key": [("k" * 16, "k" * 16), ("another-key-of-mine", "another-key-of-mine"), ("x", "x")],
    "record": [("/a", "/a"), ("/b", "/b"), ("/c", "/c")],
    "record_mode": [("all", "all"), ("missing", "missing"), ("failed", "failed")],
    "replay": [("/", "/"), ("/tmp", "/tmp"), (os.devnull[:4], "/dev")],
    "replay_speed": [("0", 0.0), ("1", 1.0), ("2.5", 2.5)],
    "replay_as_real": [("1", True), ("no", False), ("On", True)],
    "log_dir": [("/a", "/a"), ("/b", "/b"), ("/c", "/c")],
}


def read(
    flags: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    ini: Mapping[str, Any] | None = None,
    base: Path | None = None,
) -> Settings:
    """Settings from rows' names: flags as pytest hands them over, variables and ini as text."""
    by_ini = {ROWS[name].ini: value for name, value in (flags or {}).items()}
    environ = {ROWS[name].variable: value for name, value in (variables or {}).items()}
    in_file = {ROWS[name].ini: value for name, value in (ini or {}).items()}
    return load(by_ini.get, in_file.get, environ, base or Path.cwd())


def refusal(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(BadSettingError) as caught:
        read(*args, **kwargs)
    return str(caught.value)
