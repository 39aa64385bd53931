"""Settings: one table, and one precedence of the sources that set them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import Settings, ShimmyProcessDefaults
from pytest_shimmy.settings import add_arguments, load, register
from pytest_shimmy.settings_table import TABLE, Setting
from tests.support.setting_samples import ROWS, SAMPLES, read, refusal

posix = pytest.mark.skipif(os.name != "posix", reason="the samples are POSIX paths")


# The table


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_has_all_four_names_and_a_help_text(row: Setting) -> None:
    assert row.flag == f"--shimmy-{row.name.replace('_', '-')}"
    assert row.ini == f"shimmy_{row.name}"
    assert row.variable == f"PYTEST_SHIMMY_{row.name.upper()}"
    assert len(row.help) > 20
    assert not row.help.endswith(".")
    assert (row.metavar is not None) == (row.kind != "switch")


def test_the_table_and_the_record_have_the_same_names_in_the_same_order() -> None:
    assert [row.name for row in TABLE] == [name for name in Settings._fields if name != "sources"]


def test_every_row_is_on_the_command_line_and_in_the_ini_file() -> None:
    class Parser:
        def __init__(self) -> None:
            self.flags: dict[str, dict[str, Any]] = {}
            self.keys: dict[str, str] = {}

        def getgroup(self, *_: str) -> Parser:
            return self

        def addoption(self, flag: str, **how: Any) -> None:
            self.flags[flag] = how

        def addini(self, name: str, help: str, default: Any = None, **_: Any) -> None:
            assert default is None
            self.keys[name] = help

    parser = Parser()
    register(parser)
    assert list(parser.flags) == [row.flag for row in TABLE]
    assert parser.keys == {row.ini: row.help for row in TABLE}
    for row in TABLE:
        how = parser.flags[row.flag]
        assert (how["dest"], how["default"], how["help"]) == (row.ini, None, row.help)


def test_flags_work_with_plain_argparse_too() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser.add_argument)
    parsed = vars(
        parser.parse_args(
            ["--shimmy-port=1", "--shimmy-gpu=cpu", "--shimmy-gpu=cuda", "--no-shimmy-fake"]
        )
    )
    assert parsed["shimmy_port"] == "1"
    assert parsed["shimmy_gpu"] == ["cpu", "cuda"]
    assert parsed["shimmy_fake"] is False
    assert parsed["shimmy_path"] is None
    chosen = load(parsed.get, {}.get, {}, Path.cwd())
    assert (chosen.port, chosen.gpu, chosen.fake) == (1, ("cpu", "cuda"), False)


def test_nothing_set_means_the_defaults() -> None:
    chosen = read()
    assert chosen == Settings()
    assert chosen.mode == "fake"
    assert chosen.gpu == ("auto",)
    assert chosen.max_restarts == ShimmyProcessDefaults.max_restarts
    assert not chosen.sources


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]


# Precedence: flag, environment, ini, default


def test_there_is_a_sample_for_every_row() -> None:
    assert SAMPLES.keys() == ROWS.keys()


@posix
@pytest.mark.parametrize("name", ROWS)
def test_a_flag_beats_the_environment_and_that_the_ini_file(name: str) -> None:
    row = ROWS[name]
    (flag, by_flag), (variable, by_variable), (text, by_ini) = SAMPLES[name]
    given: Any = {"one": flag, "many": [flag], "switch": by_flag}[row.kind]
    flags, variables, ini = {name: given}, {name: variable}, {name: text}
    in_environment, in_file = f"environment variable {row.variable}", f"ini option {row.ini}"
    for chosen, expected, source in (
        (read(flags, variables, ini), by_flag, row.flag),
        (read(None, variables, ini), by_variable, in_environment),
        (read(None, None, ini), by_ini, in_file),
    ):
        assert getattr(chosen, name) == expected
        assert chosen.sources == {name: source}
    assert getattr(read(), name) == getattr(Settings(), name)


@posix
def test_a_repeated_flag_collects_and_does_not_add_to_what_it_beats() -> None:
    chosen = read(
        {"args": ["--a b", "c"], "models_dir": ["/", "/tmp"], "env": ["A=1", "B=2"]},
        {"args": "x", "models_dir": "/dev"},
    )
    assert chosen.args == ("--a", "b", "c")
    assert chosen.models_dir == ("/", "/tmp")
    assert chosen.env == (("A", "1"), ("B", "2"))


@posix
def test_lines_of_an_ini_file_are_several_values() -> None:
    chosen = read(ini={"models_dir": ["/", "/tmp"], "env": ["A=1", "B=2"], "gpu": ["cpu", "cuda"]})
    assert chosen.models_dir == ("/", "/tmp")
    assert chosen.env == (("A", "1"), ("B", "2"))
    assert chosen.gpu == ("cpu", "cuda")


@posix
def test_a_variable_holds_several_directories_as_path_does() -> None:
    assert read(variables={"models_dir": "/:/tmp"}).models_dir == ("/", "/tmp")


@pytest.mark.parametrize(
    "name",
    [name for name, row in ROWS.items() if row.kind != "many"] + ["gpu"],
)
def test_empty_is_not_unset(name: str) -> None:
    assert ROWS[name].variable in refusal(variables={name: ""})


def test_zero_is_not_unset() -> None:
    assert read(variables={"max_restarts": "0"}).max_restarts == 0
    assert read(variables={"fake": "0"}, ini={"fake": "1"}).fake is False


def test_an_empty_list_is_not_unset() -> None:
    assert read(variables={"args": ""}, ini={"args": "--ctx 5"}).args == ()
