"""What following a release writes: a row beside the others, builds beside the others."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

import dev
from fake_shimmy import releases
from fake_shimmy.releases import NEWEST, RELEASES
from pytest_shimmy.contract import recording_files
from tools import adopt

OTHER = next(version for version in RELEASES if version != NEWEST)
NEXT = "99.0.0"


def evaluated(table: str) -> dict[str, releases.Release]:
    """The releases that a table's text has."""
    namespace: dict[str, object] = {}
    exec(compile(table, "releases.py", "exec"), namespace)
    found = namespace["RELEASES"]
    assert isinstance(found, dict)
    return found


def table() -> str:
    return Path(releases.__file__).read_text(encoding="utf-8")


def test_a_release_that_only_has_another_version_is_one_line() -> None:
    row = adopt.Row(NEXT, NEWEST, {})
    text = adopt.with_row(table(), row)
    added = set(text.splitlines()) - set(table().splitlines())
    assert f'{adopt.variable(NEXT)} = {adopt.variable(NEWEST)}.but("{NEXT}")' in added
    assert len(added) == 2, "the row, and the line that lists the rows"
    found = evaluated(text)
    assert list(found) == [NEXT, *RELEASES]
    for trait in releases.Release.__slots__:
        if trait not in ("version", "builds"):
            assert getattr(found[NEXT], trait) == getattr(found[NEWEST], trait)


def test_a_row_has_the_traits_of_others_where_they_were_seen() -> None:
    traits = {"exponent": "'e'", "cors": f"{adopt.variable(OTHER)}.cors"}
    found = evaluated(adopt.with_row(table(), adopt.Row(NEXT, NEWEST, traits)))
    assert found[NEXT].exponent == "e"
    assert found[NEXT].cors == found[OTHER].cors
    assert found[NEXT].tokio == found[NEWEST].tokio


def test_the_version_of_the_engine_is_read_from_the_paths_of_its_panics() -> None:
    recordings = [one for one in recording_files.shipped() if one.release == "2.6.5"]
    assert adopt.engine("2.6.5", recordings) == {}
    moved = [
        one._replace(
            entries={
                name: entry._replace(
                    observation=json.loads(
                        json.dumps(entry.observation).replace("airframe-0.4.4/", "airframe-0.4.9/")
                    )
                )
                for name, entry in one.entries.items()
            }
        )
        for one in recordings
    ]
    traits = adopt.engine("2.6.5", moved)
    assert traits == {"airframe": '_V2_6_5.airframe.but("0.4.9")'}
    engine = evaluated(adopt.with_row(table(), adopt.Row(NEXT, "2.6.5", traits)))[NEXT].airframe
    assert engine is not None
    assert (engine.version, engine.metadata_line) == ("0.4.9", 692)


def test_an_older_release_stands_among_the_others_by_age() -> None:
    found = evaluated(adopt.with_row(table(), adopt.Row("0.0.1", NEWEST, {})))
    assert list(found) == [*RELEASES, "0.0.1"]


def test_every_trait_that_another_row_has_otherwise_is_a_candidate() -> None:
    base = RELEASES[NEWEST]
    tried = list(adopt.candidates(NEWEST))
    assert {name for name, _ in tried} == {
        name
        for name in base.__slots__
        if name not in ("version", "builds", "default_build")
        and any(getattr(row, name) != getattr(base, name) for row in RELEASES.values())
    }
    for name, expression in tried:
        assert eval(expression, vars(releases)) != getattr(base, name)


@pytest.mark.parametrize("is_newest", [True, False])
def test_the_builds_of_a_release_are_made_as_those_of_the_nearest(is_newest: bool) -> None:
    text = Path(dev.__file__).read_text(encoding="utf-8")
    base = dev.SHIMMY.partition("-")[0]
    changed = adopt.with_builds(text, NEXT, base, is_newest=is_newest)
    ast.parse(changed)
    for build in adopt.BUILDS:
        line = next(line for line in text.splitlines() if line.startswith(f'    "{base}-{build}":'))
        assert line.replace(base, NEXT) in changed.splitlines()
        assert line in changed.splitlines()
    assert (f'OTHER_SHIMMYS = "{NEXT}-' in changed) == is_newest


def test_a_known_release_is_not_adopted_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert adopt.main([OTHER]) == 0
    assert capsys.readouterr().out == f"{OTHER} is imitated already\n"


def test_the_newest_is_what_cargo_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f'shimmy = "{NEWEST}"    # words\n... and 9 crates more\n'
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=said)
    )
    assert adopt.main(["newest"]) == 0


def test_an_answer_of_cargo_that_names_no_shimmy_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout='else = "1"')
    )
    with pytest.raises(ValueError, match="cargo search says"):
        adopt.newest()
