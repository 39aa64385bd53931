"""Recordings in files: whole, and as what differs from another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_shimmy import ShimmyError
from pytest_shimmy.contract import recording_files
from pytest_shimmy.contract.recordings import Entry, Recording

CORS = "a: {the four CORS headers}\r\n"


def recording(release: str, **observations: str | None) -> Recording:
    """Of answers to checks; the last sign of a check's name is its digest."""
    entries = {
        f"routes: {name}": Entry(name[-1], {"seen": {"a": [text]}, "exit": 0})
        for name, text in observations.items()
        if text is not None
    }
    return Recording(release, "adapter", "linux-x86_64", ("huggingface",), entries)


def in_file(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


OLD = recording(
    "1.0.0", get_a=f"HTTP/1.1 200 OK\r\n{CORS}\r\nx", get_b=f"{CORS}b\n", get_c="c", get_d=CORS
)
TEXTS = st.none() | st.text("ab\n,", max_size=8) | st.text(max_size=8)
NAMES = ("get_a", "get_b", "get_c", "post_a")
RECORDINGS = st.fixed_dictionaries(dict.fromkeys(NAMES, TEXTS))


@pytest.mark.slow
@given(RECORDINGS, RECORDINGS)
def test_what_is_written_as_differences_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    old: dict[str, str | None],
    new: dict[str, str | None],
) -> None:
    folder = tmp_path_factory.mktemp("recorded")
    base, made = recording("1.0.0", **old), recording("2.0.0", **new)
    for one in (base, made):
        recording_files.ship(one, folder)
    assert recording_files.load(folder / "1.0.0-cpu-only.json") == base
    assert recording_files.load(folder / "2.0.0-cpu-only.json") == made
    assert in_file(folder / "2.0.0-cpu-only.json")["base"] == "1.0.0-cpu-only"


def test_bytes_that_are_not_utf8_survive_in_a_file(tmp_path: Path) -> None:
    made = recording("2.5.0", x="\udcff and ünï\r\nand more", y="\udc80")
    recording_files.save(made, tmp_path / "made.json")
    assert recording_files.load(tmp_path / "made.json") == made


def test_a_change_of_many_answers_is_told_once(tmp_path: Path) -> None:
    texts = {f"get_{name}": f"HTTP/1.1 200 OK\r\n{CORS}\r\n{name}" for name in "abcdefgh"}
    recording_files.ship(recording("1.0.0", **texts), tmp_path)
    changed = {name: text.replace(CORS, "") for name, text in texts.items()}
    made = recording("2.0.0", **{**changed, "get_h": texts["get_h"]})
    told = in_file(recording_files.ship(made, tmp_path))
    assert told["changes"] == [
        {
            "edits": [{"part": "seen", "was": CORS, "now": ""}],
            "everywhere but in": {"routes": ["get_h"]},
        }
    ]
    assert (told["checks"], told["gone"]) == ({}, {})


def test_what_is_new_is_whole_and_what_is_gone_is_named(tmp_path: Path) -> None:
    recording_files.ship(recording("1.0.0", get_a="x", get_b="y"), tmp_path)
    told = in_file(recording_files.ship(recording("2.0.0", get_a="x", get_c="1\n2\n"), tmp_path))
    assert told["gone"] == {"routes": ["get_b"]}
    assert told["checks"] == {
        "routes": {"get_c": {"digest": "c", "seen": {"a": [{"lines": ["1\n", "2\n"]}]}, "exit": 0}}
    }


def test_a_release_in_which_nothing_changed_is_an_empty_difference(tmp_path: Path) -> None:
    recording_files.ship(OLD, tmp_path)
    told = in_file(recording_files.ship(OLD._replace(release="1.0.1"), tmp_path))
    assert (told["changes"], told["checks"], told["gone"]) == ([], {}, {})


def test_a_base_that_is_recorded_again_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    newer = recording("2.0.0", get_a="x", get_b="y")
    for one in (OLD, newer):
        recording_files.ship(one, tmp_path)
    again = recording("1.0.0", get_a="another", get_b=f"{CORS}b\n", post_a="")
    recording_files.ship(again, tmp_path)
    assert recording_files.load(tmp_path / "1.0.0-cpu-only.json") == again
    assert recording_files.load(tmp_path / "2.0.0-cpu-only.json") == newer


def test_a_new_recording_is_told_by_the_one_that_is_most_like_it(tmp_path: Path) -> None:
    for one in (OLD, recording("2.0.0", get_a="quite", get_b="another", get_c="c")):
        recording_files.ship(one, tmp_path)
    made = recording_files.ship(OLD._replace(release="2.0.1"), tmp_path)
    assert in_file(made)["base"] == "1.0.0-cpu-only"


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.name for path in recording_files.SHIPPED.glob("*.json")])
def test_what_is_shipped_is_in_the_order_of_the_files(tmp_path: Path, name: str) -> None:
    path = recording_files.SHIPPED / name
    base = in_file(path).get("base")
    of = recording_files.load(path.with_name(f"{base}.json")) if base else None
    recording_files.save(recording_files.load(path), tmp_path / "again.json", of)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format":1}',
        '{"format":2,"base":"none-such"}',
        '{"format":2,"release":"1","engine":"adapter","platform":"x","features":[],"checks":[]}',
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ShimmyError, match="is not a recording that can be read here"):
        recording_files.load(path)


def test_a_circle_of_bases_is_refused(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.json").write_text(f'{{"format":2,"base":"{base}"}}', encoding="utf-8")
    with pytest.raises(ShimmyError, match="is not a recording that can be read here"):
        recording_files.load(tmp_path / "a.json")
