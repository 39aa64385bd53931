"""Settings: one table, one precedence, and a readable answer to a value that cannot be meant."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fake_shimmy.releases import RELEASES
from pytest_shimmy import Settings, ShimmyProcessDefaults
from pytest_shimmy.settings import BadSettingError, add_arguments, load, register
from pytest_shimmy.table import TABLE, Setting

ROWS = {row.name: row for row in TABLE}

Load = Callable[..., Settings]


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

# For each row three texts, and the values that they mean.
SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "path": [("one", "one"), ("two", "two"), ("three", "three")],
    "fake": [("1", True), ("no", False), ("On", True)],
    "fake_version": [(release, release) for release in (*RELEASES, *RELEASES, *RELEASES)[:3]],
    "url": [(f"http://h{n}", f"http://h{n}") for n in range(3)],
    "model": [("a", "a"), ("org/b", "org/b"), ("c:7b", "c:7b")],
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
    "log_dir": [("/a", "/a"), ("/b", "/b"), ("/c", "/c")],
}

posix = pytest.mark.skipif(os.name != "posix", reason="the samples are POSIX paths")


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


# Values

TOO_LONG = "/" + "a" * 300


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("fake", "maybe", "1, true, yes, on, 0, false, no, off"),
        ("fake_version", "0.0.1", ", ".join(RELEASES)),
        ("url", "127.0.0.1:11435", "http://127.0.0.1:11435"),
        ("url", "ftp://x", "http://127.0.0.1:11435"),
        ("url", "http://", "http://127.0.0.1:11435"),
        ("url", "http://h:99999", "http://127.0.0.1:11435"),
        ("url", "http://h:abc", "http://127.0.0.1:11435"),
        ("url", "http://h:0", "http://127.0.0.1:11435"),
        ("path", "~no-such-user/x", "home directory"),
        ("model", "~no-such-user/x.gguf", "home directory"),
        ("model", TOO_LONG + ".gguf", "too long"),
        ("models_dir", "~no-such-user/x", "home directory"),
        ("models_dir", TOO_LONG, "too long"),
        ("model", "/no/such/model.gguf", "/no/such/model.gguf does not exist"),
        ("models_dir", "/no/such/place", "existing directory"),
        ("models_dir", __file__, "is not a directory"),
        ("gpu", "cuda gpu", "auto, cpu, cuda, vulkan, opencl, metal, mlx"),
        ("require", "cuda", "real, gpu"),
        ("scope", "session", "run, worker"),
        ("port", "0", "1 to 65535"),
        ("port", "65536", "1 to 65535"),
        ("port", "-1", "1 to 65535"),
        ("port", "8080.0", "1 to 65535"),
        ("start_timeout", "0", "above 0"),
        ("start_timeout", "-3", "above 0"),
        ("start_timeout", "soon", "above 0"),
        ("start_timeout", "nan", "above 0"),
        ("start_timeout", "inf", "above 0"),
        ("max_restarts", "-1", "0 or more"),
        ("max_restarts", "1.5", "0 or more"),
        ("args", "'", "as for a shell"),
        ("env", "A", "NAME=value"),
        ("env", "=x", "NAME=value"),
        ("log_dir", __file__, "a directory"),
        ("log_dir", "~no-such-user/x", "home directory"),
        ("log_dir", TOO_LONG, "too long"),
    ],
)
def test_a_bad_value_is_refused_with_its_source_and_what_is_allowed(
    name: str, text: str, allowed: str
) -> None:
    row = ROWS[name]
    for message, source in (
        (refusal({name: [text] if row.kind == "many" else text}), row.flag),
        (refusal(variables={name: text}), f"environment variable {row.variable}"),
        (refusal(ini={name: text}), f"ini option {row.ini}"),
    ):
        assert message.startswith(f"{source}: ")
        assert allowed in message


ANY_TEXT = st.text() | st.text(min_size=200) | st.text().map("~{}".format)
LIKELY = st.sampled_from(
    [
        *("", " ", "0", "1", "-1", "1e9", "nan", "true", "cuda", "real", "run", "a=b", "'", '"'),
        *("http://x", "http://[", "http://x:1/v1", "2.5.0", ".", "..", "/", "x.gguf", "\0", "\\"),
        *("~", "~nobody-of-this-name", "/x", ";", "http://x:0", "http://x:99999", "/" + "a" * 300),
    ]
)


@hypothesis_settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(TABLE),
    ANY_TEXT | LIKELY | st.lists(LIKELY, min_size=2, max_size=3).map(" ".join),
    st.sampled_from(["flags", "variables", "ini"]),
)
def test_any_text_is_a_value_or_a_bad_setting(row: Setting, text: str, source: str) -> None:
    given: Any = [text] if row.kind == "many" and source == "flags" else text
    with contextlib.suppress(BadSettingError):
        chosen = read(**{source: {row.name: given}})
        hash(getattr(chosen, row.name))


@hypothesis_settings(deadline=None)
@given(st.integers(1, 65535))
def test_any_port_is_a_port(port: int) -> None:
    assert read(variables={"port": str(port)}).port == port


@hypothesis_settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_words_quoted_as_for_a_shell_arrive_whole(words: list[str]) -> None:
    import shlex

    assert read({"args": [shlex.join(words)]}).args == tuple(words)


@pytest.mark.parametrize(
    "text",
    ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", " http://h:1/v1 \n"],
)
def test_an_address_is_meant_with_and_without_v1(text: str) -> None:
    assert read({"url": text}).url == "http://h:1"


def test_a_bare_name_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shimmy").touch()
    assert read({"path": "shimmy"}).path == "shimmy"
    assert read({"path": "bin/shimmy"}).path == str(tmp_path / "bin" / "shimmy")
    for sources in ({"flags": {"path": "./shimmy"}}, {"variables": {"path": "./shimmy"}}):
        assert read(**sources).path == str(tmp_path / "shimmy")


def test_a_directory_that_shimmy_would_take_for_two_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a;b").mkdir()
    assert "';' as a separator" in refusal({"models_dir": [str(tmp_path / "a;b")]})


def test_paths_are_relative_to_where_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, project = tmp_path / "here", tmp_path / "project"
    for place in (here, project):
        (place / "models").mkdir(parents=True)
        (place / "x.gguf").touch()
    monkeypatch.chdir(here)
    texts = {"path": "bin/shimmy", "model": "x.gguf", "models_dir": "models", "log_dir": "logs"}
    for place, sources in ((here, {"variables": texts}), (project, {"ini": texts})):
        chosen = read(**sources, base=project)
        assert chosen.path == str(place / "bin" / "shimmy")
        assert chosen.model == chosen.model_file == str(place / "x.gguf")
        assert chosen.models_dir == (str(place / "models"),)
        assert chosen.log_dir == str(place / "logs")


def test_home_is_home_wherever_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = read(ini={"path": "~/shimmy", "log_dir": "~/logs"}, base=Path("/elsewhere"))
    assert chosen.path == str(tmp_path / "shimmy")
    assert chosen.log_dir == str(tmp_path / "logs")


@pytest.mark.parametrize("model", ["tiny", "org/model", "llama3:8b", "registry/library/x/latest"])
def test_a_model_id_is_no_file(model: str) -> None:
    chosen = read({"model": model})
    assert (chosen.model, chosen.model_file) == (model, None)


# Fake, executable or address


def test_each_kind_of_server() -> None:
    assert read().mode == "fake"
    assert read({"fake": True}).mode == "fake"
    assert read({"path": "shimmy"}).mode == "real"
    assert read({"url": "http://h"}).mode == "attached"


@pytest.mark.parametrize(
    ("sources", "mode"),
    [
        ({"flags": {"path": "x"}, "variables": {"url": "http://h"}}, "real"),
        ({"flags": {"url": "http://h"}, "ini": {"path": "x"}}, "attached"),
        ({"variables": {"path": "x"}, "ini": {"url": "http://h"}}, "real"),
        ({"flags": {"fake": True}, "variables": {"path": "x"}, "ini": {"url": "http://h"}}, "fake"),
        ({"variables": {"fake": "1"}, "ini": {"path": "x"}}, "fake"),
        ({"ini": {"fake": "1", "path": "x"}}, "fake"),
        ({"flags": {"fake": False, "path": "x"}, "variables": {"fake": "1"}}, "real"),
    ],
)
def test_the_stronger_source_decides(sources: dict[str, dict[str, Any]], mode: str) -> None:
    chosen = read(**sources)
    assert chosen.mode == mode
    assert (chosen.path is None) == (mode != "real")
    assert (chosen.url is None) == (mode != "attached")


@pytest.mark.parametrize(
    ("sources", "named"),
    [
        ({"flags": {"path": "x", "url": "http://h"}}, ["--shimmy-path", "--shimmy-url"]),
        ({"variables": {"path": "x", "url": "http://h"}}, ["PYTEST_SHIMMY_PATH"]),
        ({"ini": {"path": "x", "url": "http://h"}}, ["shimmy_path", "shimmy_url"]),
        ({"flags": {"fake": True, "path": "x"}}, ["--shimmy-fake", "--shimmy-path"]),
        ({"flags": {"fake": True, "url": "http://h"}}, ["--shimmy-fake", "--shimmy-url"]),
        (
            {"flags": {"path": "x"}, "variables": {"fake": "1"}},
            ["PYTEST_SHIMMY_FAKE", "--shimmy-path", "--no-shimmy-fake"],
        ),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(
    sources: dict[str, dict[str, Any]], named: list[str]
) -> None:
    message = refusal(**sources)
    assert "contradict" in message
    for name in named:
        assert name in message


# but()


def test_a_copy_with_changes_leaves_the_original_alone(tmp_path: Path) -> None:
    original = Settings(path="/x/shimmy", port=1)
    changed = original.but(
        port=22435,
        models_dir=tmp_path,
        env={"A": "1", "B": ""},
        args=["--ctx", "5"],
        require="gpu",
        start_timeout=5,
        gpu=("cpu", "cuda"),
    )
    assert original == Settings(path="/x/shimmy", port=1)
    assert changed == Settings(
        path="/x/shimmy",
        port=22435,
        models_dir=(str(tmp_path),),
        env=(("A", "1"), ("B", "")),
        args=("--ctx", "5"),
        require=frozenset({"gpu"}),
        start_timeout=5.0,
        gpu=("cpu", "cuda"),
    )


@pytest.mark.parametrize("start", [Settings(path="/x"), Settings(url="http://h"), Settings()])
@pytest.mark.parametrize(
    ("change", "mode"),
    [({"path": "/y"}, "real"), ({"url": "http://i"}, "attached"), ({"fake": True}, "fake")],
)
def test_naming_one_kind_of_server_drops_the_others(
    start: Settings, change: dict[str, Any], mode: str
) -> None:
    changed = start.but(**change)
    assert changed.mode == mode
    assert (changed.path is None) == (mode != "real")
    assert (changed.url is None) == (mode != "attached")
    assert changed.fake == (mode == "fake")


def test_naming_two_kinds_of_server_is_refused() -> None:
    with pytest.raises(BadSettingError, match="path and url contradict"):
        Settings().but(path="/x", url="http://h")


def test_other_changes_keep_the_kind_of_server() -> None:
    assert Settings(path="/x").but(port=5).path == "/x"
    assert Settings(url="http://h").but(model="m").url == "http://h"
    assert Settings(path="/x").but(path=None).mode == "fake"


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("path", "url", "fake")])
def test_none_is_the_default_again(name: str) -> None:
    (_, value), *_ = SAMPLES[name]
    settings = Settings(**{name: value})
    assert settings.but(**{name: None}) == Settings()


def test_an_unknown_setting_is_named_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match="no setting 'ports'; there are: path, fake,"):
        Settings().but(ports=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 0), ("gpu", "gpu"), ("max_restarts", -1), ("url", "nonsense"), ("gpu", [])],
)
def test_a_bad_change_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadSettingError, match=f"^{name}: "):
        Settings().but(**{name: value})
