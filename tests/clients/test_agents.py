"""Agents that nobody here wrote call a tool and end where the script says."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_shimmy import FakeShimmy
from pytest_shimmy.outcomes import Reply, ToolCall
from tests.clients.environments import AGENTS, NPM, REQUIRED, Environment, directory, missing
from tests.support.fake_process import Shimmy, drained
from tests.support.staged_server import TOKEN, staged_server

pytestmark = pytest.mark.slow

PROGRAMS = {
    "langchain": (AGENTS, "agents_langchain.py"),
    "pydantic_ai": (AGENTS, "agents_pydantic_ai.py"),
    "ai_sdk": (NPM, "agents.mjs"),
}
KEYS = itertools.count()
ROME = ToolCall("weather", {"city": "Rome"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:

    folder = tmp_path_factory.mktemp("agents")
    fake = Shimmy([sys.executable, "-m", "fake_shimmy"], folder, "default")
    with staged_server(fake) as stage, drained(stage.running):
        yield f"http://127.0.0.1:{stage.running.port}"


@pytest.fixture
def fake(server: str) -> Iterator[FakeShimmy]:
    with FakeShimmy(server, TOKEN, key=f"agents-{next(KEYS)}") as fake:
        yield fake


@pytest.fixture(params=PROGRAMS)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Environment, Path]:
    environment, file = PROGRAMS[request.param]
    reason = missing(environment)
    if reason is not None:
        if environment.name in os.environ.get(REQUIRED, "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)
    program = Path(__file__).parent / "programs" / file
    if program.suffix == ".mjs":
        # Node looks for packages beside the program.
        (tmp_path / "node_modules").symlink_to(directory(environment) / "node_modules")
        program = tmp_path / file
        program.write_text((Path(__file__).parent / "programs" / file).read_text())
    return environment, program


@pytest.fixture
def run(
    agent: tuple[Environment, Path], fake: FakeShimmy, tmp_path: Path
) -> Callable[[bool], subprocess.CompletedProcess[str]]:
    def run(is_streamed: bool) -> subprocess.CompletedProcess[str]:
        environment, program = agent
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONUTF8": "1",
            "OPENAI_BASE_URL": fake.base_url,
            "OPENAI_API_KEY": fake.api_key,
            "STREAM": str(int(is_streamed)),
        }
        return subprocess.run(
            environment.command(program),
            env=environ,
            cwd=directory(environment),
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_an_agent_calls_its_tool_and_tells_the_result(fake, run, is_streamed):
    expected = {"tool": "21 °C in Rome"}
    fake.answers([ROME, Reply(["It is ", "21 °C."], expect=expected)])
    done = run(is_streamed)
    assert (done.stdout.strip(), done.returncode) == ("It is 21 °C.", 0), done.stderr
    first, second = fake.requests
    assert (first.stream is True) == (second.stream is True) == is_streamed
    assert [tool["function"]["name"] for tool in first.json["tools"]] == ["weather"]
    assert [message["role"] for message in second.messages][-3:] == ["user", "assistant", "tool"]
    assert second.beyond
    assert fake.leftovers() == []


def test_several_calls_at_once_are_all_made(fake, run):
    cities = ("Rome", "Oslo")
    calls = [ToolCall("weather", {"city": city}, id=f"id_{city}") for city in cities]
    fake.answers([Reply(tool_calls=calls), "Both."])
    done = run(True)
    assert done.stdout.strip() == "Both.", done.stderr
    results = [each for each in fake.last_request.messages if each["role"] == "tool"]
    assert {each["tool_call_id"] for each in results} == {"id_Rome", "id_Oslo"}


def test_an_agent_that_leaves_the_path_ends_and_the_test_is_told(fake, run):
    fake.answers([ROME, Reply("never", expect={"tool": "in Oslo"})])
    done = run(False)
    assert done.returncode != 0
    assert "never" not in done.stdout
    (line,) = fake.leftovers()
    assert "answer 2: tool should contain 'in Oslo', and it is" in line
    assert "21 °C in Rome" in json.dumps(line, ensure_ascii=False)
