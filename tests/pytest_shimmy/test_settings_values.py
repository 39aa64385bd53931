"""Settings: what a text means, and a readable answer to an invalid one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fake_shimmy.releases import RELEASES
from pytest_shimmy.settings import BadSettingError
from pytest_shimmy.settings_table import TABLE, Setting
from tests.support.setting_samples import ROWS, read, refusal

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


@pytest.mark.slow
@hypothesis_settings(max_examples=400)
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


@given(st.integers(1, 65535))
def test_any_port_is_a_port(port: int) -> None:
    assert read(variables={"port": str(port)}).port == port


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
    assert "';', which shimmy takes as a separator" in refusal(
        {"models_dir": [str(tmp_path / "a;b")]}
    )


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


def test_a_path_is_normal_unless_a_link_makes_that_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "two" / "inner")
    monkeypatch.chdir(tmp_path)
    assert read({"models_dir": ["two/../one"]}).models_dir == (str(tmp_path / "one"),)
    beyond_link = read({"log_dir": "link/../logs"}).log_dir
    assert Path(beyond_link or "").resolve() == tmp_path.resolve() / "two" / "logs"


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
