"""The fixture `shimmy_registry`: the models of the executable that the run uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.consumer_suite import Run

pytestmark = pytest.mark.slow

ENSURES = """
def test_same_default(shimmy_registry, shimmy_model):
    (model,) = shimmy_registry.list_local()
    assert (model.id, model.is_default) == (shimmy_model, True)

def test_ensures(shimmy_registry):
    def download(model_id, directory):
        (directory / f"{model_id}.gguf").write_bytes(b"GGUF" + bytes(20))
    assert shimmy_registry.ensure_default("fetched", download).path.exists()
    assert {model.id for model in shimmy_registry.list_local()} >= {"fetched"}
"""


@pytest.mark.parametrize("release", ["2.5.0", "1.8.1"])
def test_the_fakes_models_are_those_of_the_run_and_none_of_the_users(
    pytester: pytest.Pytester, run: Run, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = pytester.mkdir("theirs")
    (theirs / "private-model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("SHIMMY_MODEL_PATHS", str(theirs))
    monkeypatch.setenv("FAKE_SHIMMY_MODELS", "private-model")
    pytester.makepyfile(ENSURES)
    result = run(f"--shimmy-fake-version={release}")
    result.assert_outcomes(passed=2)


def test_the_fake_does_not_end_with_what_the_user_has_other_fakes_end_with(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    monkeypatch.setenv("FAKE_SHIMMY_ENDS_WITH", str(gone.pid))
    pytester.makepyfile("def test_one(shimmy_server): assert shimmy_server.models()")
    run().assert_outcomes(passed=1)


def test_a_model_that_the_settings_name_is_there(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        "def test_named(shimmy_registry):\n    assert shimmy_registry.find('llama-3-8b')\n"
    )
    run("--shimmy-model=llama-3-8b").assert_outcomes(passed=1)


@pytest.mark.shimmy_real
def test_a_real_executable_lists_what_it_serves(
    pytester: pytest.Pytester, run: Run, real_shimmy: Path, models_dir: Path
) -> None:
    pytester.makepyfile(
        """
        def test_listed(shimmy_registry, shimmy_server):
            listed = {model.id for model in shimmy_registry.list_local()}
            assert listed and listed <= set(shimmy_server.models())
        """
    )
    arguments = [f"--shimmy-path={real_shimmy}", f"--shimmy-models-dir={models_dir}"]
    run(*arguments, "--no-shimmy-warm-up").assert_outcomes(passed=1)


def test_attached_to_a_server_the_test_is_skipped_with_the_reason(
    pytester: pytest.Pytester, run: Run, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    pytester.makepyfile("def test_any(shimmy_registry): pass")
    result = run(f"--shimmy-url={fake_server[0]}", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("SKIPPED * attached to a server")
