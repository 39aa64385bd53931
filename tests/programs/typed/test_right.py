"""A suite as a careful consumer writes it: mypy --strict and pyright have nothing to say to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from pytest_shimmy import (
    AccelDetectorResult,
    ClientReport,
    FakeShimmy,
    MakeShimmyServer,
    ModelRegistry,
    RecordedRequest,
    Rule,
    ServerGpu,
    SettingChanges,
    Settings,
    ShimmyError,
    ShimmyErrorCode,
    ShimmyModelSummary,
    ShimmyProcessManager,
    ShimmyProcessOptions,
    ShimmyServer,
    ShimmyUsageError,
    is_shimmy_error_json,
)
from pytest_shimmy.outcomes import Drop, Fail, Garble, Reply, Stall, ToolCall


@pytest.fixture
def slow_server(make_shimmy_server: MakeShimmyServer, tmp_path: Path) -> ShimmyServer:
    more: SettingChanges = {"max_restarts": 0, "gpu": ["auto"], "log_dir": tmp_path}
    more["start_timeout"] = 60
    return make_shimmy_server(faults={"start_delay": 0.01}, **more)


@pytest.fixture
def client(slow_server: ShimmyServer) -> Iterator[openai.OpenAI]:
    with slow_server.openai_client(timeout=60) as client:
        yield client


def ask(client: openai.OpenAI, model: str, text: str) -> str | None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content


def test_a_server_of_its_own(slow_server: ShimmyServer, client: openai.OpenAI) -> None:
    slow_server.fake.reply("Paris.")
    assert ask(client, slow_server.model, "Capital of France?") == "Paris."
    restarts: int = slow_server.restarts
    gpu: ServerGpu = slow_server.gpu
    assert (restarts, gpu.requested) == (0, "auto")


def test_rules(
    shimmy_fake: FakeShimmy, shimmy_openai_client: openai.OpenAI, shimmy_model: str
) -> None:
    rule: Rule = shimmy_fake.reply(
        ["Par", "is."], user=re.compile("France"), model=shimmy_model, times=1, per_token=0.001
    )
    with shimmy_fake.garble("truncated_json", after_tokens=1, inside="json", endpoint="chat"):
        pass
    shimmy_fake.fail("load_failed", user="never", chance=0.5)
    shimmy_fake.answers([Reply("x", faults=[Stall(0.1, 1)]), Fail(503), Drop(3), 500, "text"],
                        user="never either")  # fmt: skip
    shimmy_fake.answers([ToolCall("look", {"at": 1}), Garble("missing_done")], user="nor this")
    assert ask(shimmy_openai_client, shimmy_model, "Capital of France?") == "Paris."
    request: RecordedRequest = shimmy_fake.assert_requested("France", count=1)
    sent: tuple[float, ...] = request.measured
    report: ClientReport = shimmy_fake.assert_client(retries=0)
    assert (rule.used, len(sent), len(report.calls)) == (1, 2, 1)


def test_errors(shimmy_fake: FakeShimmy, make_shimmy_server: MakeShimmyServer) -> None:
    with pytest.raises(ShimmyUsageError):
        shimmy_fake.drop(-1)
    with pytest.raises(ShimmyError) as caught:
        make_shimmy_server(faults={"refuse": {"status": 3, "stderr": "no device"}})
    code: ShimmyErrorCode = caught.value.code
    assert code is ShimmyErrorCode.START_FAILED


def test_a_manager(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    options = ShimmyProcessOptions(
        models_dir=tmp_path, gpu_mode="auto", port_attempts=100, restarts_counted="since_ready"
    )
    moments: list[float] = []
    with ShimmyProcessManager() as manager:
        manager.once("ready", lambda ready: moments.append(ready.time))
        manager.on("exited", lambda exited: moments.append(exited.exit.code or 0))
        manager.start(options)
        manager.ensure_ready()
    assert len(moments) == 2


def test_an_error_from_elsewhere() -> None:
    value: object = {"code": "NO_MODELS", "message": "none", "details": {}}
    assert is_shimmy_error_json(value)
    assert ShimmyError.from_json(value).code is ShimmyErrorCode.NO_MODELS


def test_what_there_is(
    shimmy_settings: Settings, shimmy_registry: ModelRegistry, shimmy_accel: AccelDetectorResult
) -> None:
    models: list[ShimmyModelSummary] = shimmy_registry.list_local()
    recommended: str = shimmy_accel.recommended
    assert shimmy_settings.but(port=23000, env={"A": "1"}).port == 23000
    assert [model.id for model in models if model.is_default]
    assert recommended
