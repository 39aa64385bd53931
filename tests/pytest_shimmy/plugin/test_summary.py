"""What a person reads at the end of a run, and while waiting."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from fake_shimmy import NEWEST
from tests.support.consumer_suite import ASK, FEW_PLUGINS, Run

pytestmark = pytest.mark.slow

DYNAMIC = """
def test_asks_late(request):
    server = request.getfixturevalue("shimmy_server")
    assert server.health()
    import requests
    requests.post(f"{server.url}/api/generate", json={"model": "absent", "prompt": "?"})
    assert not server.models(), "to see its report"
"""


def test_a_test_that_asks_by_getfixturevalue_counts_and_its_report_has_the_log(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(test_a=ASK, test_b=DYNAMIC)
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines("shimmy: 2 tests on the fake")
    log = result.stdout.str().partition("shimmy server log")[2]
    assert "absent" in log
    assert "Ready to serve" not in log, "that was in the log before this test"


def test_a_skipped_test_did_not_run_on_a_server(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        def test_skips(shimmy_server):
            pytest.skip("why not")
        """
    )
    run().stdout.fnmatch_lines("shimmy: no test used a server")


def test_a_quiet_run_without_servers_says_nothing(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    run("-q").stdout.no_fnmatch_line("*shimmy*")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_verbose_runs_end_with_a_line_for_each_server(
    pytester: pytest.Pytester, run: Run, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        """
        import requests
        def test_shared(shimmy_server):
            for _ in range(3):
                assert requests.get(f"{shimmy_server.url}/v1/models").ok
        def test_private(make_shimmy_server):
            assert make_shimmy_server().health()
        """
    )
    lines = [
        line
        for line in run("-v", *workers).outlines
        if re.fullmatch(
            rf"shimmy: port \d+: the bundled fake \({NEWEST}\), .*never restarted, lived .* s", line
        )
    ]
    assert len(lines) == 2
    assert sorted("3 requests" in line for line in lines) == [False, True]


def test_logs_are_kept_where_the_user_wants_them_under_names_that_say_when_and_what(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        def test_two(shimmy_server, make_shimmy_server):
            make_shimmy_server()
        """
    )
    run("--shimmy-log-dir=logs").assert_outcomes(passed=1)
    logs = list((pytester.path / "logs").iterdir())
    assert len(logs) == 2
    for log in logs:
        assert re.fullmatch(r"shimmy-fake-\d{8}-\d{6}-[0-9a-f-]+\.log", log.name)
        assert "Ready to serve" in log.read_text()


# --shimmy-require=real


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_run_that_requires_a_real_executable_fails_when_no_test_ran_on_one(
    pytester: pytest.Pytester, run: Run, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(ASK)
    result = run("--shimmy-require=real", *workers)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines("shimmy: --shimmy-require=real: FAILED, because no test ran on *")


@pytest.mark.shimmy_real
def test_a_run_that_requires_a_real_executable_passes_on_one(
    pytester: pytest.Pytester, run: Run, real_arguments: list[str]
) -> None:
    pytester.makepyfile(ASK)
    result = run("--shimmy-require=real", *real_arguments)
    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_collecting_alone_requires_nothing(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(ASK)
    assert run("--shimmy-require=real", "--collect-only").ret == 0


# Waiting


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_at_a_terminal_a_person_sees_what_is_waited_for(
    pytester: pytest.Pytester, runtime_dir: Path, capture: str
) -> None:
    pytester.makepyfile(
        """
        def test_slow(make_shimmy_server):
            assert make_shimmy_server(faults={"start_delay": 3.5}).health()
        """
    )
    command = [*pytester._getpytestargs(), "-p", "no:cacheprovider", f"--capture={capture}"]
    seen = at_a_terminal(command)
    assert re.search(r"shimmy: waiting for the bundled fake to be healthy \(3 s so far\)", seen)
    assert "1 passed" in seen


SLOW_ANSWER = """
import os

def test_slow(shimmy_openai_client, shimmy_model, capfd):
    os.write(1, b"caught")
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "hi"}]
    )
    assert answer.choices
    assert capfd.readouterr().out == "caught"
"""


@pytest.fixture
def recording(pytester: pytest.Pytester, runtime_dir: Path) -> list[str]:
    """A command that records a slow answer."""
    pytester.makepyfile(SLOW_ANSWER)
    pytester.makefile(".toml", slow="[latency]\nfirst_token = 3\n")
    arguments = ["--shimmy-fake", "--shimmy-fake-script=slow.toml", "--shimmy-record=cassettes"]
    return [*pytester._getpytestargs(), "-p", "no:cacheprovider", *FEW_PLUGINS, *arguments]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_at_a_terminal_a_person_sees_which_answer_a_recording_waits_for(
    recording: list[str], capture: str
) -> None:
    seen = at_a_terminal([*recording, f"--capture={capture}"])
    said = "shimmy: waiting for the answer to POST /v1/chat/completions"
    assert re.search(rf"^{said} \([23] s, 0 chunks so far\)\r$", seen, re.MULTILINE), seen
    assert "1 passed" in seen


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
@pytest.mark.parametrize("quiet", ["-q", "-n1"])
def test_a_quiet_run_and_workers_do_not_say_what_they_wait_for(
    recording: list[str], quiet: str
) -> None:
    seen = at_a_terminal([*recording, quiet])
    assert "1 passed" in seen
    assert "waiting" not in seen


def at_a_terminal(command: list[str]) -> str:
    """Everything that a command shows at a terminal of its own."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    seen = b""
    try:
        while data := os.read(terminal, 65536):
            seen += data
    except OSError:  # how Linux says that the other side is closed
        pass
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    return seen.decode()
