"""Settings: which kind of server they choose, and copies with changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_shimmy import Settings
from pytest_shimmy.settings import BadSettingError
from tests.support.setting_samples import ROWS, SAMPLES, read, refusal

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


# Replay

REPLAY = {"replay": "/tmp"}


@pytest.mark.parametrize(
    ("sources", "mode"),
    [
        ({"flags": REPLAY}, "replayed"),
        ({"ini": REPLAY}, "replayed"),
        ({"flags": REPLAY, "ini": {"path": "x"}}, "replayed"),
        ({"flags": REPLAY, "variables": {"url": "http://h"}, "ini": {"fake": "1"}}, "replayed"),
        ({"variables": REPLAY, "flags": {"path": "x"}}, "real"),
        ({"ini": REPLAY, "flags": {"url": "http://h"}}, "attached"),
        ({"ini": REPLAY, "flags": {"fake": True}}, "fake"),
        ({"ini": REPLAY, "flags": {"path": "x", "record": "/tmp"}}, "real"),
        ({"ini": {**REPLAY, "path": "x"}, "flags": {"record": "/tmp"}}, "real"),
    ],
)
def test_a_replay_gives_way_to_what_is_asked_for_more_strongly(
    sources: dict[str, dict[str, Any]], mode: str
) -> None:
    chosen = read(**sources)
    assert chosen.mode == mode
    assert (chosen.replay is None) == (mode != "replayed")
    assert chosen.uses_fake == (mode in ("fake", "replayed"))


@pytest.mark.parametrize(
    "sources",
    [
        {"flags": {**REPLAY, "path": "x"}},
        {"variables": {**REPLAY, "url": "http://h"}},
        {"flags": {**REPLAY, "fake": True}},
        {"flags": {**REPLAY, "record": "/tmp"}},
    ],
)
def test_a_replay_and_a_server_from_one_source_contradict_each_other(
    sources: dict[str, dict[str, Any]],
) -> None:
    assert "contradict each other: the first answers from recordings" in refusal(**sources)


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
    some = Settings(env=(("A", "1"),))
    assert some.but(env=[*some.env, ("B", "2")]).env == (("A", "1"), ("B", "2"))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ("path", "url", "fake")])
def test_none_is_the_default_again(name: str) -> None:
    (_, value), *_ = SAMPLES[name]
    settings = Settings(**{name: value})
    assert settings.but(**{name: None}) == Settings()


def test_an_unknown_setting_is_named_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match="no setting 'xyz'; there are: path, fake,"):
        Settings().but(xyz=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no setting 'ports'; did you mean port\? There are: path"):
        Settings().but(ports=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", 0), ("gpu", "gpu"), ("max_restarts", -1), ("url", "nonsense"), ("gpu", [])),
        *(("max_restarts", True), ("port", [1, 2]), ("port", object()), ("model", b"x")),
        *(("args", ["serve"]), ("args", ["--legacy", "--bind=127.0.0.1:1"])),
        *(("args", 3.5j), ("args", {"a": "b"}), ("gpu", [object()]), ("env", [1])),
    ],
)
def test_a_bad_change_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(BadSettingError, match=f"^{name}: "):
        Settings().but(**{name: value})
