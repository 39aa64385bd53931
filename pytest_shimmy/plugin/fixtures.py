"""The fixtures. Each is a few lines over the library; heavy imports happen when one is used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

import pytest

from ..settings import Settings
from .state import (
    Failure,
    accel_of,
    failures_reported,
    harness_of,
    settings_of,
    skip_test,
    targets_of,
)

if TYPE_CHECKING:
    import openai

    from ..accel.result import AccelDetectorResult
    from ..fake_control.fake import FakeShimmy
    from ..models.registry import ModelRegistry
    from ..server import ShimmyServer
    from ..setting_types import GpuMode, SettingChanges
    from .factory import MakeShimmyServer


@pytest.fixture(scope="session")
def _shimmy_gpu() -> GpuMode | None:
    """The GPU backend whose turn it is; parametrised when the run is to use several, else None."""
    return None


@pytest.fixture(scope="session")
def _shimmy_release() -> str | None:
    """The release whose turn it is for the fake; parametrised as well."""
    return None


def server_fixtures(config: pytest.Config) -> ModuleType:
    """The fixtures that most tests use. pytest looks all fixtures behind a fixture up again for
    each test, so these ask for few, and not for `request`: the run is known here.

    They are in a module, because pytest warns of those that are methods."""

    @pytest.fixture(scope="session")
    def shimmy_settings() -> Settings:
        """The run's settings, frozen. Override it in a conftest to change them for its tests."""
        return settings_of(config)

    @pytest.fixture(scope="session")
    def shimmy_server(shimmy_settings: Settings) -> ShimmyServer:
        """A running server, shared by the whole run: bundled fake, real executable, or attached."""
        return _shared_server(config, shimmy_settings, None, None)

    @pytest.fixture(scope="session", name="shimmy_server")
    def server_in_turn(
        shimmy_settings: Settings, _shimmy_gpu: GpuMode | None, _shimmy_release: str | None
    ) -> ShimmyServer:
        """A running server, shared by the whole run: bundled fake, real executable, or attached."""
        return _shared_server(config, shimmy_settings, _shimmy_gpu, _shimmy_release)

    @pytest.fixture
    def shimmy_fake(shimmy_server: ShimmyServer) -> Iterator[FakeShimmy]:
        """Remote control of the bundled fake, for this test only: replies, faults, requests."""
        if not shimmy_server.settings.uses_fake:
            from .report_texts import unmet

            skip_test(unmet("shimmy_fake", shimmy_server.mode) or "")
        harness = harness_of(config)
        with failures_reported():
            fake = harness.control(shimmy_server.remote_control(shimmy_server.session_key))
        yield fake
        harness.release(fake)

    found = ModuleType(f"{__name__} of a run")
    server = shimmy_server if _is_of_one(settings_of(config)) else server_in_turn
    for fixture in (shimmy_settings, server, shimmy_fake):
        setattr(found, fixture.__name__, fixture)
    return found


def _shared_server(
    config: pytest.Config, settings: Settings, gpu: GpuMode | None, release: str | None
) -> ShimmyServer:
    chosen = settings.but(**_turn(settings, gpu, release))
    _skip_impossible(config, chosen)
    with failures_reported():
        return harness_of(config).shared_server(chosen)


def _is_of_one(run: Settings) -> bool:
    """Whether all tests run on the same release and backend."""
    return len(run.gpu) == 1 and len(run.fake_version) < 2


def _turn(settings: Settings, gpu: GpuMode | None, release: str | None) -> SettingChanges:
    """The backend and the release whose turn it is, or the first of `settings`."""
    return {
        "gpu": gpu or settings.gpu[0],
        "fake_version": release or next(iter(settings.fake_version), None),
    }


def _skip_impossible(config: pytest.Config, chosen: Settings) -> None:
    """Of a run on several releases or backends, skip the pairs that no real executable has; fail
    them where that is required. Of a run on one, that is an error: nothing else would be tested."""
    if chosen.mode != "fake" or _is_of_one(settings_of(config)):
        return
    if reason := targets_of(config).impossible(chosen):
        if "gpu" in chosen.require:
            raise Failure(f"{reason} (required by --shimmy-require)", pytrace=False)
        skip_test(reason)


@pytest.fixture
def make_shimmy_server(
    request: pytest.FixtureRequest,
    shimmy_settings: Settings,
    _shimmy_gpu: GpuMode | None,
    _shimmy_release: str | None,
) -> Iterator[MakeShimmyServer]:
    """A function that starts a server for this test alone: make_shimmy_server(max_restarts=0).

    It takes the settings by name, as `Settings` has them, and for the fake also script= and
    faults=; see `MakeShimmyServer`. The servers are stopped at the end of the test.
    """
    harness = harness_of(request.config)
    made = []

    def make(
        *,
        script: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        faults: Mapping[str, Any] | None = None,
        **settings: Unpack[SettingChanges],
    ) -> ShimmyServer:
        from .used_servers import judge_servers

        __tracebackhide__ = True
        changes = _turn(shimmy_settings, _shimmy_gpu, _shimmy_release)
        changes.update(settings)
        chosen = shimmy_settings.but(**changes)
        document = None
        if script is not None or faults is not None:
            from ..fake_control.scripts import script_of

            document = script_of(chosen, script, faults)
        server = harness.private_server(chosen, document)
        made.append(server)
        judge_servers(request.node)
        return server

    yield make
    for server in made:
        harness.stop(server)


@pytest.fixture(scope="session")
def shimmy_model(shimmy_server: ShimmyServer) -> str:
    """The model id to put in requests."""
    with failures_reported():
        return shimmy_server.model


@pytest.fixture(scope="session")
def shimmy_openai_client(shimmy_server: ShimmyServer) -> Iterator[openai.OpenAI]:
    """An openai.OpenAI on the server; no retries, and "stream": false unless told otherwise."""
    with shimmy_server.openai_client() as client:
        yield client


@pytest.fixture
def shimmy_async_openai_client(shimmy_server: ShimmyServer) -> Iterator[openai.AsyncOpenAI]:
    """An openai.AsyncOpenAI on the server, for pytest-asyncio and anyio (asyncio and trio)."""
    client = shimmy_server.async_openai_client()
    yield client
    from ..openai_clients import close_async_client

    close_async_client(client)


@pytest.fixture(scope="session")
def shimmy_registry(
    pytestconfig: pytest.Config,
    shimmy_settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> ModelRegistry:
    """The models that the executable in use finds. The fake finds its placeholder, and what is
    downloaded; an attached server's executable is not known, and the test is skipped."""
    if shimmy_settings.mode == "attached":
        skip_test("needs an executable to ask for its models, and this run is attached to a server")
    from ..launch.plan import registry

    home = tmp_path_factory.mktemp("shimmy-registry")
    with failures_reported():
        target = targets_of(pytestconfig).of(shimmy_settings)
    return registry(target, home, cwd=str(pytestconfig.invocation_params.dir))


@pytest.fixture(scope="session")
def shimmy_accel(pytestconfig: pytest.Config) -> AccelDetectorResult:
    """What GPUs this machine has, with evidence; looked for once in a run, when first asked."""
    return accel_of(pytestconfig)


@pytest.fixture
def shimmy_env(shimmy_server: ShimmyServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets OPENAI_BASE_URL and OPENAI_API_KEY for code under test that reads them."""
    from ..server import FOR_OPENAI_ALONE, shimmy_env

    variables = shimmy_env(shimmy_server, os.environ)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in FOR_OPENAI_ALONE:
        monkeypatch.delenv(name, raising=False)
    return variables
