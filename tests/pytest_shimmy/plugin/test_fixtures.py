"""The fixtures, as a test in a consumer's repo uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fake_shimmy.models import tiny_gguf
from pytest_shimmy.server import ShimmyServer, shimmy_env
from pytest_shimmy.settings import Settings

pytestmark = pytest.mark.slow

Run = Callable[..., pytest.RunResult]

REAL_OR_FAKE = [
    "fake",
    pytest.param("real", marks=pytest.mark.shimmy_real),
]


@pytest.fixture(params=REAL_OR_FAKE)
def arguments(request: pytest.FixtureRequest) -> list[str]:
    """The same consumer test runs on both servers (guarantee G9)."""
    if request.param == "fake":
        return []
    arguments: list[str] = request.getfixturevalue("real_arguments")
    return arguments


def test_the_plain_openai_call_returns_a_completion_and_streaming_still_streams(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import openai, pytest
        ASK = [{"role": "user", "content": "Capital of France?"}]

        def test_plain(shimmy_openai_client, shimmy_model):
            create = shimmy_openai_client.chat.completions.create
            answer = create(model=shimmy_model, messages=ASK)
            assert answer.object == "chat.completion"
            assert answer.choices[0].message.content

        def test_stream(shimmy_openai_client, shimmy_model):
            create = shimmy_openai_client.chat.completions.create
            chunks = list(create(model=shimmy_model, messages=ASK, stream=True))
            assert [chunk.object for chunk in chunks] == ["chat.completion.chunk"] * len(chunks)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        def test_error(shimmy_openai_client):
            with pytest.raises(openai.NotFoundError, match="Model 'nope' not found"):
                shimmy_openai_client.chat.completions.create(model="nope", messages=ASK)
        """
    )
    run(*arguments).assert_outcomes(passed=3)


def test_code_that_makes_its_own_client_meets_the_server_as_it_is(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import openai
        def application(model):
            with openai.OpenAI() as client:
                return client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "Hi"}])

        def check(answer, version):
            if version == "2.5.0":  # streams unless told not to
                assert isinstance(answer, str)
                assert answer.startswith('data: {"id":"chatcmpl-')
                assert answer.rstrip().endswith("data: [DONE]")
            else:
                assert answer.choices[0].message.content

        def test_trap(shimmy_env, shimmy_server, shimmy_model):
            check(application(shimmy_model), shimmy_server.version)

        def test_switched_off(shimmy_server, shimmy_model):
            with shimmy_server.openai_client(say_stream=False) as client:
                answer = client.chat.completions.create(
                    model=shimmy_model, messages=[{"role": "user", "content": "Hi"}])
            check(answer, shimmy_server.version)
        """
    )
    on_both = ["--shimmy-fake-version=2.5.0", "--shimmy-fake-version=2.6.5"]
    run(*(arguments or on_both)).assert_outcomes(passed=2 if arguments else 4)


def test_env_points_at_the_server_for_one_test_and_past_every_proxy(
    pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("OPENAI_ORG_ID", "of-openai-alone")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "of-openai-alone")
    pytester.makepyfile(
        """
        import os, openai
        def test_1(shimmy_env, shimmy_server, shimmy_model):
            assert os.environ["OPENAI_BASE_URL"] == shimmy_server.base_url
            assert shimmy_env["OPENAI_BASE_URL"].endswith("/v1")
            assert os.environ["NO_PROXY"] == "example.org,127.0.0.1"
            assert "of-openai-alone" not in os.environ.values()
            with openai.OpenAI() as client:
                assert [model.id for model in client.models.list()] == [shimmy_model]

        def test_2(shimmy_openai_client, shimmy_model):
            assert "OPENAI_BASE_URL" not in os.environ
            assert os.environ["OPENAI_ORG_ID"] == "of-openai-alone"
            assert [model.id for model in shimmy_openai_client.models.list()] == [shimmy_model]
        """
    )
    run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "*"}, "*"),
        ({"no_proxy": " * "}, " * "),
        ({"NO_PROXY": "a,*"}, "a,*,127.0.0.1"),
    ],
)
def test_a_wildcard_that_stands_for_all_hosts_stays_alone(
    environ: dict[str, str], expected: str
) -> None:
    url = "http://127.0.0.1:9"
    env = shimmy_env(ShimmyServer(Settings(url=url), url, "2.6.5", None), environ)
    assert (env["NO_PROXY"], env["no_proxy"]) == (expected, expected)


@pytest.mark.parametrize("library", ["pytest-asyncio", "anyio"])
def test_the_async_client_works_with_each_async_plugin_and_is_closed_silently(
    pytester: pytest.Pytester, run: Run, arguments: list[str], library: str
) -> None:
    mark = "asyncio" if library == "pytest-asyncio" else "anyio"
    pytester.makepyfile(
        f"""
        import pytest
        pytestmark = pytest.mark.{mark}
        ASK = [{{"role": "user", "content": "Hi"}}]

        async def test_both(shimmy_async_openai_client, shimmy_model):
            create = shimmy_async_openai_client.chat.completions.create
            answer = await create(model=shimmy_model, messages=ASK)
            text = ""
            async for chunk in await create(model=shimmy_model, messages=ASK, stream=True):
                text += chunk.choices[0].delta.content or ""
            assert text.split() == answer.choices[0].message.content.split()

        async def test_abandoned_stream(shimmy_async_openai_client, shimmy_model):
            create = shimmy_async_openai_client.chat.completions.create
            async with await create(model=shimmy_model, messages=ASK, stream=True) as stream:
                async for chunk in stream:
                    break
        """
    )
    warnings = ["error", "ignore::pytest.PytestDeprecationWarning"]
    if library == "anyio":
        # The SDK leaves its own generators to the garbage collector, of which trio complains.
        warnings.append("ignore::pytest.PytestUnraisableExceptionWarning")
    result = run("-p", library.removeprefix("pytest-"), *arguments, *(f"-W{w}" for w in warnings))
    # anyio runs each test on asyncio and on trio.
    result.assert_outcomes(passed=2 if mark == "asyncio" else 4)


def test_private_servers_have_settings_of_their_own_and_end_with_the_test(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        from pytest_shimmy import ShimmyError
        pids = []

        def test_1(make_shimmy_server, shimmy_server):
            servers = [make_shimmy_server(max_restarts=0) for _ in range(3)]
            assert len({server.port for server in [shimmy_server, *servers]}) == 4
            pids.extend(server.pid for server in servers)
            for server in servers:
                assert server.health()["status"] == "ok"

        def test_2(shimmy_server):
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
            assert shimmy_server.health()

        def test_3(make_shimmy_server):
            with pytest.raises(ShimmyError, match="START_FAILED"):
                make_shimmy_server(args=["--no-such-flag"])
            with pytest.raises(ShimmyError, match="BINARY_NOT_FOUND"):
                make_shimmy_server(path="/no/such/shimmy")
            with pytest.raises(TypeError, match="no setting 'model_dir'"):
                make_shimmy_server(model_dir="models")
            with pytest.raises(ValueError, match="port: 0 is not a port"):
                make_shimmy_server(port=0)
        """
    )
    result = run(*arguments)
    result.assert_outcomes(passed=3)


def test_settings_can_be_overridden_in_a_conftest(
    pytester: pytest.Pytester, run: Run, models_dir: Path
) -> None:
    pytester.makeconftest(
        f"""
        import pytest
        @pytest.fixture(scope="session")
        def shimmy_settings(shimmy_settings):
            return shimmy_settings.but(models_dir={str(models_dir)!r}, model="tiny")
        """
    )
    pytester.makepyfile(
        """
        def test_model(shimmy_model, shimmy_server):
            assert shimmy_model == "tiny"
            assert shimmy_server.models() == ["tiny"]
        """
    )
    run().assert_outcomes(passed=1)


def test_the_server_can_be_used_from_class_module_and_dynamic_fixtures_and_doctests(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        '''
        import fake_shimmy
        import pytest

        def documented():
            """
            >>> getfixture("shimmy_server").health()["service"]
            'shimmy'
            """

        @pytest.fixture(scope="module")
        def version(shimmy_server):
            return shimmy_server.version

        class TestClass:
            @pytest.fixture(scope="class")
            def models(self, shimmy_server):
                return shimmy_server.models()

            def test_models(self, models, version):
                assert models == ["placeholder"]
                assert version == fake_shimmy.NEWEST

        def test_dynamic(request):
            assert request.getfixturevalue("shimmy_server").mode == "fake"
        '''
    )
    run("--doctest-modules").assert_outcomes(passed=3)


def test_the_server_tells_what_it_is(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    pytester.makepyfile(
        """
        import os
        import fake_shimmy
        def test_attributes(shimmy_server, shimmy_model):
            server = shimmy_server
            assert server.url == f"http://{server.host}:{server.port}"
            assert server.base_url == server.url + "/v1"
            assert server.version == server.health()["version"]
            assert server.mode != "fake" or server.version == fake_shimmy.NEWEST
            assert server.model == shimmy_model == server.models()[0]
            os.kill(server.pid, 0)
            assert server.restarts == 0
            assert "Ready to serve requests" in server.logs
            assert server.log_path.read_text() == server.logs
            assert server.gpu.requested == "auto" and server.gpu.in_use in (None, "cpu")
        """
    )
    run(*arguments).assert_outcomes(passed=1)


def test_a_forked_child_uses_the_server_and_does_not_hold_it(
    pytester: pytest.Pytester, run: Run
) -> None:
    pytester.makepyfile(
        """
        import os, sys, pytest
        @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
        def test_fork(shimmy_server):
            pid = shimmy_server.pid
            child = os.fork()
            if child == 0:
                os._exit(0 if shimmy_server.pid == pid and shimmy_server.health() else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert shimmy_server.pid == pid
        """
    )
    run("-W", "ignore::DeprecationWarning").assert_outcomes(passed=1)


def test_models_of_several_directories_reach_the_server(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    """Joined with ``;`` on every system, which no documentation of shimmy's says."""
    for name in ("one", "two words"):
        models = pytester.mkdir(name)
        (models / f"{name.replace(' ', '-')}.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    pytester.makepyfile(
        """
        def test_models(shimmy_server):
            assert {"one", "two-words"} <= set(shimmy_server.models())
        """
    )
    directories = ["--shimmy-models-dir=one", "--shimmy-models-dir=two words"]
    run(*arguments, *directories).assert_outcomes(passed=1)


def test_a_model_file_is_served_under_its_own_name(
    pytester: pytest.Pytester, run: Run, arguments: list[str]
) -> None:
    (pytester.path / "My_Model.gguf").write_bytes(tiny_gguf.contents())
    pytester.makepyfile(
        """
        def test_model(shimmy_model, shimmy_server):
            assert shimmy_model == "My_Model"
            assert "My_Model" in shimmy_server.models()
        """
    )
    run(*arguments, "--shimmy-model=My_Model.gguf", "--no-shimmy-warm-up").assert_outcomes(passed=1)
