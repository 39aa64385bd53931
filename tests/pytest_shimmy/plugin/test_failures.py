"""What a consumer's pytest run shows when something goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fake_shimmy.models.tiny_gguf import contents
from pytest_shimmy.executable.identify import identify
from tests.support.consumer_suite import CHAT, Run

pytestmark = pytest.mark.slow

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
def test_a_dummy_for_a_model_file_is_named_as_the_reason(
    pytester: pytest.Pytester, run: Run, request: pytest.FixtureRequest, server: str
) -> None:
    chosen = []
    if server == "real":
        path: Path = request.getfixturevalue("real_shimmy")
        if identify(path).build().engine != "airframe":
            pytest.skip("this build closes no connection over a model file")
        chosen = [f"--shimmy-path={path}"]
    (pytester.path / "dummy.gguf").write_bytes(b"GGUF")
    pytester.makepyfile(CHAT)
    result = run(*chosen, "--shimmy-model=dummy.gguf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["The server panicked while it read the model file, *", "*--shimmy-tiny-model*"]
    )


@pytest.mark.parametrize("made_up", [True, False])
def test_a_model_file_that_something_has_removed_is_named_as_the_reason(
    pytester: pytest.Pytester, run: Run, made_up: bool
) -> None:
    (pytester.path / "mine.gguf").write_bytes(contents())
    pytester.makepyfile(
        """
        from pathlib import Path

        def test_chat(shimmy_server, shimmy_openai_client, shimmy_model):
            mine = Path("mine.gguf")
            made_up = shimmy_server.log_path.with_name(f"{shimmy_model}.gguf")
            (mine if shimmy_model == "mine" else made_up).unlink()
            shimmy_openai_client.chat.completions.create(
                model=shimmy_model, messages=[{"role": "user", "content": "x"}]
            )
        """
    )
    result = run(*(() if made_up else ("--shimmy-model=mine.gguf",)))
    result.assert_outcomes(failed=1)
    name = "placeholder" if made_up else "mine"
    result.stdout.fnmatch_lines(
        ["*502*", f"The model file */{name}.gguf is gone*cleaner*", "*PYTEST_SHIMMY_RUNTIME_DIR*"]
    )


OTHER_MODEL = CHAT.replace("shimmy_model,", "'gpt-4o',").replace(
    "model=shimmy_model", "model='gpt-4o'"
)
CAUGHT = f"""
import logging, openai, pytest
{OTHER_MODEL.replace("def test_chat", "def chat")}
def test_chat(shimmy_openai_client, shimmy_model):
    try:
        chat(shimmy_openai_client, shimmy_model)
    except openai.NotFoundError as error:
        logging.error("the model: %s", error)
        pytest.fail("no answer")
"""


@pytest.mark.parametrize(
    ("release", "ask"), [("2.5.0", OTHER_MODEL), ("2.6.5", OTHER_MODEL), ("2.6.5", CAUGHT)]
)
def test_a_model_of_the_applications_own_name_is_told_how_to_be_there(
    pytester: pytest.Pytester, run: Run, release: str, ask: str
) -> None:
    assert ask.count("gpt-4o") == 1
    pytester.makepyfile(ask)
    result = run(f"--shimmy-fake-version={release}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*shimmy_model = gpt-4o*--shimmy-model=gpt-4o"])
    told = run(f"--shimmy-fake-version={release}", "--shimmy-model=gpt-4o")
    told.assert_outcomes(passed=1)
    assert "--shimmy-model=" not in told.stdout.str()


def test_a_rule_for_a_model_that_is_not_there_is_told_both_ways_out(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
import openai, pytest

@pytest.mark.parametrize("catches", [False, True])
def test_a_rule_for_another_model(shimmy_fake, shimmy_openai_client, catches):
    shimmy_fake.reply("Paris.")
    with pytest.raises(openai.NotFoundError):
        shimmy_openai_client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    assert catches, "the rule was not used"
    raise ValueError
"""
    )
    shown = run().stdout.str()
    assert shown.count("shimmy_model = gpt-4o") == 2
    assert shown.count("validate=False") == 2


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
    result = run(f"--shimmy-path={silent}", "--shimmy-start-timeout=3")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*[[]START_TIMEOUT[]] the server was not healthy 3 s after its start, *127.0.0.1:*: "
            "nothing listens there.*",
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
    # A later release panics when such a file is loaded, and does not answer.
    release = "--shimmy-fake-version=2.5.0"
    result = run("--shimmy-models-dir=models", release)
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
    result = run("--shimmy-max-restarts=1")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*[[]RESTARTS_EXHAUSTED[]] the server died (pid * killed by SIGKILL, pid * killed by "
            "SIGKILL); restarts allowed: 1.",
            "*--- shimmy server died ---*",
            "the server (pid *) died during this test: killed by SIGKILL",
        ]
    )
    assert result.stdout.str().count("died during this test") == 1, "not in the tests after it"
    result.stdout.no_fnmatch_line("*During handling of the above exception*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_many_tests_on_a_server_that_does_not_start_are_one_message_and_short_lines(
    pytester: pytest.Pytester, run: Run
) -> None:
    (pytester.path / "none").mkdir()
    pytester.makepyfile(
        test_it="""
        import pytest
        @pytest.mark.parametrize("n", range(30))
        def test_one(shimmy_server, n): pass
        """
    )
    result = run("--shimmy-models-dir=none", "--junitxml=junit.xml")
    result.assert_outcomes(errors=30)
    shown = result.stdout.str()
    assert shown.count("Command: fake-shimmy serve --bind ") == 1
    assert shown.count("(in full under ") == 29
    assert shown.count("- [NO_MODELS] the server") == 30
    assert "plugin.state" not in shown
    assert (pytester.path / "junit.xml").read_text().count("[NO_MODELS]") >= 30


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_log_keeps_its_lines_on_a_terminal_without_its_letters(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    pytester.makepyfile("def test_one(shimmy_server): assert 0")
    result = run("-n", workers)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["| * Backend: Airframe (GPU)", "| * Models: 1 available"])


@pytest.mark.parametrize(
    ("options", "is_shown"),
    [
        (["--tb=short"], True),
        (["--tb=line"], None),
        (["--tb=no"], False),
        (["--show-capture=no"], False),
        (["--show-capture=stdout"], False),
        (["--show-capture=log"], True),
        (["--show-capture=no", "--tb=line", "-n1"], False),
    ],
)
def test_the_server_s_log_is_shown_where_pytest_shows_a_captured_log(
    options: list[str], is_shown: bool | None, pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import logging
        def test_one(shimmy_server):
            logging.warning("of the test")
            assert 0
        """
    )
    shown = run(*options).stdout.str()
    captured = "- Captured log call -" in shown
    assert is_shown in (captured, None), "pytest decides; with --tb=line, its release"
    assert ("- shimmy server log (" in shown) == captured


def test_a_question_to_a_dead_server_fails_in_the_line_that_asked(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        test_it="""
        import os, signal
        def test_one(make_shimmy_server):
            server = make_shimmy_server(max_restarts=0)
            os.kill(server.pid, signal.SIGKILL)
            while True:
                server.health()
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    assert "[HEALTHCHECK_FAILED] no answer from http://127.0.0.1:" in shown
    assert "Max retries" not in shown
    assert "During handling" not in shown
    assert "pytest_shimmy/server.py" not in shown, "our own frames"
    assert "[the fake uses no GPU; it names the backend that a real shimmy would]" in shown
    assert "CONTROL_FAILED" not in shown, "that it has died is said"
    assert "- [HEALTHCHECK_FAILED]" in shown


def test_an_error_of_ours_is_told_without_the_system_s_error_that_it_came_of(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile("""
import pytest
from pytest_shimmy import ModelRegistry

def test_ours(make_shimmy_server):
    make_shimmy_server(path="/no/such/shimmy")

def download(model_id, folder):
    return {}[model_id]

def test_of_the_tests_own_code(tmp_path):
    ModelRegistry(models_dir=tmp_path).ensure_default("tiny", download=download)
""")
    file = next(pytester.path.glob("test_*.py"))
    result = run(f"{file}::test_ours")
    result.stdout.fnmatch_lines(["E *BINARY_NOT_FOUND*/no/such/shimmy: No such file or directory."])
    result.stdout.no_fnmatch_line("*FileNotFoundError*")
    result.stdout.no_fnmatch_line("*direct cause*")
    result = run(f"{file}::test_of_the_tests_own_code")
    result.stdout.fnmatch_lines(
        ["*return {}[[]model_id[]]", "*direct cause*", "E *DOWNLOAD_FAILED*"]
    )
