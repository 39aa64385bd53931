"""The plugin's main job: a consumer's pytest run on the fake, a real or an attached server."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from fake_shimmy import NEWEST
from pytest_shimmy.executable.identify import identify
from pytest_shimmy.options import CONTROL_TOKEN
from tests.support.consumer_suite import ASK, CHAT, Run

pytestmark = pytest.mark.slow

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
            "shimmy: 1 test on the fake",
        ]
    )


@pytest.mark.shimmy_real
def test_the_same_file_runs_against_the_real_executable(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str], real_shimmy: Path
) -> None:
    pytester.makepyfile(CHAT)
    result = run(*real_arguments)
    result.assert_outcomes(passed=1)
    version = identify(real_shimmy).version
    result.stdout.fnmatch_lines(
        [
            f"shimmy: {real_shimmy} ({version}, real), gpu auto, one server per run",
            "shimmy: 1 test on a real executable",
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
        ASK
        + """
def test_attached(shimmy_server):
    assert shimmy_server.mode == "attached"
    assert (shimmy_server.pid, shimmy_server.log_path, shimmy_server.logs) == (None, None, "")
"""
    )
    for address in (url, f"{url}/v1", f"{url}/"):
        result = run(f"--shimmy-url={address}")
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(f"shimmy: attached to {url} ({NEWEST}), never stopped by us")
    assert process.poll() is None


def test_attaching_works_with_workers(
    pytester: pytest.Pytester, run: Run, fake_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = fake_server
    pytester.makepyfile(ASK)
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
                     "pytest_shimmy.sharing.link", "pytest_shimmy.supervisor.manager",
                     "fake_shimmy.serving.server"}
            assert not heavy & set(sys.modules)
        """
    )
    result = run("-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines("shimmy: no test used a server")
    assert not runtime_dir.exists()


def test_without_xdist_the_plugin_works(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(ASK)
    run("-p", "no:xdist").assert_outcomes(passed=1)


def test_a_test_that_changes_directory_first_gets_the_same_server(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("n", range(4))
        def test_here(request, monkeypatch, tmp_path, n):
            place = request.config.rootpath
            monkeypatch.chdir(tmp_path)
            with open(place / "ports", "a") as ports:
                ports.write(f"{request.getfixturevalue('shimmy_server').port}\\n")
        """
    )
    run("-n", "2").assert_outcomes(passed=4)
    ports = (pytester.path / "ports").read_text().split()
    assert (len(ports), len(set(ports))) == (4, 1)


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


def test_two_tests_that_use_only_private_servers(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_private(make_shimmy_server, n):
            assert make_shimmy_server().health()["service"] == "shimmy"
        """
    )
    run().assert_outcomes(passed=2)


BROKEN = """
import requests

def ask(server, model):
    requests.post(f"{server.url}/v1/chat/completions", json={
        "model": model, "messages": [{"role": "user", "content": "x"}]})
"""


def run_with_broken_models(pytester: pytest.Pytester, run: Run, tests: str) -> pytest.RunResult:
    """Run `tests` with models `first` and `late`; that one does not load is in the server's log."""
    models = pytester.mkdir("models")
    for name in ("first", "late"):
        (models / f"{name}.gguf").write_bytes(b"nothing")
    pytester.makepyfile(BROKEN + textwrap.dedent(tests))
    # A later release panics when such a file is loaded, and does not answer.
    return run("--shimmy-models-dir=models", "--shimmy-fake-version=2.5.0")


def test_a_test_that_asks_late_is_not_shown_the_log_of_one_before(
    pytester: pytest.Pytester, run: Run
) -> None:
    result = run_with_broken_models(
        pytester,
        run,
        """
        def test_first(shimmy_server):
            ask(shimmy_server, "first")

        def test_late(request):
            ask(request.getfixturevalue("shimmy_server"), "late")
            assert not "for the report"
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Failed to load model 'late'*"])
    result.stdout.no_fnmatch_line("*Failed to load model 'first'*")


def test_a_test_that_does_not_ask_for_the_shared_server_is_not_shown_its_log(
    pytester: pytest.Pytester, run: Run
) -> None:
    result = run_with_broken_models(
        pytester,
        run,
        """
        shared = []

        def test_first(shimmy_server):
            shared.append(shimmy_server)

        def test_own(make_shimmy_server):
            ask(make_shimmy_server(), "late")
            ask(shared[0], "first")  # as another worker's test may
            assert not "for the report"
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Failed to load model 'late'*"])
    result.stdout.no_fnmatch_line("*Failed to load model 'first'*")


class Noting(BaseHTTPRequestHandler):
    """Answers as a shimmy that no test of ours has started, and notes what it is asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path}")
        answer: dict[str, object] = {"status": "ok", "service": "shimmy", "version": NEWEST}
        if self.path == "/v1/models":
            answer = {"object": "list", "data": [{"id": "its-own", "object": "model"}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path}")
        self.send_error(500)

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_is_no_fake_is_asked_no_question_that_only_a_fake_answers(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_passes(shimmy_server, shimmy_model, shimmy_env, shimmy_openai_client):
            assert shimmy_model == "its-own"

        def test_fails(shimmy_server):
            assert shimmy_server.health()["status"] != "ok"

        def test_needs_a_fake(shimmy_fake):
            pass
        """
    )
    Noting.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = run(f"--shimmy-url=http://127.0.0.1:{server.server_port}")
        server.shutdown()
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert set(Noting.asked) == {"GET /health", "GET /v1/models"}


def test_an_executable_that_is_told_the_fakes_token_is_not_asked_what_only_a_fake_answers(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile("def test_it(shimmy_server): pass")
    executable = pytester.path / "shimmy"
    executable.symlink_to(Path(sys.executable).with_name("fake-shimmy"))
    result = run(
        f"--shimmy-path={executable}",
        "--shimmy-tiny-model",
        f"--shimmy-env={CONTROL_TOKEN}=t",
        "-v",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"shimmy: port *: {executable} *, never restarted, lived *"])
    result.stdout.no_fnmatch_line("shimmy: port * requests, *")
