"""A plugin among plugins: those that mock, block, record or pretend do not mean us."""

from __future__ import annotations

import os

import pytest

from tests.support.consumer_suite import CHAT, Run

pytestmark = pytest.mark.slow

OURS = """
def use(shimmy_server, shimmy_fake):
    shimmy_fake.reply("scripted")
    assert shimmy_server.health()["service"] == "shimmy"
    assert shimmy_server.models()
    assert shimmy_fake.requests == []
"""

MOCKED = {
    "responses": """
import pytest, responses
@responses.activate
def test_mocked(shimmy_server, shimmy_fake, make_shimmy_server):
    use(shimmy_server, shimmy_fake)
    assert make_shimmy_server().health()
    assert not responses.calls
""",
    "requests-mock": """
def test_mocked(requests_mock, shimmy_server, shimmy_fake, make_shimmy_server):
    use(shimmy_server, shimmy_fake)
    assert make_shimmy_server().health()
    assert not requests_mock.called
""",
    "vcrpy": """
import pytest
@pytest.fixture(scope="module")
def vcr_config():
    return {"record_mode": "once"}
@pytest.mark.vcr
def test_recorded(vcr, shimmy_server, shimmy_fake, make_shimmy_server):
    use(shimmy_server, shimmy_fake)
    assert make_shimmy_server().health()
    assert len(vcr) == 0
""",
    "pytest-recording": """
import pytest
@pytest.mark.block_network
def test_blocked(shimmy_server, shimmy_fake, make_shimmy_server):
    use(shimmy_server, shimmy_fake)
    assert make_shimmy_server().health()
""",
    "pytest-socket": """
import socket, pytest
def test_forbidden(socket_disabled, shimmy_server, shimmy_fake, make_shimmy_server):
    with pytest.raises(Exception, match="socket"):
        socket.socket()
    use(shimmy_server, shimmy_fake)
    assert make_shimmy_server().health()
""",
    "caplog": """
import logging
def test_logged(caplog, shimmy_server, shimmy_fake, make_shimmy_server):
    with caplog.at_level(logging.DEBUG):
        use(shimmy_server, shimmy_fake)
        assert make_shimmy_server().health()
    assert caplog.records == []
""",
}


PLUGINS = {
    "pytest-recording": "recording",
    "pytest-socket": "socket",
    "requests-mock": "requests_mock",
    "vcrpy": "recording",
}
"""By what name ``-p`` loads what is no library."""


@pytest.mark.parametrize("plugin", MOCKED)
def test_our_own_questions_are_neither_mocked_nor_blocked_nor_recorded_nor_logged(
    pytester: pytest.Pytester, run: Run, plugin: str
) -> None:
    pytester.makepyfile(OURS + MOCKED[plugin])
    loaded = ("-p", PLUGINS[plugin]) if plugin in PLUGINS else ()
    for _ in range(2):  # a cassette would fail the second run
        run(*loaded).assert_outcomes(passed=1)


def test_all_of_a_run_works_with_sockets_forbidden(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(OURS + "def test_use(shimmy_server, shimmy_fake):\n    use(**locals())")
    for workers in ("0", "2"):
        run("-p", "socket", "--disable-socket", "-n", workers).assert_outcomes(passed=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_with_sockets_forbidden_concerns_us_only_once_a_test_asks_for_a_server(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import os, socket
        def test_forks(monkeypatch):
            def refuse(*args, **kwargs):
                raise RuntimeError("sockets are forbidden")
            monkeypatch.setattr(socket, "socket", refuse)
            monkeypatch.setattr(socket, "create_server", refuse)
            child = os.fork()
            if child == 0:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """
    )
    run("-W", "error").assert_outcomes(passed=1)


PRETENDED_FILES = """
import os

def test_private(fs, make_shimmy_server):
    server = make_shimmy_server()
    assert server.health()
    assert "Ready to serve" in server.logs
    assert not os.path.exists(__file__)

def test_late(fs, request):
    server = request.getfixturevalue("shimmy_server")
    assert server.health()
    assert not os.path.exists(__file__)

def test_scripted(fs, shimmy_fake, shimmy_openai_client, shimmy_model):
    shimmy_fake.reply("scripted")
    answer = shimmy_openai_client.chat.completions.create(
        model=shimmy_model, messages=[{"role": "user", "content": "?"}])
    assert answer.choices[0].message.content == "scripted"
"""


def test_servers_start_and_are_asked_under_a_pretended_file_system(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(PRETENDED_FILES + CHAT)
    run("-p", "fakefs", "-p", "randomly").assert_outcomes(passed=4)
    run("-p", "fakefs").assert_outcomes(passed=4)


# pytest itself


def test_a_debugger_stops_in_the_test_and_not_in_our_code(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        stopping="""
        import pdb
        class Stops(pdb.Pdb):
            def interaction(self, frame, traceback):
                if not hasattr(traceback, "tb_next"):
                    traceback = traceback.__traceback__
                while traceback.tb_next is not None:
                    traceback = traceback.tb_next
                print("stopped in", traceback.tb_frame.f_code.co_name)
        """,
        test_stops="""
        import pytest
        def test_refused(make_shimmy_server):
            make_shimmy_server(args=["--nope"])
        def test_wanted(shimmy_fake):
            shimmy_fake.assert_requested(path="/v1/models")
        """,
    )
    result = run("--pdb", "--pdbcls=stopping:Stops", "-s")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["stopped in test_refused", "stopped in test_wanted"])


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["-q"], ["shimmy: 1 test on the fake"]),
        (["-qq"], []),
        (["--no-summary"], []),
        (["-q", "-n", "1"], ["shimmy: 1 test on the fake"]),
    ],
)
def test_quiet_runs_are_quiet(
    pytester: pytest.Pytester, run: Run, arguments: list[str], lines: list[str]
) -> None:
    pytester.makepyfile("def test_fails(shimmy_server):\n    assert not shimmy_server.health()")
    shown = run(*arguments).outlines
    header = next((n for n, line in enumerate(shown) if line.startswith("shimmy: bundled")), -1)
    said = [line for line in shown[header + 1 :] if line.startswith("shimmy: ")]
    assert said == lines


def test_the_async_client_closes_where_pytest_itself_runs_in_an_event_loop(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        test_it="""
        def test_client(shimmy_async_openai_client):
            assert not shimmy_async_openai_client.is_closed()
        """,
        inside="""
        import asyncio, sys, pytest
        async def main():
            off = ("-p", "no:cacheprovider", "-p", "no:asyncio")
            return pytest.main([*off, "-W", "error", "test_it.py"])
        sys.exit(asyncio.run(main()))
        """,
    )
    result = pytester.runpython("inside.py")
    assert result.ret == 0
    result.assert_outcomes(passed=1)


# Settings


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest reads TOML's own types from 9 on")
@pytest.mark.parametrize("file", ["pytest.toml", "pyproject.toml"])
def test_numbers_of_tomls_own_are_values(pytester: pytest.Pytester, run: Run, file: str) -> None:
    table = "[tool.pytest]" if file == "pyproject.toml" else "[pytest]"
    (pytester.path / file).write_text(
        f"{table}\nshimmy_start_timeout = 61\nshimmy_max_restarts = 0\nshimmy_args = ['--x', 5]\n"
        "shimmy_seed = 7\nshimmy_port = '23456'\nshimmy_fake = true\n"
    )
    pytester.makepyfile(
        """
        def test_settings(shimmy_settings):
            assert (shimmy_settings.start_timeout, shimmy_settings.max_restarts) == (61.0, 0)
            assert (shimmy_settings.args, shimmy_settings.seed) == (("--x", "5"), 7)
            assert (shimmy_settings.port, shimmy_settings.fake) == (23456, True)
        """
    )
    run().assert_outcomes(passed=1)


def test_a_number_out_of_range_in_toml_is_a_usage_error_all_the_same(
    pytester: pytest.Pytester, run: Run
) -> None:
    (pytester.path / "pytest.toml").write_text("[pytest]\nshimmy_port = 70000\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("*ini option shimmy_port: '70000' is not a port*")


def test_a_variable_that_is_no_setting_is_said_once_with_the_nearest_one(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_SHIMMY_PROT", "1")
    pytester.makepyfile("def test_nothing(): pass")
    for workers in ("0", "2"):
        result = run("-n", workers)
        result.assert_outcomes(passed=1)
        said = [line for line in result.outlines if "PYTEST_SHIMMY" in line]
        assert said == [
            "shimmy: PYTEST_SHIMMY_PROT is not a setting and is ignored; "
            "did you mean PYTEST_SHIMMY_PORT?"
        ]
