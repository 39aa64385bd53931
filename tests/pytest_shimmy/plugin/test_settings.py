"""Settings as a consumer's pytest run sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.consumer_suite import ASK, Run

pytestmark = pytest.mark.slow

# Settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shimmy-path=/no/such/shimmy"], "*--shimmy-path: *BINARY_NOT_FOUND*/no/such/shimmy*"),
        (["--shimmy-path=no-such-shimmy"], "*--shimmy-path: *no executable*on PATH*"),
        (["--shimmy-path=."], "*--shimmy-path*"),
        (["--shimmy-path=/"], "*--shimmy-path: *BINARY_NOT_EXECUTABLE*is a directory*"),
        (["--shimmy-path=/etc/passwd"], "*--shimmy-path: *is not executable*"),
        (["--shimmy-path=/bin/true"], "*--shimmy-path: *BINARY_NOT_SHIMMY*"),
        (["--shimmy-path="], "*--shimmy-path: '' is not a text that is not empty*"),
        (["--shimmy-models-dir=/no/models"], "*--shimmy-models-dir*does not exist*"),
        (["--shimmy-model=/no/model.gguf"], "*--shimmy-model*does not exist*"),
        (["--shimmy-port=0"], "*--shimmy-port: '0' is not a port, 1 to 65535*"),
        (["--shimmy-port=65536"], "*--shimmy-port: '65536' is not a port, 1 to 65535*"),
        (["--shimmy-start-timeout=0"], "*--shimmy-start-timeout*seconds above 0*"),
        (["--shimmy-max-restarts=-1"], "*--shimmy-max-restarts*0 or more*"),
        (["--shimmy-scope=test"], "*--shimmy-scope: 'test' is not one of: run, worker*"),
        (["--shimmy-gpu=gpu"], "*--shimmy-gpu: 'gpu' is not one of: auto, cpu, cuda*"),
        (["--shimmy-fake-version=0.1"], "*--shimmy-fake-version: '0.1' is not one of: *2.5.0*"),
        (["--shimmy-env=NAME"], "*--shimmy-env: 'NAME' is not NAME=value*"),
        (["--shimmy-args='"], "*--shimmy-args*words as for a shell*"),
        (["--shimmy-fake", "--shimmy-url=http://127.0.0.1:1"], "*contradict each other*"),
        (["--shimmy-fake", "--shimmy-path=/bin/true"], "*contradict each other*"),
        (["--shimmy-url=http://127.0.0.1:1", "--shimmy-path=x"], "*contradict each other*"),
        (["--shimmy-url=localhost:11435"], "*--shimmy-url*http://127.0.0.1:11435*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_value_is_a_usage_error_that_names_the_setting(
    pytester: pytest.Pytester, run: Run, arguments: list[str], message: str
) -> None:
    pytester.makepyfile(ASK)
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(message)
    result.stderr.no_fnmatch_line("*Traceback*")


def test_a_misspelt_option_is_told_the_nearest_and_a_suite_may_have_options_of_its_own(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makeconftest(
        "def pytest_addoption(parser):\n    parser.addoption('--shimmy-paths', default='none')"
    )
    pytester.makepyfile(
        "def test_option(pytestconfig):\n    assert pytestconfig.getoption('--shimmy-paths') == 'x'"
    )
    run("--shimmy-paths=x").assert_outcomes(passed=1)
    result = run("--shimmy-paths=x", "--shimmy-pth=/opt/shimmy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines[0].startswith(
        "ERROR: there is no option --shimmy-pth; did you mean --shimmy-path? pytest --help"
    )
    result = run("--shimmy-nothing-like")
    assert result.errlines[0].startswith("ERROR: there is no option --shimmy-nothing-like; pytest")


@pytest.mark.parametrize("way", ["argument", "PYTEST_ADDOPTS"])
def test_a_path_that_leads_pytest_away_from_its_configuration_is_a_usage_error(
    pytester: pytest.Pytester,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    pytester.makepyfile(ASK)
    pytester.makeini("[pytest]\nxfail_strict = true")
    arguments = ["--shimmy-log-dir", str(tmp_path)]
    if way == "PYTEST_ADDOPTS":
        monkeypatch.setenv(way, " ".join(arguments))
        arguments = []
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --shimmy-log-dir {tmp_path}: pytest took this path *", f"Write *-dir={tmp_path}"]
    )


@pytest.mark.parametrize("arguments", [(), ("test_it.py",)], ids=["none", "tests"])
def test_a_path_that_leads_nowhere_else_may_be_an_argument_by_itself(
    pytester: pytest.Pytester, run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_it="def test_nothing(): pass")
    pytester.makeini("[pytest]\nxfail_strict = true")
    inside = pytester.mkdir("logs")
    where = tmp_path if arguments else inside
    result = run("--shimmy-log-dir", str(where), *arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("configfile: tox.ini")


def test_a_bad_value_names_the_variable_or_ini_option_it_came_from(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nshimmy_port = zero")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*ini option shimmy_port: 'zero' is not a port*")
    monkeypatch.setenv("PYTEST_SHIMMY_PORT", "many")
    result = run()
    result.stderr.fnmatch_lines("*environment variable PYTEST_SHIMMY_PORT: 'many' is not a port*")


def test_ini_options_may_be_typed_toml(pytester: pytest.Pytester, run: Run) -> None:
    (pytester.path / "models").mkdir()
    (pytester.path / "models" / "a.gguf").write_bytes(b"GGUF")
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        shimmy_fake = true
        shimmy_path = "/no/such/shimmy"
        shimmy_models_dir = ["models"]
        shimmy_max_restarts = "0"
        """
    )
    pytester.makepyfile(
        """
        def test_settings(shimmy_settings, shimmy_server):
            assert shimmy_settings.max_restarts == 0
            assert shimmy_server.mode == "fake"
            assert shimmy_server.models() == ["a"]
        """
    )
    run().assert_outcomes(passed=1)


def test_help_lists_every_setting_and_works_with_a_broken_path(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_PATH", "/no/such/shimmy")
    result = run("--help")
    assert result.ret == 0
    from pytest_shimmy.settings_table import TABLE

    for row in TABLE:
        result.stdout.fnmatch_lines(f"*{row.flag}*")


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(
    pytester: pytest.Pytester, run: Run, models_dir: Path
) -> None:
    pytester.makepyfile(ASK)
    result = run("--shimmy-model=no-such", f"--shimmy-models-dir={models_dir}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*[[]MODEL_NOT_FOUND[]] the server has no model 'no-such'*'tiny'*")
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("name", ["llama-3.2-3b", "Upper.Case_7B"])
def test_the_fake_serves_whatever_model_name_the_suite_asks_for(
    pytester: pytest.Pytester, run: Run, name: str
) -> None:
    pytester.makepyfile(
        ASK
        + f"""
def test_name(shimmy_model, shimmy_server):
    assert shimmy_model == {name!r}
    assert shimmy_server.models() == [{name!r}]
"""
    )
    run(f"--shimmy-model={name}").assert_outcomes(passed=2)


def test_the_fake_shows_nothing_of_the_models_of_whoever_runs_it(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for directory in (tmp_path / "home" / "models", pytester.path / "models"):
        directory.mkdir(parents=True)
        (directory / "private.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIMMY_BASE_GGUF", str(tmp_path / "home" / "models" / "private.gguf"))
    pytester.makepyfile(
        """
        def test_models(shimmy_server):
            assert shimmy_server.models() == ["placeholder"]
        """
    )
    run().assert_outcomes(passed=1)
