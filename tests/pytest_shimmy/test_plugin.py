"""The plugin as a consumer's pytest run sees it: options, header, markers, reports, summary."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHAT = """
def test_chat(shimmy_openai_client, shimmy_model):
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "Capital of France?"}])
    assert answer.choices[0].message.content
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def real_arguments(real_shimmy: Path, models_dir: Path) -> list[str]:
    return [f"--shimmy-path={real_shimmy}", f"--shimmy-models-dir={models_dir}"]


# The main job


def test_a_test_file_runs_against_the_bundled_fake_without_any_setting(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(CHAT)
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "shimmy: bundled fake of shimmy *, gpu auto, one server per run",
            "shimmy: 1 test used a server: 1 on the fake, 0 on a real executable, "
            "0 on an attached server",
        ]
    )


@pytest.mark.shimmy_real
def test_the_same_file_runs_against_the_real_executable(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str], real_shimmy: Path
) -> None:
    pytester.makepyfile(CHAT)
    result = run(*real_arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            f"shimmy: {real_shimmy} (2.5.0, real), gpu auto, one server per run",
            "shimmy: 1 test used a server: 0 on the fake, 1 on a real executable, *",
        ]
    )


@pytest.mark.shimmy_real
def test_four_workers_run_against_one_real_server(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import pathlib, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_pid(shimmy_server, n):
            assert shimmy_server.health()["service"] == "shimmy"
            with open("pids", "a") as pids:
                pids.write(f"{shimmy_server.pid}\\n")
        """
    )
    run(*real_arguments, "-n", "4").assert_outcomes(passed=8)
    pids = (pytester.path / "pids").read_text().split()
    assert len(pids) == 8
    assert len(set(pids)) == 1


def test_attaches_to_a_running_server_and_does_not_stop_it(
    pytester: pytest.Pytester, run: Run, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = fake_server
    pytester.makepyfile(
        CHAT
        + """
def test_attached(shimmy_server):
    assert shimmy_server.mode == "attached"
    assert (shimmy_server.pid, shimmy_server.log_path, shimmy_server.logs) == (None, None, "")
"""
    )
    for address in (url, f"{url}/v1", f"{url}/"):
        result = run(f"--shimmy-url={address}")
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(f"shimmy: attached to {url} (2.5.0), never stopped by us")
    assert process.poll() is None


def test_attaching_works_with_workers(
    pytester: pytest.Pytester, run: Run, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = fake_server
    pytester.makepyfile(CHAT)
    run(f"--shimmy-url={url}", "-n", "2").assert_outcomes(passed=1)
    assert process.poll() is None


def test_a_run_that_asks_for_no_server_starts_no_process_and_loads_nothing_heavy(
    pytester: pytest.Pytester, run: Run, runtime_dir: Path
) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_nothing():
            heavy = {"openai", "requests", "filelock", "subprocess_", "pytest_shimmy.harness",
                     "pytest_shimmy.sharing", "pytest_shimmy.manager", "fake_shimmy.serving.server"}
            assert not heavy & set(sys.modules)
        """
    )
    result = run("-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*used a server*")
    assert not runtime_dir.exists()


def test_without_xdist_the_plugin_works(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(CHAT)
    run("-p", "no:xdist").assert_outcomes(passed=1)


def test_pytest_inside_a_pytest_test_has_a_server_of_its_own(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makeconftest("pytest_plugins = ['pytester']")
    pytester.makepyfile(
        """
        def test_outer(shimmy_server, pytester):
            pytester.makepyfile(f'''
                def test_inner(shimmy_server):
                    assert shimmy_server.port != {shimmy_server.port}
            ''')
            pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
            assert shimmy_server.health()
        """
    )
    run().assert_outcomes(passed=1)


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
        (["--shimmy-path="], "*--shimmy-path: '' is not a value that is not empty*"),
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
    pytester.makepyfile(CHAT)
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(message)
    result.stderr.no_fnmatch_line("*Traceback*")


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
    from pytest_shimmy.table import TABLE

    for row in TABLE:
        result.stdout.fnmatch_lines(f"*{row.flag}*")


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(
    pytester: pytest.Pytester, run: Run, models_dir: Path
) -> None:
    pytester.makepyfile(CHAT)
    result = run("--shimmy-model=no-such", f"--shimmy-models-dir={models_dir}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*[[]MODEL_NOT_FOUND[]] the server has no model 'no-such'*'tiny'*")
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("name", ["llama-3.2-3b", "Upper.Case_7B"])
def test_the_fake_serves_whatever_model_name_the_suite_asks_for(
    pytester: pytest.Pytester, run: Run, name: str
) -> None:
    pytester.makepyfile(
        CHAT
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


# What goes wrong


def test_no_models_is_an_error_that_shows_what_the_server_said(
    pytester: pytest.Pytester, run: Run
) -> None:
    (pytester.path / "none").mkdir()
    pytester.makepyfile(CHAT)
    result = run("--shimmy-models-dir=none")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*[[]NO_MODELS[]] the server exited*exit code 1.", "*No models available*"]
    )


@pytest.mark.parametrize("server", ["fake", pytest.param("real", marks=pytest.mark.shimmy_real)])
@pytest.mark.parametrize("argument", ["--gpu=auto", "--port=8080", "--host=127.0.0.1"])
def test_arguments_that_only_the_documentation_knows_end_the_start_at_once(
    pytester: pytest.Pytester,
    run: Run,
    request: pytest.FixtureRequest,
    server: str,
    argument: str,
) -> None:
    chosen = [] if server == "fake" else request.getfixturevalue("real_arguments")
    pytester.makepyfile(CHAT, test_second=CHAT)
    result = run(*chosen, f"--shimmy-args={argument}")
    result.assert_outcomes(errors=2)
    name = argument.partition("=")[0]
    result.stdout.fnmatch_lines(
        ["*[[]START_FAILED[]]*exit code 2.", f"*unexpected argument '{name}' found*"]
    )


def executable(directory: Path, serve: str) -> Path:
    """A program that says it is a shimmy, and then does as `serve` says."""
    path = directory / "shimmy-like"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo shimmy 2.5.0\n{serve}\n')
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_server_that_never_answers_is_given_up_and_ended(
    pytester: pytest.Pytester, run: Run, tmp_path: Path
) -> None:
    pytester.makepyfile(CHAT)
    silent = executable(tmp_path, "echo loading; exec sleep 1000")
    result = run(f"--shimmy-path={silent}", "--shimmy-start-timeout=0.5")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*[[]START_TIMEOUT[]] the server was not healthy 0.5 s after its start*",
            "*nothing listens on 127.0.0.1*",
            "*loading",
            "*--shimmy-start-timeout=SECONDS*",
        ]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize("status", [0, 3])
def test_a_server_that_exits_at_once_is_reported_at_once(
    pytester: pytest.Pytester, run: Run, tmp_path: Path, status: int
) -> None:
    pytester.makepyfile(CHAT)
    brief = executable(tmp_path, f"echo sorry >&2; exit {status}")
    result = run(f"--shimmy-path={brief}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"*[[]START_FAILED[]] the server exited * exit code {status}.", "Command: *", "*sorry"]
    )


def test_a_failing_test_shows_the_log_written_during_it_and_not_before(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import requests
        def ask(server, model):
            requests.post(f"{server.url}/v1/chat/completions", json={
                "model": model, "messages": [{"role": "user", "content": "x"}]})
        def test_1(shimmy_server):
            ask(shimmy_server, "broken-1")
        def test_2(shimmy_server):
            ask(shimmy_server, "broken-2")
            assert False
        """
    )
    models = pytester.mkdir("models")
    for name in ("broken-1", "broken-2"):
        (models / f"{name}.gguf").write_bytes(b"nothing")
    result = run("--shimmy-models-dir=models", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*--- shimmy server log (http://127.0.0.1:*", "*Failed to load model 'broken-2'*"]
    )
    result.stdout.no_fnmatch_line("*broken-1*")
    result.stdout.no_fnmatch_line("*Ready to serve requests*")
    (kept,) = [line for line in result.outlines if "server log kept: " in line]
    assert "broken-1" in Path(kept.partition("kept: ")[2]).read_text()


def test_logs_are_kept_where_the_user_wants_them(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(CHAT)
    run("--shimmy-log-dir=logs").assert_outcomes(passed=1)
    (log,) = (pytester.path / "logs").glob("shimmy-fake-*.log")
    assert "Ready to serve requests" in log.read_text()


CRASH = """
import os, signal, pytest, requests

def kill(server):
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(requests.ConnectionError):
        while True:
            requests.get(server.url + "/health", timeout=5)

def test_1(shimmy_server):
    kill(shimmy_server)
    assert False, "the test that hurts"

def test_2(shimmy_server):
    assert shimmy_server.health()
    assert shimmy_server.restarts == 1

def test_3(shimmy_server):
    kill(shimmy_server)

def test_4(shimmy_server):
    pass

def test_5(shimmy_server):
    pass
"""


def test_a_crash_is_reported_where_it_hurts_and_the_server_restarts_within_its_limit(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(CRASH)
    result = run("-p", "no:randomly", "--shimmy-max-restarts=1")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*--- shimmy server ---*",
            "the server (pid *) died during this test: killed by SIGKILL",
            "*[[]RESTARTS_EXHAUSTED[]] the server died (pid * killed by SIGKILL, pid * killed by "
            "SIGKILL); restarts allowed: 1.",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


# Markers


MARKED = """
import pytest

@pytest.mark.shimmy_real
def test_real(shimmy_server):
    assert shimmy_server.mode != "fake"

@pytest.mark.shimmy_fake
def test_fake(shimmy_server):
    assert shimmy_server.mode == "fake"

@pytest.mark.shimmy_gpu("cuda")
def test_gpu(shimmy_server):
    assert False, "nothing has verified the backend"
"""


def test_unmet_markers_skip_with_the_reason_and_the_way_out(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(MARKED)
    result = run("-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*needs a real shimmy, and this run uses the bundled fake; run it with "
            "--shimmy-path=EXECUTABLE*",
            "SKIPPED*needs a server that verifiably uses cuda*",
        ]
    )


def test_required_markers_fail_instead_of_being_skipped(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(MARKED)
    result = run("--shimmy-require=real", "--shimmy-require=gpu")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines("*needs a real shimmy*(required by --shimmy-require)*")


@pytest.mark.shimmy_real
def test_markers_for_the_fake_are_unmet_on_the_real_executable(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(MARKED)
    run(*real_arguments).assert_outcomes(passed=1, skipped=2)


def test_several_backends_run_the_tests_once_each(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("def test_nothing(): pass\ndef test_server(shimmy_server): pass")
    result = run("--shimmy-gpu=auto", "--shimmy-gpu=cuda", "-v", "-p", "no:randomly")
    result.stdout.fnmatch_lines(
        ["*::test_nothing PASSED*", "*test_server[[]auto[]] PASSED*", "*[[]cuda[]] ERROR*"]
    )
    result.stdout.fnmatch_lines("*[[]UNSUPPORTED_ACCEL[]] shimmy 2.5.0 cannot be told*'cuda'*")
