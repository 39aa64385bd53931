"""The environments of the client programs: there whole or not at all, and honest when missing."""

from __future__ import annotations

import subprocess

import pytest

from tests.clients import environments
from tests.clients.conftest import demand


class Stub(environments.Environment):
    """An environment of one file, whose installation can go wrong."""

    def __init__(self, folder, error=None, reachable=True):
        requirements = folder / "stub.txt"
        requirements.write_text("stub>=1\n")
        super().__init__("stub", requirements, "python3")
        self.error = error
        self.answers = reachable

    def command(self, program):
        return [str(program)]

    def install(self, target):
        target.mkdir()
        (target / "half").touch()
        if self.error is not None:
            raise self.error
        (target / "whole").touch()

    def reachable(self):
        return self.answers


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


BROKEN = subprocess.CalledProcessError(1, ["pip"])


def test_an_environment_is_made_once(tmp_path, cache):
    environment = Stub(tmp_path)
    environments.make(environment)
    place = environments.directory(environment)
    assert sorted(path.name for path in place.iterdir()) == ["half", "whole"]
    environments.make(Stub(tmp_path, error=BROKEN))
    assert list(cache.iterdir()) == [place]


def test_other_requirements_or_another_interpreter_are_another_environment(tmp_path):
    environment = Stub(tmp_path)
    before = environments.directory(environment)
    environment.interpreter = "python4"
    other = environments.directory(environment)
    environment.requirements.write_text("stub>=2\n")
    assert len({before, other, environments.directory(environment)}) == 3


@pytest.mark.parametrize(
    ("reachable", "error"),
    [(True, subprocess.CalledProcessError), (False, environments.CannotMakeError)],
)
def test_a_failed_installation_leaves_nothing_behind(tmp_path, cache, reachable, error):
    with pytest.raises(error):
        environments.make(Stub(tmp_path, BROKEN, reachable))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("reachable", "required"), [(True, "stub"), (False, "")])
def test_only_an_environment_out_of_reach_is_excused(
    tmp_path, cache, monkeypatch, reachable, required
):
    monkeypatch.setattr(environments, "ENVIRONMENTS", [Stub(tmp_path, BROKEN, reachable)])
    assert environments.required(environments.make_all()) == required


def test_without_its_environment_a_test_is_skipped_and_tells_how_to_make_it(tmp_path, cache):
    with pytest.raises(pytest.skip.Exception, match=r"python3 dev\.py clients"):
        demand(Stub(tmp_path))


def test_without_an_environment_that_is_required_a_test_fails(tmp_path, cache, monkeypatch):
    monkeypatch.setenv(environments.REQUIRED, "other,stub")
    with pytest.raises(pytest.fail.Exception, match="stub"):
        demand(Stub(tmp_path))
